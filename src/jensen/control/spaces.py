"""Action spaces: what a model's numbers mean to an environment, and back. Knows no Gymnasium."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.datasets import Episodes
from jensen.errors import InputError, nearest
from jensen.typing import Array, Float

BOUNDS = ("clip", "squash")

_EDGE = 1e-3
"""How near to a bound, in shares of the half range, a demonstrated action enters a squashed space."""

_SLACK = 1e-5
"""What a demonstrated action may exceed a bound by, in shares of the range: the rounding of a float32."""


class ActionSpace(ABC):
    """What actions are valid, and how a model's row of numbers becomes one.

    Attributes:
        shape: Shape of one action as the environment sees it.
        dtype: Its type.
    """

    shape: Any
    dtype: Any

    @property
    @abstractmethod
    def size(self) -> int:
        """Columns of one action as models see it."""

    @abstractmethod
    def to_action(self, y: Float[Array, "*b a"]) -> Array:
        """Turn a model's rows into valid actions, flat; traced by JAX."""

    @abstractmethod
    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Give actions that left the device the environment's type and shape."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what ``space_from`` makes it from again, JSON-ready."""

    @abstractmethod
    def to_model(self, episodes: Episodes) -> Episodes:
        """Return demonstrations with their actions as models see them.

        Raises:
            InputError: An action outside the space: which episode, which step.
        """


@dataclass(frozen=True, eq=False)
class BoxActions(ActionSpace):
    """Real actions within bounds, which may be infinite.

    Attributes:
        low: Least values, flat (A,).
        high: Greatest values, flat (A,).
        shape: Shape of one action.
        dtype: A float type.
        bounds: ``"clip"``: the model speaks of the action itself, which is clipped. ``"squash"``: it speaks
            of u, and the action is mid + half · tanh u; densities are those of u.
    """

    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype
    bounds: str = "clip"

    def __post_init__(self):
        if self.bounds not in BOUNDS:
            raise InputError(f"bounds={self.bounds!r} is unknown{nearest(self.bounds, BOUNDS)}")
        if self.bounds == "squash" and not np.isfinite(self.high - self.low).all():
            raise InputError("bounds='squash' needs finite bounds; this space has none, use bounds='clip'")

    @property
    def size(self) -> int:
        """Numbers in an action."""
        return len(self.low)

    def to_action(self, y: Float[Array, "*b a"]) -> Array:
        """Squash if asked to, and clip."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        if self.bounds == "squash":
            y = (low + high) / 2 + (high - low) / 2 * jnp.tanh(y)
        return jnp.clip(y, low, high)

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Reshape; bounds that float32 rounds are kept in the space's own type."""
        actions = actions.reshape(*actions.shape[:-1], *self.shape)
        if actions.dtype == self.dtype:
            return actions
        low, high = self.low.reshape(self.shape), self.high.reshape(self.shape)
        return np.clip(actions.astype(self.dtype), low, high).astype(self.dtype)

    def facts(self) -> dict[str, Any]:
        """Return bounds, shape, type."""
        return {
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "shape": list(self.shape),
            "dtype": self.dtype.name,
            "bounds": self.bounds,
        }

    def to_model(self, episodes: Episodes) -> Episodes:
        """Check the bounds; unsquash."""
        name = episodes.name
        if episodes.discrete:
            raise InputError(f"{name}: actions are codes, but the space is a Box of {self.size} numbers")
        if episodes.action_dim != self.size:
            raise InputError(f"{name}: actions have {episodes.action_dim} columns, the space {self.size}")
        with np.errstate(invalid="ignore"):
            span = np.where(np.isfinite(self.high - self.low), self.high - self.low, 0.0)
        for i, acts in enumerate(episodes.actions):
            outside = (acts < self.low - _SLACK * span) | (acts > self.high + _SLACK * span)
            if outside.any():
                t, j = np.argwhere(outside)[0]
                raise InputError(
                    f"{name}: action {acts[t, j]:g} of episode {i}, step {t}, column {j}, is outside the "
                    f"space [{self.low[j]:g}, {self.high[j]:g}]; correct it, or give the space it was made in"
                )
        return episodes if self.bounds == "clip" else _with_actions(episodes, self._unsquashed)

    def _unsquashed(self, actions: np.ndarray) -> np.ndarray:
        mid, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        return np.arctanh(np.clip((actions - mid) / half, -1 + _EDGE, 1 - _EDGE))

    def __repr__(self) -> str:
        how = "clipped to" if self.bounds == "clip" else "squashed by tanh into"
        return f"{self.size} number{'s' * (self.size > 1)} {how} [{self.low.min():g}, {self.high.max():g}]"


@dataclass(frozen=True, eq=False)
class DiscreteActions(ActionSpace):
    """One of n choices, numbered from ``start``; models count them from 0.

    Attributes:
        n: Number of choices.
        start: The first.
    """

    n: int
    start: int = 0

    @property
    def dtype(self) -> np.dtype:
        """Integers."""
        return np.dtype(np.int64)

    @property
    def size(self) -> int:
        """One code."""
        return 1

    @property
    def shape(self) -> tuple[int, ...]:
        """A number by itself."""
        return ()

    def to_action(self, y: Float[Array, "*b a"]) -> Array:
        """Number from ``start``."""
        return y.astype(jnp.int32) + self.start

    def finish(self, actions: np.ndarray) -> np.ndarray:
        """Drop the axis of one column."""
        return actions[..., 0].astype(self.dtype)

    def facts(self) -> dict[str, Any]:
        """Return number and start."""
        return {"n": self.n, "start": self.start}

    def to_model(self, episodes: Episodes) -> Episodes:
        """Check the range, and number from 0."""
        name = episodes.name
        if not episodes.discrete:
            raise InputError(
                f"{name}: actions are vectors of {episodes.action_dim}, but the space has {self.n} discrete "
                "choices: give integer codes (T,)"
            )
        for i, acts in enumerate(episodes.actions):
            outside = (acts < self.start) | (acts >= self.start + self.n)
            if outside.any():
                t = int(np.argmax(outside))
                raise InputError(
                    f"{name}: action {acts[t]} of episode {i}, step {t}, is outside the space "
                    f"{self.start}..{self.start + self.n - 1}; correct it, or give the space it was made in"
                )
        return _with_actions(episodes, lambda acts: acts - self.start)

    def __repr__(self) -> str:
        return f"{self.n} choices from {self.start}"


def action_space(space: Any, *, bounds: str = "clip") -> ActionSpace:
    """Read a Gymnasium space of actions.

    Args:
        space: ``gymnasium.spaces.Box`` of real numbers, ``Discrete``, or an ``ActionSpace`` as it is.
        bounds: How a Box is kept.

    Raises:
        InputError: Any other space; integers in a Box.
    """
    if isinstance(space, ActionSpace):
        return space
    kind = type(space).__name__
    if kind == "Discrete":
        return DiscreteActions(int(space.n), int(space.start))
    if kind != "Box":
        raise InputError(f"actions of a {kind} space are not supported; Box and Discrete are")
    if space.dtype.kind != "f":
        raise InputError(
            f"actions of a Box of {space.dtype} are not supported; a Box of floats and Discrete are"
        )
    low, high = (np.asarray(b, space.dtype).reshape(-1) for b in (space.low, space.high))
    return BoxActions(low, high, tuple(space.shape), np.dtype(space.dtype), bounds)


def demonstrated(episodes: Episodes, *, bounds: str = "clip") -> ActionSpace:
    """Return the space that demonstrations alone suggest: the codes, or the range, that they hold."""
    acts = episodes.flat()[1]
    if episodes.discrete:
        return DiscreteActions(max(int(acts.max() - acts.min()) + 1, 2), int(acts.min()))
    low, high = (edge.astype(np.float32) for edge in (acts.min(0), acts.max(0)))
    return BoxActions(low, high, (episodes.action_dim,), np.dtype(np.float32), bounds)


def space_from(facts: dict[str, Any]) -> ActionSpace:
    """Return the space with these facts."""
    if "n" in facts:
        return DiscreteActions(facts["n"], facts["start"])
    dtype = np.dtype(facts["dtype"])
    low, high = (np.array(facts[name], dtype) for name in ("low", "high"))
    return BoxActions(low, high, tuple(facts["shape"]), dtype, facts["bounds"])


def _with_actions(episodes: Episodes, change: Any) -> Episodes:
    return replace(episodes, actions=tuple(change(acts) for acts in episodes.actions))
