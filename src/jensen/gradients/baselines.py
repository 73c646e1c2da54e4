"""What is subtracted from the loss before it multiplies a score."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jensen.core import AbstractObjective, Datum, MeanOverDraws, Terms
from jensen.dist import scored_steps, stop
from jensen.errors import InputError, at_least, check_key
from jensen.nets import MLP
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class AbstractBaseline(eqx.Module):
    """What is subtracted from the loss before it multiplies a draw's score."""

    min_samples: eqx.AbstractVar[int]

    @abstractmethod
    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return, per draw, the loss it answers for less a baseline that does not depend on it."""


class ForetellsLoss(AbstractBaseline):
    """Trait: a further number is subtracted, known before the draws and learned from those before them."""

    @abstractmethod
    def start(self) -> PyTree:
        """Return the memory before the first step."""

    @abstractmethod
    def foretell(self, datum: Datum, memory: PyTree) -> Scalar:
        """Return what to subtract from the signal of every draw."""

    @abstractmethod
    def learn(self, datum: Datum, seen: Scalar, memory: PyTree) -> tuple[Scalar, PyTree]:
        """Return a loss that trains the baseline's own parameters, and the memory for the next step.

        Args:
            datum: The datum.
            seen: Mean signal of its draws.
            memory: The memory before it.
        """


class NoBaseline(AbstractBaseline):
    """Nothing is subtracted."""

    min_samples: int = 1

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return each draw's own loss where losses average over draws, else the whole loss."""
        draws = terms.log_joint.shape[0]
        if isinstance(objective, MeanOverDraws):
            one = jax.tree.map(lambda leaf: leaf[:, None], terms)
            return jax.vmap(lambda t: objective.losses(t, step).posterior)(one) / draws
        return jnp.full((draws,), objective.losses(terms, step).posterior)


class LeaveOneOut(AbstractBaseline):
    """The loss that would have been, had this draw been like the mean of the others.

    Under the ELBO it is RLOO (Kool, van Hoof & Welling 2019); under the importance-weighted bound it is VIMCO
    (Mnih & Rezende 2016).

    Args:
        mean: Of the weights of the others under a bound on K draws together, ``"geometric"`` or
            ``"arithmetic"``.

    Raises:
        InputError: On another mean.
    """

    mean: Literal["geometric", "arithmetic"]
    min_samples: int

    def __init__(self, mean: Literal["geometric", "arithmetic"] = "geometric"):
        if mean not in ("geometric", "arithmetic"):
            raise InputError(f"LeaveOneOut: mean is {mean!r}; choose geometric or arithmetic")
        self.mean = mean
        self.min_samples = 2

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return the loss less the loss with this draw replaced by the mean of the others."""
        draws = terms.log_joint.shape[0]
        whole = objective.losses(terms, step).posterior

        def without(k: Int[Array, ""]) -> Scalar:
            def replace(leaf: Array) -> Array:
                # not sum − leaf[k], which loses the digits that draws far from zero have in common
                others = leaf.at[k].set(0.0).sum(0) / (draws - 1)
                return leaf.at[k].set(others)

            numbers = eqx.tree_at(lambda t: (t.z, t.carry), terms, (None, None), is_leaf=lambda x: x is None)
            replaced = jax.tree.map(replace, numbers)
            if self.mean == "arithmetic":
                log_w = logsumexp(terms.log_w.at[k].set(-jnp.inf)) - jnp.log(draws - 1.0)
                like = log_w + replaced.log_q[k].sum()
                replaced = eqx.tree_at(lambda t: t.log_joint, replaced, replaced.log_joint.at[k].set(like))
            return objective.losses(replaced, step).posterior

        return whole - jax.vmap(without)(jnp.arange(draws))


class Course(NamedTuple):
    """How signals have run so far: averages that forget, and how much of a whole average they are."""

    mean: Scalar
    variance: Scalar
    filled: Scalar

    def expected(self) -> Scalar:
        """Return the average; zero before the first signal."""
        return self.mean / jnp.where(self.filled > 0, self.filled, 1.0)

    def spread(self) -> Scalar:
        """Return the standard deviation about what was expected; one where none was seen."""
        variance = self.variance / jnp.where(self.filled > 0, self.filled, 1.0)
        return jnp.sqrt(jnp.where(variance > 0, variance, 1.0))

    def off(self, seen: Scalar) -> Scalar:
        """Return how far a signal is from what was expected; zero before anything was."""
        return jnp.where(self.filled > 0, seen - self.expected(), 0.0)

    def after(self, seen: Scalar, decay: float) -> "Course":
        """Return the averages with one more signal."""
        pairs = zip(self, (seen, self.off(seen) ** 2, jnp.ones_like(seen)), strict=True)
        return Course(*(decay * old + (1 - decay) * new for old, new in pairs))


class RunningMean(ForetellsLoss):
    """The mean loss of the steps before: b ← d·b + (1 − d)·loss, averaged over the batch.

    It asks for one draw only, and knows nothing of which datum it is: ``Learned`` does.

    Args:
        decay: d, how much of the mean is kept at each step.

    Raises:
        InputError: If the decay is not between 0 and 1.

    References:
        Williams 1992; Mnih & Gregor 2014.

    Example:
        >>> import jensen as jn
        >>> jn.gradients.ScoreFunction(RunningMean(decay=0.95)).baseline.min_samples
        1
    """

    decay: float
    min_samples: int

    def __init__(self, decay: float = 0.99):
        self.decay = checked_decay("RunningMean", decay)
        self.min_samples = 1

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return each draw's loss, from which the mean is still to be taken."""
        return NoBaseline().signals(objective, terms, step)

    def start(self) -> Course:
        """Nothing seen."""
        return Course(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))

    def foretell(self, datum: Datum, memory: Course) -> Scalar:
        """Return the mean so far."""
        return memory.expected()

    def learn(self, datum: Datum, seen: Scalar, memory: Course) -> tuple[Scalar, Course]:
        """Move the mean; there are no parameters to train."""
        return jnp.zeros_like(seen), memory.after(seen, self.decay)


class Learned(ForetellsLoss):
    """A network that foretells the loss of x: b(x, c) = m + s·net(x, c), trained by ½ ((loss − m)/s − net)².

    m and s are the running mean and spread of the loss, so that the network is of order one whatever the loss
    is. Its parameters are trained along with the rest, by the same optimizer. A sequence is foretold step by
    step and summed. The network reads x and the condition as they are: let their columns be of order one.

    Args:
        data_dim: Number of columns of x.
        widths: Hidden widths.
        decay: How much of the running mean is kept at each step.
        cond_dim: Number of columns of the condition read beside x; 0 for none.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a size or the decay is out of range.

    References:
        Mnih & Gregor 2014.

    Example:
        >>> import jax, jensen as jn
        >>> baseline = Learned(784, widths=(100,), key=jax.random.key(0))
        >>> jn.gradients.ScoreFunction(baseline).baseline.data_dim
        784
    """

    net: MLP
    data_dim: int
    cond_dim: int
    decay: float
    min_samples: int

    def __init__(
        self,
        data_dim: int,
        *,
        key: PRNGKey,
        widths: Sequence[int] = (64,),
        decay: float = 0.99,
        cond_dim: int = 0,
    ):
        check_key(key)
        at_least("Learned", 1, data_dim=data_dim)
        at_least("Learned", 0, cond_dim=cond_dim)
        self.net = MLP(data_dim + cond_dim, 1, widths, key=key).quiet()
        self.data_dim = data_dim
        self.cond_dim = cond_dim
        self.decay = checked_decay("Learned", decay)
        self.min_samples = 1

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return each draw's loss, from which what was foretold is still to be taken."""
        return NoBaseline().signals(objective, terms, step)

    def start(self) -> Course:
        """Nothing seen."""
        return RunningMean(self.decay).start()

    def foretell(self, datum: Datum, memory: Course) -> Scalar:
        """Return m + s·net(x, c)."""
        return memory.expected() + memory.spread() * self._of(datum)

    def learn(self, datum: Datum, seen: Scalar, memory: Course) -> tuple[Scalar, Course]:
        """Return the squared error in units of the spread; move mean and spread."""
        off = stop(memory.off(seen) / memory.spread()) - self._of(datum)
        return 0.5 * off**2, memory.after(seen, self.decay)

    def _of(self, datum: Datum) -> Scalar:
        if datum.x.shape[-1] != self.data_dim:
            raise InputError(f"Learned: x has {datum.x.shape[-1]} columns, data_dim is {self.data_dim}")
        x = datum.x if datum.mask is None else jnp.where(datum.mask, datum.x, 0.0)
        rows = stop(jnp.asarray(x, float)).reshape(-1, self.data_dim)
        if self.cond_dim:
            rows = jnp.concatenate([rows, self._conditions(datum, len(rows))], -1)
        each = jax.vmap(self.net)(rows)[:, 0]
        counted = scored_steps(len(rows), datum.steps, datum.burn_in) if np.ndim(datum.x) > 1 else None
        return each.sum() if counted is None else jnp.where(counted, each, 0.0).sum()

    def _conditions(self, datum: Datum, num: int) -> Float[Array, "num c"]:
        """Return the condition of every row of x; zeros for a last step of a sequence that has none."""
        found = () if datum.cond is None else np.shape(datum.cond)
        if found[-1:] != (self.cond_dim,) or len(found) > 2:
            raise InputError(f"Learned: cond must have {self.cond_dim} columns, got shape {found}")
        cond = stop(jnp.asarray(datum.cond, float)).reshape(-1, self.cond_dim)
        return jnp.pad(cond, ((0, max(num - len(cond), 0)), (0, 0)))[:num]


def checked_decay(name: str, decay: float) -> float:
    """Return how much of a running mean is kept.

    Raises:
        InputError: If it is not between 0 and 1.
    """
    if not 0 <= decay < 1:
        raise InputError(f"{name}: decay is {decay}; it must be at least 0 and below 1")
    return decay


def centre(
    baseline: AbstractBaseline, signals: Float[Array, "draws"], datum: Datum, memory: Any
) -> Float[Array, "draws"]:
    """Return the signals less what was foretold of them."""
    return signals - baseline.foretell(datum, memory) if isinstance(baseline, ForetellsLoss) else signals
