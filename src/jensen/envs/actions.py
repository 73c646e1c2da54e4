"""Actions from outside: checked, clipped, and as the rows that worlds read."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from jensen.errors import InputError


def clipped(
    action: Any, space: gymnasium.spaces.Box, name: str, lead: tuple[int, ...] = ()
) -> Float[np.ndarray, "..."]:
    """Return actions within their box, double precision.

    Args:
        action: Numbers of shape (*lead, *space.shape).
        space: The box.
        name: Of the environment, for what is said.
        lead: Axes of several actions, before those of one.

    Raises:
        InputError: Another shape, or entries that are not finite numbers.
    """
    given = np.asarray(action, np.float64)
    shape = (*lead, *space.shape)
    if given.shape != shape:
        what = "an action has" if not lead else "actions have"
        raise InputError(f"{name}: {what} shape {shape}, not {given.shape}")
    bad = ~np.isfinite(given)
    if bad.any():
        first = given if not lead else given[np.argwhere(bad)[0][0]]
        where = "" if not lead else f" of copy {np.argwhere(bad)[0][0]}"
        raise InputError(f"{name}: action {first.tolist()}{where} is not finite; nothing was done")
    return np.clip(given, space.low, space.high)


def rows(
    action: Any, space: gymnasium.spaces.Space[Any], name: str, lead: tuple[int, ...] = ()
) -> Float[np.ndarray, "*n a"]:
    """Return actions as worlds read them: the numbers of a box, clipped, or a one-hot row a choice.

    Raises:
        InputError: Another shape, numbers that are not finite, or a choice there is none of.
    """
    if isinstance(space, gymnasium.spaces.Box):
        return clipped(action, space, name, lead).reshape(*lead, -1).astype(np.float32)
    assert isinstance(space, gymnasium.spaces.Discrete)
    given = np.asarray(action)
    if given.shape != lead or given.dtype.kind not in "iu":
        what = "an action is one integer" if not lead else f"actions are integers {lead}"
        raise InputError(f"{name}: {what}, not {given.dtype} {given.shape}")
    outside = (given < 0) | (given >= space.n)
    if outside.any():
        worst = int(given[outside].reshape(-1)[0])
        raise InputError(f"{name}: action {worst} is none of 0..{space.n - 1}; nothing was done")
    return np.eye(int(space.n), dtype=np.float32)[given]
