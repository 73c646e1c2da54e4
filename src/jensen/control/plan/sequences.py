"""Laws over sequences of actions: what a search draws its candidates from, and fits to the better ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.errors import InputError
from jensen.typing import Array, Float, PRNGKey, PyTree


class AbstractSequences(ABC):
    """Sequences of H actions as a world reads them, drawn step by step from independent laws."""

    @property
    @abstractmethod
    def action_dim(self) -> int:
        """A, columns of an action as a world reads it."""

    @abstractmethod
    def begin(self, horizon: int, spread: float) -> PyTree:
        """Return the law before anything is known; each leaf has a leading axis H.

        Args:
            horizon: H.
            spread: Standard deviation of a real action, in half the range of its column.
        """

    @abstractmethod
    def draw(self, law: PyTree, num: int, *, key: PRNGKey) -> Float[Array, "n h a"]:
        """Draw sequences."""

    @abstractmethod
    def mode(self, law: PyTree) -> Float[Array, "h a"]:
        """Return the sequence the law is about."""

    @abstractmethod
    def refit(
        self, law: PyTree, drawn: Float[Array, "n h a"], weights: Float[Array, "n"], floor: float
    ) -> PyTree:
        """Return the law of greatest likelihood under weighted draws.

        Args:
            law: The law they were drawn from.
            drawn: Sequences.
            weights: Sum to one.
            floor: Least standard deviation of a real action, in half its range; least share of chance in a
                choice.
        """

    @abstractmethod
    def recentre(
        self, law: PyTree, drawn: Float[Array, "n h a"], weights: Float[Array, "n"], floor: float
    ) -> PyTree:
        """Return the law with its centre moved to the weighted mean, as wide as it was."""

    @abstractmethod
    def shifted(self, law: PyTree, fresh: PyTree) -> PyTree:
        """Return the law one step later, as wide as a fresh one: the first action is done, the last open."""

    @abstractmethod
    def codes(self, actions: np.ndarray) -> np.ndarray:
        """Return actions (..., A) as an ``ActionSpace`` finishes them."""


class Spread(NamedTuple):
    """Independent Gaussians, clipped to the box when drawn.

    Attributes:
        mean: Centres.
        std: Standard deviations.
    """

    mean: Float[Array, "h a"]
    std: Float[Array, "h a"]


@dataclass(frozen=True)
class BoxSequences(AbstractSequences):
    """Real actions within finite bounds.

    Attributes:
        low: Least values.
        high: Greatest values.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def action_dim(self) -> int:
        """A."""
        return len(self.low)

    @property
    def half(self) -> Float[Array, "a"]:
        """Half the range of each column."""
        return (jnp.asarray(self.high) - jnp.asarray(self.low)) / 2

    def begin(self, horizon: int, spread: float) -> Spread:
        """Return Gaussians about the middle of the box."""
        middle = (jnp.asarray(self.high) + jnp.asarray(self.low)) / 2
        shape = (horizon, self.action_dim)
        return Spread(jnp.broadcast_to(middle, shape), jnp.broadcast_to(spread * self.half, shape))

    def draw(self, law: Spread, num: int, *, key: PRNGKey) -> Float[Array, "n h a"]:
        """Draw, and clip."""
        noise = jax.random.normal(key, (num, *law.mean.shape))
        return jnp.clip(law.mean + law.std * noise, jnp.asarray(self.low), jnp.asarray(self.high))

    def mode(self, law: Spread) -> Float[Array, "h a"]:
        """Return the means."""
        return law.mean

    def refit(
        self, law: Spread, drawn: Float[Array, "n h a"], weights: Float[Array, "n"], floor: float
    ) -> Spread:
        """Match mean and standard deviation."""
        mean = jnp.tensordot(weights, drawn, 1)
        variance = jnp.tensordot(weights, (drawn - mean) ** 2, 1)
        return Spread(mean, jnp.maximum(jnp.sqrt(variance), floor * self.half))

    def recentre(
        self, law: Spread, drawn: Float[Array, "n h a"], weights: Float[Array, "n"], floor: float
    ) -> Spread:
        """Match the mean."""
        return Spread(jnp.tensordot(weights, drawn, 1), law.std)

    def shifted(self, law: Spread, fresh: Spread) -> Spread:
        """Move the means on; what follows them is in the middle of the box."""
        return Spread(jnp.concatenate([law.mean[1:], fresh.mean[-1:]]), fresh.std)

    def codes(self, actions: np.ndarray) -> np.ndarray:
        """Return them as they are."""
        return actions


@dataclass(frozen=True)
class ChoiceSequences(AbstractSequences):
    """One of n choices a step, a one-hot row; the law is its probabilities, (H, n).

    Attributes:
        n: Number of choices.
        start: The number of the first.
    """

    n: int
    start: int = 0

    @property
    def action_dim(self) -> int:
        """A row has a column for each choice."""
        return self.n

    def begin(self, horizon: int, spread: float) -> Float[Array, "h n"]:
        """Return equal chances; a choice has no spread."""
        return jnp.full((horizon, self.n), 1 / self.n)

    def draw(self, law: Float[Array, "h n"], num: int, *, key: PRNGKey) -> Float[Array, "k h n"]:
        """Draw one-hot rows."""
        picked = jax.random.categorical(key, jnp.log(law), shape=(num, len(law)))
        return jax.nn.one_hot(picked, self.n)

    def mode(self, law: Float[Array, "h n"]) -> Float[Array, "h n"]:
        """Return the likeliest choice of every step."""
        return jax.nn.one_hot(law.argmax(-1), self.n)

    def refit(
        self, law: Float[Array, "h n"], drawn: Float[Array, "k h n"], weights: Float[Array, "k"], floor: float
    ) -> Float[Array, "h n"]:
        """Return weighted frequencies, with a share of chance so that no choice is lost."""
        return (1 - floor) * jnp.tensordot(weights, drawn, 1) + floor / self.n

    def recentre(
        self, law: Float[Array, "h n"], drawn: Float[Array, "k h n"], weights: Float[Array, "k"], floor: float
    ) -> Float[Array, "h n"]:
        """Return weighted frequencies: probabilities are all there is to move."""
        return self.refit(law, drawn, weights, floor)

    def shifted(self, law: Float[Array, "h n"], fresh: Float[Array, "h n"]) -> Array:
        """Move the probabilities on, half way back to equal chances."""
        return 0.5 * jnp.concatenate([law[1:], fresh[-1:]]) + 0.5 * fresh

    def codes(self, actions: np.ndarray) -> np.ndarray:
        """Number the choices."""
        return actions.argmax(-1)[..., None] + self.start


def sequences_in(space: ActionSpace) -> AbstractSequences:
    """Return the sequences to search in a space of actions.

    Raises:
        InputError: A Box without finite bounds.
    """
    if isinstance(space, DiscreteActions):
        return ChoiceSequences(space.n, space.start)
    if not isinstance(space, BoxActions):
        raise InputError(f"plans are made of Box or Discrete actions, not {type(space).__name__}")
    if not np.isfinite(space.high - space.low).all():
        raise InputError(
            "plans need finite bounds on actions, which this Box has not; give "
            "BoxActions(low, high, shape, dtype) with bounds of your own"
        )
    return BoxSequences(tuple(map(float, space.low)), tuple(map(float, space.high)))
