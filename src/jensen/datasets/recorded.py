"""Recorded episodes: what was seen and done, how each ended; and their layouts for conditional models."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jensen.datasets.prepare import split
from jensen.datasets.sequences import padded
from jensen.errors import InputError, JensenWarning


@dataclass(frozen=True, eq=False)
class Episodes:
    """N recorded episodes: o_0, a_0, r_0, o_1, ..., a_{T−1}, r_{T−1}, o_T.

    Args:
        observations: One (T_i + 1, S) array an episode: the last row follows the last action.
        actions: One (T_i, A) array of numbers an episode, or (T_i,) integer codes.
        rewards: One (T_i,) array an episode; zeros where None.
        terminated: (N,), whether the task itself ended the episode; all of them where None.
        truncated: (N,), whether it was cut off from outside, as by a time limit; none where None.
        modes: Which way each went, "" where unknown; () if nobody knows.
        successes: (N,), whether each reached its goal; None if nobody knows.
        name: Name of the data.

    Raises:
        InputError: Lengths or widths that disagree, no step, or entries that are not finite numbers; which
            episode, and what was expected.

    Example:
        >>> episodes = Episodes((np.zeros((4, 2)), np.ones((3, 2))), (np.ones((3, 1)), np.ones((2, 1))))
        >>> episodes
        Episodes('episodes', 2 of 2 to 3 steps, 2 observations, 1 actions)
        >>> observations, chunks, mask = episodes.chunks(2)
        >>> chunks.shape, int(mask.sum())
        ((5, 2), 8)
    """

    observations: tuple[np.ndarray, ...]
    actions: tuple[np.ndarray, ...]
    rewards: tuple[np.ndarray, ...] | None = None
    terminated: np.ndarray | None = None
    truncated: np.ndarray | None = None
    modes: tuple[str, ...] = ()
    successes: np.ndarray | None = None
    name: str = "episodes"

    def __post_init__(self):
        count = len(self.actions)
        if not count:
            raise InputError(f"{self.name}: no episodes; there is nothing to learn from")
        if len(self.observations) != count:
            raise InputError(
                f"{self.name}: {len(self.observations)} episodes of observations, {count} of actions; "
                "they must agree"
            )
        seen = tuple(_observed(o, i, self.name) for i, o in enumerate(self.observations))
        done = tuple(_acted(a, i, self.name) for i, a in enumerate(self.actions))
        discrete = {a.ndim == 1 for a in done}
        if len(discrete) > 1:
            raise InputError(f"{self.name}: some episodes hold codes (T,), others vectors (T, A) as actions")
        _agree(seen, "observations", self.name)
        _agree(done, "actions", self.name)
        for i, (o, a) in enumerate(zip(seen, done, strict=True)):
            _check_lengths(i, len(o), len(a), self.name)
        settled = {
            "observations": seen,
            "actions": done,
            "rewards": self._rewarded(done),
            "terminated": self._flags("terminated", self.terminated, True),
            "truncated": self._flags("truncated", self.truncated, False),
            "modes": self._named(count),
            "successes": None if self.successes is None else self._flags("successes", self.successes, False),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        low, high = self.lengths.min(), self.lengths.max()
        acts = f"{self.action_dim} actions" if not self.discrete else "discrete actions"
        long = f"{low}" if low == high else f"{low} to {high}"
        seen = self.observations[0].shape[1]
        return f"Episodes({self.name!r}, {len(self)} of {long} steps, {seen} observations, {acts})"

    @property
    def discrete(self) -> bool:
        """Whether actions are integer codes."""
        return self.actions[0].ndim == 1

    @property
    def observation_dim(self) -> int:
        """S, numbers in an observation."""
        return self.observations[0].shape[1]

    @property
    def action_dim(self) -> int:
        """A, numbers in an action; 1 for codes."""
        return 1 if self.discrete else self.actions[0].shape[1]

    @property
    def lengths(self) -> Int[np.ndarray, "n"]:
        """Number of actions of each, (N,)."""
        return np.array([len(a) for a in self.actions])

    @property
    def returns(self) -> Float[np.ndarray, "n"]:
        """Sum of the rewards of each, (N,), undiscounted."""
        return np.array([r.sum() for r in self.rewards or ()])

    @property
    def shares(self) -> dict[str, float]:
        """Share of each mode among the episodes that took one; empty if nobody knows."""
        counts = Counter(mode for mode in self.modes if mode)
        return {mode: counts[mode] / counts.total() for mode in sorted(counts)}

    def take(self, rows: Iterable[int] | Int[np.ndarray, "m"]) -> Episodes:
        """Return some of the episodes, in the order given."""
        rows = [int(row) for row in rows]
        return replace(
            self,
            observations=tuple(self.observations[i] for i in rows),
            actions=tuple(self.actions[i] for i in rows),
            rewards=tuple((self.rewards or ())[i] for i in rows),
            terminated=np.asarray(self.terminated)[rows],
            truncated=np.asarray(self.truncated)[rows],
            modes=tuple(self.modes[i] for i in rows) if self.modes else (),
            successes=None if self.successes is None else self.successes[rows],
        )

    def split(self, share: float, seed: int) -> tuple[Episodes, Episodes]:
        """Hold out a random share of the episodes, each whole.

        Returns:
            Those to train on, and those held out.

        Raises:
            InputError: The share is not above 0 and below 1, or one episode would have to be split.
        """
        train, held = split(len(self), share, seed=seed)
        if not len(held):
            raise InputError(f"{self.name}: the share held out is {share}; it must be above 0 and below 1")
        return self.take(train), self.take(held)

    def flat(self) -> tuple[Float[np.ndarray, "m s"], Shaped[np.ndarray, "m a"]]:
        """Return the pairs (o_t, a_t) of all episodes: (M, S) and (M, A); codes are one column."""
        acts = np.concatenate([a.reshape(len(a), -1) for a in self.actions])
        return np.concatenate([o[:-1] for o in self.observations]), acts

    def chunks(
        self, horizon: int
    ) -> tuple[Float[np.ndarray, "m s"], Shaped[np.ndarray, "m ha"], Bool[np.ndarray, "m ha"]]:
        """Return every o_t with the ``horizon`` actions that follow, and which of them are real.

        Returns:
            Observations (M, S); actions (M, H·A), a_t first, zeros behind the end; True where real.

        Raises:
            InputError: The horizon is not positive, or longer than every episode.
        """
        if horizon < 1:
            raise InputError(f"the chunk has {horizon} actions; it must have at least 1")
        short = np.flatnonzero(self.lengths < horizon)
        if len(short) == len(self):
            raise InputError(
                f"{self.name}: every episode is shorter than the chunk of {horizon} actions (the longest has "
                f"{self.lengths.max()}); use a shorter one"
            )
        if len(short):
            warnings.warn(
                f"{self.name}: {len(short)} of {len(self)} episodes are shorter than the chunk of {horizon} "
                f"actions, the first is episode {short[0]} with {self.lengths[short[0]]}; what lies behind "
                "their end is masked",
                JensenWarning,
                stacklevel=2,
            )
        acts, masks = zip(*(_chunked(a.reshape(len(a), -1), horizon) for a in self.actions), strict=True)
        return self.flat()[0], np.concatenate(acts), np.concatenate(masks)

    def padded(
        self,
    ) -> tuple[Float[np.ndarray, "n t s"], Shaped[np.ndarray, "n t a"], Int[np.ndarray, "n"]]:
        """Return o_0 … o_{T−1} as (N, T, S), actions (N, T, A), zeros behind each end, and lengths."""
        seen = padded([o[:-1] for o in self.observations])
        return seen, padded([a.reshape(len(a), -1) for a in self.actions]), self.lengths

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an npz file that ``load_episodes`` reads: arrays one after another, with their lengths."""
        more: dict[str, Any] = {} if self.successes is None else {"successes": self.successes}
        if self.modes:
            more["modes"] = np.array(self.modes)
        np.savez_compressed(
            path,
            obs=np.concatenate(self.observations),
            acts=np.concatenate(self.actions),
            act_lengths=self.lengths,
            rewards=np.concatenate(self.rewards or ()),
            terminated=np.asarray(self.terminated),
            truncated=np.asarray(self.truncated),
            **more,
        )

    def _rewarded(self, done: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        if self.rewards is None:
            return tuple(np.zeros(len(a)) for a in done)
        if len(self.rewards) != len(done):
            raise InputError(f"{self.name}: rewards of {len(self.rewards)} episodes, actions of {len(done)}")
        paid = tuple(np.asarray(r, np.float64).reshape(-1) for r in self.rewards)
        for i, (r, a) in enumerate(zip(paid, done, strict=True)):
            if len(r) != len(a):
                raise InputError(f"{self.name}: episode {i} has {len(r)} rewards and {len(a)} actions")
            _finite(r, "reward", i, self.name)
        return paid

    def _flags(self, name: str, values: Any, otherwise: bool) -> Bool[np.ndarray, "n"]:
        if values is None:
            return np.full(len(self.actions), otherwise)
        flags = np.asarray(values).astype(bool)
        if flags.shape != (len(self.actions),):
            raise InputError(
                f"{self.name}: {name} has shape {flags.shape}; it must be one flag an episode, "
                f"({len(self.actions)},)"
            )
        return flags

    def _named(self, count: int) -> tuple[str, ...]:
        if len(self.modes) not in (0, count):
            raise InputError(f"{self.name}: {len(self.modes)} modes for {count} episodes; they must agree")
        return tuple(str(mode) for mode in self.modes)


def _observed(values: Any, episode: int, name: str) -> Float[np.ndarray, "_ s"]:
    array = _numbers(values, "observations", episode, name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise InputError(
            f"{name}: observations of episode {episode} have shape {array.shape}; flatten each to a vector"
        )
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    _finite(array, "observation", episode, name)
    return array


def _acted(values: Any, episode: int, name: str) -> np.ndarray:
    array = _numbers(values, "actions", episode, name)
    if array.ndim > 2:
        raise InputError(
            f"{name}: actions of episode {episode} have shape {array.shape}; give (T, A), or (T,) codes"
        )
    if array.ndim == 1:
        if array.dtype.kind == "f":
            raise InputError(
                f"{name}: actions of episode {episode} are a row of floats {array.shape}; one number a step "
                "is a[:, None], discrete actions are integers"
            )
        return array.astype(np.int64)
    array = array if array.dtype.kind == "f" else array.astype(np.float64)
    _finite(array, "action", episode, name)
    return array


def _numbers(values: Any, what: str, episode: int, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise InputError(f"{name}: {what} of episode {episode} have rows of unequal length") from None
    if array.dtype.kind not in "buif" or array.ndim == 0:
        raise InputError(f"{name}: {what} of episode {episode} are {array.dtype}, not an array of numbers")
    return array


def _finite(array: np.ndarray, what: str, episode: int, name: str) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        step = int(np.argwhere(bad)[0][0])
        raise InputError(f"{name}: the {what} of episode {episode}, step {step}, is not finite; correct it")


def _agree(parts: tuple[np.ndarray, ...], what: str, name: str) -> None:
    for i, part in enumerate(parts):
        if part.shape[1:] != parts[0].shape[1:]:
            raise InputError(
                f"{name}: {what} of episode {i} have {part.shape[1]} columns, those of episode 0 "
                f"{parts[0].shape[1]}; they must agree"
            )


def _check_lengths(episode: int, seen: int, done: int, name: str) -> None:
    if not done:
        raise InputError(f"{name}: episode {episode} has no actions; leave it out")
    if seen != done + 1:
        last = "; repeat the last one if what followed was not kept" if seen == done else ""
        raise InputError(
            f"{name}: episode {episode} has {seen} observations and {done} actions; T actions go with T + 1 "
            f"observations, the last of which follows the last action{last}"
        )


def _chunked(actions: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the next ``horizon`` actions at every step, flattened, and which are real."""
    steps, width = actions.shape
    ahead = np.arange(steps)[:, None] + np.arange(horizon)
    real = ahead < steps
    taken = np.where(real[..., None], actions[np.minimum(ahead, steps - 1)], 0).astype(actions.dtype)
    mask = np.broadcast_to(real[..., None], (steps, horizon, width))
    return taken.reshape(steps, -1), mask.reshape(steps, -1).copy()
