"""Searches by sampling: the cross-entropy method and path integrals, one loop with two ways to weigh."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp

from jensen.control.plan.base import AbstractSearch, Plan, Value, checked, mean_return
from jensen.control.plan.sequences import AbstractSequences
from jensen.core import AbstractWorld
from jensen.errors import InputError
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar

FILLS = 32
"""From so many candidates on, planning for one environment at a time is the faster: twice, with 128."""


class Best(NamedTuple):
    """The best candidate so far.

    Attributes:
        actions: Its actions, (H, A).
        value: Its return; −∞ where none was finite.
    """

    actions: Float[Array, "h a"]
    value: Scalar

    def or_better(self, drawn: Float[Array, "n h a"], returns: Float[Array, "n"]) -> Best:
        """Return the best of the candidates, if it is better."""
        top = jnp.argmax(returns)
        better = returns[top] > self.value
        return Best(jnp.where(better, drawn[top], self.actions), jnp.where(better, returns[top], self.value))


@dataclass(frozen=True)
class AbstractSampledSearch(AbstractSearch):
    """Draw candidates, weigh them by their imagined returns, move the law to the better ones, again.

    The law's own centre is one of the candidates. All candidates meet the same noise. A return that is not
    finite has no weight, and where that of the last centre is not, the best candidate is the plan; where none
    is finite, the plan's value is not either.
    """

    horizon: int = 25
    candidates: int = 128
    iterations: int = 4
    discount: float = 1.0
    spread: float = 1.0
    floor: float = 0.05

    @abstractmethod
    def weigh(self, returns: Float[Array, "n"]) -> Float[Array, "n"]:
        """Return weights that sum to one; −∞ stands for a return that is not finite."""

    def each(self, one: Callable[..., Any], *rows: PyTree) -> Any:
        """Go row by row on a processor, whose caches one row's candidates fill; side by side elsewhere."""
        if jax.default_backend() == "cpu" and self.candidates >= FILLS:
            return jax.lax.map(lambda row: one(*row), rows)
        return super().each(one, *rows)

    @abstractmethod
    def moved(
        self,
        law: PyTree,
        drawn: Float[Array, "n h a"],
        weights: Float[Array, "n"],
        sequences: AbstractSequences,
    ) -> PyTree:
        """Return the law moved to weighted candidates."""

    def begin(self, sequences: AbstractSequences) -> PyTree:
        """Return the law of no knowledge."""
        return sequences.begin(self.horizon, self.spread)

    def shifted(self, law: PyTree, sequences: AbstractSequences) -> PyTree:
        """Keep the centre, a step later, with the width of no knowledge."""
        return sequences.shifted(law, self.begin(sequences))

    def plan(
        self,
        world: AbstractWorld,
        starts: PyTree,
        law: PyTree,
        *,
        sequences: AbstractSequences,
        value: Value | None = None,
        key: PRNGKey,
    ) -> Plan:
        """Search; see ``AbstractSearch.plan``."""

        def worth(actions: Float[Array, "h a"], key: PRNGKey) -> Scalar:
            return mean_return(world, starts, actions, discount=self.discount, value=value, key=key)

        def iterate(carry: tuple[PyTree, Best], key: PRNGKey) -> tuple[tuple[PyTree, Best], None]:
            law, best = carry
            to_draw, to_world = jax.random.split(key)
            drawn = sequences.draw(law, self.candidates - 1, key=to_draw)
            drawn = jnp.concatenate([sequences.mode(law)[None], drawn])
            returns = jax.vmap(worth, in_axes=(0, None))(drawn, to_world)
            finite = jnp.isfinite(returns)
            returns = jnp.where(finite, returns, -jnp.inf)
            weights = jnp.where(finite.any(), self.weigh(returns), 1 / self.candidates)
            return (self.moved(law, drawn, weights, sequences), best.or_better(drawn, returns)), None

        to_search, to_value = jax.random.split(key)
        first = sequences.mode(law)
        nothing = Best(first, jnp.full_like(jax.eval_shape(worth, first, to_value), -jnp.inf))
        (law, best), _ = jax.lax.scan(iterate, (law, nothing), jax.random.split(to_search, self.iterations))
        actions = sequences.mode(law)
        value_of = worth(actions, to_value)
        # between good candidates there may be none: then the best of them
        sound = jnp.isfinite(value_of) | ~jnp.isfinite(best.value)
        return Plan(jnp.where(sound, actions, best.actions), law, jnp.where(sound, value_of, best.value))


@final
@dataclass(frozen=True)
class CEM(AbstractSampledSearch):
    """The cross-entropy method: fit the law to the best candidates.

    Args:
        horizon: H, actions ahead.
        candidates: Sequences an iteration.
        iterations: Times the law is fitted.
        discount: γ.
        spread: First standard deviation of a real action, in half the range of its column.
        floor: Least standard deviation, likewise; of a choice, the least share of chance.
        elites: How many candidates the law is fitted to.

    Raises:
        InputError: A number out of range.

    References:
        Rubinstein 1999; Chua et al. 2018 (in learned dynamics).

    Example:
        >>> CEM(horizon=0)
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: CEM: horizon is 0; it must be at least 1
    """

    elites: int = 16

    def __post_init__(self):
        checked("CEM", **vars(self))
        if not self.elites <= self.candidates:
            raise InputError(f"CEM: {self.elites} elites of {self.candidates} candidates; take fewer")

    def weigh(self, returns: Float[Array, "n"]) -> Float[Array, "n"]:
        """Weigh the elites alike, the others not at all."""
        best, which = jax.lax.top_k(returns, self.elites)
        share = jnp.isfinite(best) / jnp.maximum(jnp.isfinite(best).sum(), 1)
        return jnp.zeros_like(returns).at[which].set(share)

    def moved(
        self,
        law: PyTree,
        drawn: Float[Array, "n h a"],
        weights: Float[Array, "n"],
        sequences: AbstractSequences,
    ) -> PyTree:
        """Fit centre and width."""
        return sequences.refit(law, drawn, weights, self.floor)


@final
@dataclass(frozen=True)
class MPPI(AbstractSampledSearch):
    r"""Model-predictive path integrals: the centre moves to Σ w a with w ∝ exp(return / temperature).

    Args:
        horizon: H, actions ahead.
        candidates: Sequences an iteration.
        iterations: Times the centre is moved.
        discount: γ.
        spread: Standard deviation of a real action, in half the range of its column; it stays.
        floor: Of a choice, the least share of chance.
        temperature: What is a small difference between returns, in their units.

    Raises:
        InputError: A number out of range.

    References:
        Williams et al. 2017.

    Example:
        >>> MPPI(temperature=-1.0)
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: MPPI: temperature is -1; it must be positive
    """

    spread: float = 0.5
    temperature: float = 1.0

    def __post_init__(self):
        checked("MPPI", **vars(self))

    def weigh(self, returns: Float[Array, "n"]) -> Float[Array, "n"]:
        """Weigh by the exponential of the return."""
        # the best is taken away first: huge returns must not overflow in units of the temperature
        best = returns.max()
        return jax.nn.softmax((returns - jnp.where(jnp.isfinite(best), best, 0.0)) / self.temperature)

    def moved(
        self,
        law: PyTree,
        drawn: Float[Array, "n h a"],
        weights: Float[Array, "n"],
        sequences: AbstractSequences,
    ) -> PyTree:
        """Move the centre."""
        return sequences.recentre(law, drawn, weights, self.floor)
