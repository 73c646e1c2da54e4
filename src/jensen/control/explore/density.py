"""Densities that can say how probable a row is, and how probable it would be once it was seen."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.explore.online import Memory, Online
from jensen.control.explore.transitions import check_codes
from jensen.core import Datum, HasExpectationMaximization
from jensen.errors import InputError, at_least, positive
from jensen.nets import trainable
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar


class AbstractOnlineDensity(eqx.Module):
    """A density model of rows that learns as they come.

    Attributes:
        form: The form of the pseudo-count that fits it, see `PseudoCounts`: "probability" of masses; "gain",
            which fits all where ρ is small, of densities over real numbers.
    """

    form: ClassVar[str] = "gain"

    @abstractmethod
    def log_prob(self, x: Float[Array, "d"]) -> Scalar:
        """Return log ρ(x), or a lower bound on it, in nats."""

    @abstractmethod
    def log_prob_after(self, x: Float[Array, "d"]) -> Scalar:
        """Return log ρ'(x): the same once x had been seen one more time."""

    @abstractmethod
    def learned(
        self, x: Float[Array, "n d"], weight: Float[Array, "n"], *, key: PRNGKey
    ) -> AbstractOnlineDensity:
        """Return the density that has seen rows too, those of weight 0 left out."""

    def check(self, x: Float[Array, "n d"], weight: Float[Array, "n"]) -> None:
        """Refuse rows of positive weight that cannot be read; by default none."""


class Empirical(AbstractOnlineDensity):
    """Frequencies of combinations of codes.

    Columns in a group are counted together, groups are independent of each other: one group of all columns is
    the empirical density, whose pseudo-count is the count; smaller groups generalize.

    Args:
        sizes: How many codes 0..K−1 each column has. In compiled functions, where nothing can be refused,
            rows with other codes have probability 0 and are not counted.
        groups: Columns counted together; by default all of them.
        prior: Added to each count beforehand; 0 is the plain frequency.

    Raises:
        InputError: Groups that do not hold every column once, or a negative prior.

    Example:
        >>> rho = Empirical((2, 2), prior=0.5)
        >>> rho = rho.learned(jnp.array([[0.0, 1.0]] * 4), jnp.ones(4), key=jax.random.key(0))
        >>> float(jnp.exp(rho.log_prob(jnp.array([0.0, 1.0]))))
        0.75
    """

    form: ClassVar[str] = "probability"
    counts: tuple[Float[Array, "k"], ...]
    sizes: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]

    def __init__(
        self,
        sizes: tuple[int, ...],
        groups: tuple[tuple[int, ...], ...] | None = None,
        *,
        prior: float = 0.0,
    ):
        groups = (tuple(range(len(sizes))),) if groups is None else tuple(map(tuple, groups))
        if sorted(sum(groups, ())) != list(range(len(sizes))) or not prior >= 0:
            raise InputError(
                f"Empirical: groups {groups} must hold each of {len(sizes)} columns once, and "
                f"prior={prior:g} must not be negative"
            )
        self.sizes, self.groups = tuple(sizes), groups
        cells = [int(np.prod([sizes[i] for i in group])) for group in groups]
        self.counts = tuple(jnp.full(num, float(prior)) for num in cells)

    def log_prob(self, x: Float[Array, "d"]) -> Scalar:
        """Return Σ over groups of log (count / total); −∞ of what was never seen without a prior."""
        return self._log_prob(x, 0.0)

    def log_prob_after(self, x: Float[Array, "d"]) -> Scalar:
        """Return Σ over groups of log ((count + 1) / (total + 1))."""
        return self._log_prob(x, 1.0)

    def learned(self, x: Float[Array, "n d"], weight: Float[Array, "n"], *, key: PRNGKey) -> Empirical:
        """Count.

        Raises:
            InputError: Codes outside a column's.
        """
        self.check(x, weight)
        places = jax.vmap(self._places)(x)
        counts = tuple(count.at[place].add(weight) for count, place in zip(self.counts, places, strict=True))
        return eqx.tree_at(lambda rho: rho.counts, self, counts)

    def check(self, x: Float[Array, "n d"], weight: Float[Array, "n"]) -> None:
        """Refuse codes outside a column's, in rows of positive weight.

        Raises:
            InputError: Which row and column.
        """
        for column, size in enumerate(self.sizes):
            codes = jnp.where(weight > 0, x[:, column], 0)
            check_codes("Empirical", f"in column {column} the code", codes, size)

    def _log_prob(self, x: Float[Array, "d"], more: float) -> Scalar:
        parts = []
        for count, place in zip(self.counts, self._places(x), strict=True):
            share = _log_share(count[place] + more, jnp.maximum(count.sum() - count[place], 0.0))
            parts.append(jnp.where(place < len(count), share, -jnp.inf))
        return jnp.stack(parts).sum()

    def _places(self, x: Float[Array, "d"]) -> tuple[Array, ...]:
        """Return each group's cell; one past the last, which is never written, where a code has none."""
        codes = x.astype(jnp.int32)
        places = []
        for group, count in zip(self.groups, self.counts, strict=True):
            place, inside = jnp.zeros((), jnp.int32), jnp.array(True)
            for column in group:
                place = place * self.sizes[column] + codes[column]
                inside &= (x[column] >= 0) & (x[column] < self.sizes[column])
            places.append(jnp.where(inside, place, len(count)))
        return tuple(places)


def _log_share(own: Scalar, rest: Scalar) -> Scalar:
    """Return log own/(own + rest); near 1 by what is missing, in which alone a pseudo-count shows there."""
    total = jnp.maximum(own + rest, 1e-30)
    return jnp.where(own > rest, jnp.log1p(-jnp.minimum(rest / total, 0.5)), jnp.log(own / total))


class Refitted(AbstractOnlineDensity):
    """Any model with an EM step, refitted to a memory of rows at each update (maximum likelihood).

    ρ' is one EM step from there on the memory and x: for a Gaussian, exactly the refit.

    Args:
        model: A model that has started from some data (``fit.em`` of a few random rows): its frame and its
            floors are kept.
        memory: Where rows are kept, like ``Memory.empty(1_000, data_dim=2)``.
        steps: EM steps at each update.

    Raises:
        InputError: The model has no EM step, or has not started from data.
    """

    model: HasExpectationMaximization
    statistics: dict[str, Array]
    memory: Memory
    steps: int

    def __init__(self, model: HasExpectationMaximization, *, memory: Memory, steps: int = 2):
        if not isinstance(model, HasExpectationMaximization):
            raise InputError(f"Refitted: {type(model).__name__} has no EM step; use density.Climbed")
        at_least("Refitted", 1, steps=steps)
        self.model, self.memory, self.steps = model, memory, steps
        self.statistics = jax.tree.map(jnp.asarray, model.expectation(memory.rows()))

    def log_prob(self, x: Float[Array, "d"]) -> Scalar:
        """Return log p(x)."""
        return self.model.log_evidence(Datum(x))

    def log_prob_after(self, x: Float[Array, "d"]) -> Scalar:
        """Return log p(x) after one EM step on the memory and x."""
        one = self.model.expectation(Datum(x[None], weight=jnp.ones(1)))
        moved = self.model.maximization(jax.tree.map(jnp.add, self.statistics, one))
        return moved.log_evidence(Datum(x))

    def learned(self, x: Float[Array, "n d"], weight: Float[Array, "n"], *, key: PRNGKey) -> Refitted:
        """Remember the rows and take the EM steps."""
        memory = self.memory.pushed(x, jnp.zeros((len(x), 0)), weight)
        rows = memory.rows()
        free, rest = eqx.partition(self.model, trainable(self.model))

        def step(free: HasExpectationMaximization, _: None) -> tuple[HasExpectationMaximization, None]:
            model = eqx.combine(free, rest)
            moved = model.maximization(model.expectation(rows))
            return eqx.partition(moved, trainable(moved))[0], None

        free, _ = jax.lax.scan(step, free, None, length=self.steps)
        model = eqx.combine(free, rest)
        new = (model, model.expectation(rows), memory)
        return eqx.tree_at(lambda rho: (rho.model, rho.statistics, rho.memory), self, new)


class Climbed(AbstractOnlineDensity):
    """Any inference, climbing its bound online: ρ is the bound, ρ' the bound after one plain step on x.

    The noise of the bound is the same before and after, so that their difference is what was learnt.

    Args:
        online: The inference, its optimizer and memory.
        step_size: Of the plain step, in the units of the parameters.
        key: Randomness of the bound.

    Raises:
        InputError: A step size that is not positive.
    """

    online: Online
    bits: Array
    step_size: float

    def __init__(self, online: Online, *, step_size: float = 1e-2, key: PRNGKey):
        positive("Climbed", step_size=step_size)
        self.online, self.step_size = online, step_size
        self.bits = jax.random.key_data(key)

    def log_prob(self, x: Float[Array, "d"]) -> Scalar:
        """Return the bound on log p(x)."""
        params, rest = eqx.partition(self.online.inference, trainable(self.online.inference))
        return self._bound(params, rest, x)[1]

    def log_prob_after(self, x: Float[Array, "d"]) -> Scalar:
        """Return the bound after one step."""
        params, rest = eqx.partition(self.online.inference, trainable(self.online.inference))
        slope = jax.grad(lambda params: self._bound(params, rest, x)[0])(params)
        return self._bound(jax.tree.map(lambda p, g: p - self.step_size * g, params, slope), rest, x)[1]

    def learned(self, x: Float[Array, "n d"], weight: Float[Array, "n"], *, key: PRNGKey) -> Climbed:
        """Climb."""
        online = self.online.learned(x, jnp.zeros((len(x), 0)), weight, key=key)
        return eqx.tree_at(lambda rho: rho.online, self, online)

    def _bound(self, params: PyTree, rest: PyTree, x: Array) -> tuple[Scalar, Scalar]:
        inference: Any = eqx.combine(params, rest)
        estimate = inference.gradient(
            inference,
            Datum(x),
            key=jax.random.wrap_key_data(self.bits),
            step=self.online.taken,
            num_data=jnp.maximum(self.online.memory.filled, 1),
            state=None,
        )
        return estimate.surrogate, estimate.value
