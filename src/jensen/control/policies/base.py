"""What a policy can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError
from jensen.typing import Array, Bool, PyTree


class Policy(ABC):
    """Acts in one environment, or in several at once.

    After ``reset()``, observations are (S,); after ``reset(num_envs=N)`` they are (N, S), one row an
    environment, each with a course of its own.
    """

    @abstractmethod
    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        """Begin new episodes.

        Args:
            num_envs: Number of environments; None for one, without a leading axis.
            mask: (N,), True where an episode begins; the other environments go on. Everywhere by default.
        """

    @abstractmethod
    def select_action(self, observation: Any) -> Any:
        """Return the next action of each environment, valid in the action space."""

    @abstractmethod
    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        """Return the next H actions as foreseen now, (H, ...), without carrying them out."""

    @abstractmethod
    def predict(self, observations: Any) -> np.ndarray:
        """Return one action a row, (N, S) to (N, ...), the same for the same table."""


def checked_reset(num_envs: int | None, mask: Any, under_way: int | None) -> np.ndarray | None:
    """Return the mask of a reset; None where all environments begin.

    Args:
        num_envs: As in ``Policy.reset``.
        mask: Likewise.
        under_way: Environments that are; None before the first reset.

    Raises:
        InputError: A number that is not positive, or a mask that does not fit.
    """
    if num_envs is not None and num_envs < 1:
        raise InputError(f"reset: num_envs is {num_envs}; it must be at least 1")
    if mask is None:
        return None
    mask = np.asarray(mask, bool)
    if mask.shape != (under_way,):
        count = "none" if under_way is None else under_way
        raise InputError(f"reset: mask has shape {mask.shape}, but {count} environments are under way")
    return mask


def renewed(mask: Bool[Array, "n"], new: PyTree, old: PyTree) -> PyTree:
    """Take the rows of one tree where the mask says so, of another elsewhere."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)
