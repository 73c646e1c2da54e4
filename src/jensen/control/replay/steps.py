"""Episodes as single steps, and whether an episode fits the spaces it is kept in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jensen.control.replay.episode import Episode
from jensen.control.spaces import ActionSpace, DiscreteActions
from jensen.errors import InputError


class Steps(NamedTuple):
    """Single steps of all episodes, one after another.

    Attributes:
        observations: o_t, (M, ...).
        actions: a_t, (M, ...).
        rewards: r_t, (M,).
        next_observations: o_{t+1}, (M, ...).
        terminated: Whether the task ended the episode with this step, (M,): nothing is earned after it.
        truncated: Whether it was cut off after this step, (M,): what follows is not known.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray


def steps_of(episodes: Sequence[Episode]) -> Steps:
    """Return the steps of episodes, one after another."""
    lengths = [len(e) for e in episodes]
    last = np.cumsum(lengths) - 1
    terminated, truncated = np.zeros((2, sum(lengths)), bool)
    terminated[last], truncated[last] = [e.terminated for e in episodes], [e.truncated for e in episodes]
    return Steps(
        np.concatenate([e.observations[:-1] for e in episodes]),
        np.concatenate([e.actions for e in episodes]),
        np.concatenate([e.rewards for e in episodes]),
        np.concatenate([e.observations[1:] for e in episodes]),
        terminated,
        truncated,
    )


def valid_actions(episode: Episode, space: ActionSpace, where: str) -> np.ndarray:
    """Return the actions of an episode in the type of their space.

    Args:
        episode: As it was played.
        space: What actions are valid.
        where: Names the episode in a refusal.

    Raises:
        InputError: Shapes that do not fit, actions outside the space.
    """
    shape = episode.actions.shape[1:]
    if tuple(shape) != tuple(space.shape):
        raise InputError(
            f"{where} has actions of shape {shape}; those of the space {space} have {space.shape}"
        )
    acts = episode.actions.astype(space.dtype, copy=False)
    if acts.dtype.kind == "i" and episode.actions.dtype.kind == "f" and (acts != episode.actions).any():
        raise InputError(f"{where} has actions that are no whole numbers, but {space} are codes")
    if isinstance(space, DiscreteActions):
        outside = (acts < space.start) | (acts >= space.start + space.n)
        if outside.any():
            step = int(np.argmax(outside))
            raise InputError(f"{where} has action {acts[step]} at step {step}, outside {space}")
    return acts
