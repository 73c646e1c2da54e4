"""One recorded episode in the environment's own shapes and types, checked once, and steps that became one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.datasets import Episodes
from jensen.errors import InputError


@dataclass(frozen=True, eq=False)
class Episode:
    """o_0, a_0, r_0, o_1, ..., a_{T−1}, r_{T−1}, o_T, as the environment gave and took them.

    Args:
        observations: (T + 1, ...), of any type; the last row follows the last action.
        actions: (T, ...), or (T,) integer codes.
        rewards: (T,), in the environment's units.
        terminated: Whether the task itself ended the episode.
        truncated: Whether it was cut off from outside, as by a time limit.
        seed: What its environment was reset with; None where the environment went on by itself.
        mode: Which way it went, "" where it went none; None where nobody says.
        success: Whether it reached its goal; None where nobody says.

    Raises:
        InputError: Lengths that disagree, no step, or a number that is not finite: which, and at which step.

    Example:
        >>> episode = Episode(np.zeros((4, 2)), np.array([0, 1, 1]), np.ones(3), terminated=True)
        >>> len(episode), episode.nbytes
        (3, 112)
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool = False
    seed: int | None = None
    mode: str | None = None
    success: bool | None = None

    def __post_init__(self):
        for name in ("observations", "actions"):
            object.__setattr__(self, name, _numbers(getattr(self, name), name))
        object.__setattr__(self, "rewards", np.asarray(self.rewards, np.float64))
        steps = len(self.actions)
        if not steps:
            raise InputError("an episode without actions; leave it out")
        if len(self.observations) != steps + 1 or self.rewards.shape != (steps,):
            raise InputError(
                f"an episode of {len(self.observations)} observations, {steps} actions and rewards of shape "
                f"{self.rewards.shape}; T actions and T rewards go with T + 1 observations"
            )
        for name in ("observations", "actions", "rewards"):
            values = getattr(self, name)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                step = int(np.argwhere(~np.isfinite(values))[0][0])
                raise InputError(f"an episode whose {name} are not finite, first at step {step}; correct it")

    @classmethod
    def trusted(
        cls, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, **ends: Any
    ) -> Episode:
        """Return an episode of arrays that were checked before, and are not read again."""
        new = object.__new__(cls)
        values = {"observations": observations, "actions": actions, "rewards": rewards, **ends}
        for name, value in values.items():
            object.__setattr__(new, name, value)
        return new

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.observations.nbytes + self.actions.nbytes + self.rewards.nbytes


def recorded(episodes: Sequence[Episode], name: str) -> Episodes:
    """Return episodes as imitation reads them: observations flattened, otherwise as a policy is shown them.

    Raises:
        InputError: There is none.
    """
    known = any(episode.success is not None for episode in episodes)
    return Episodes(
        tuple(_vectors(episode.observations) for episode in episodes),
        tuple(_flat(episode.actions) for episode in episodes),
        tuple(np.asarray(episode.rewards) for episode in episodes),
        np.array([episode.terminated for episode in episodes]),
        np.array([episode.truncated for episode in episodes]),
        modes=tuple(e.mode or "" for e in episodes) if any(e.mode is not None for e in episodes) else (),
        successes=np.array([bool(episode.success) for episode in episodes]) if known else None,
        name=name,
    )


class Track:
    """An episode as it happens.

    Attributes:
        number: Its place in the order in which episodes began.
        seed: What its environment was reset with; None where that began it by itself.
        wanted: Whether it is kept.
        over: Whether it has ended; its environment may only reset a step later.
    """

    def __init__(self, number: int, seed: int | None, first: Any, *, wanted: bool):
        self.number, self.seed, self.wanted = number, seed, wanted
        self.steps, self.over = 0, False
        self._observations, self._actions, self._rewards = [first], [], []

    def take(self, action: Any, reward: float, observation: Any) -> None:
        """Add one step."""
        self.steps += 1
        if self.wanted:
            self._observations.append(observation)
            self._actions.append(action)
            self._rewards.append(reward)

    def end(
        self, *, terminated: bool, truncated: bool, mode: str | None = None, success: bool | None = None
    ) -> Episode:
        """Return the episode it became."""
        arrays = np.stack(self._observations), np.stack(self._actions), np.array(self._rewards)
        return Episode(*arrays, terminated, truncated, seed=self.seed, mode=mode, success=success)

    def __str__(self) -> str:
        if self.seed is not None:
            return f"the episode with seed {self.seed}"
        return f"episode {self.number}, which its environment began by itself"


def _vectors(observations: np.ndarray) -> np.ndarray:
    flat = np.asarray(observations).reshape(len(observations), -1)
    return flat if flat.dtype.kind == "f" else flat.astype(np.float32)


def _flat(actions: np.ndarray) -> np.ndarray:
    return np.asarray(actions if actions.ndim == 1 else actions.reshape(len(actions), -1))


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    array = np.asanyarray(values)  # a memory map stays one
    if array.ndim < 1 or array.dtype.kind not in "buif":
        raise InputError(f"an episode whose {name} are {array.dtype} of shape {array.shape}, not numbers")
    return array
