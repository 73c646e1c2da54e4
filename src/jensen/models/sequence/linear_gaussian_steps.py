"""Parameters of linear-Gaussian models that change from step to step."""

from __future__ import annotations

from typing import Any

import jax

from jensen.errors import InputError
from jensen.nets import Fixed
from jensen.typing import Array, Int, PyTree


class PerStep(Fixed):
    """A parameter given for every step, and held by every fit.

    Attributes:
        values: An array, or a tree of arrays, with a leading axis of steps.
    """

    values: PyTree

    def __len__(self) -> int:
        return len(jax.tree.leaves(self.values)[0])


def is_per_step(node: Any) -> bool:
    """Say whether a parameter was given for every step."""
    return isinstance(node, PerStep)


def whole(part: PyTree) -> Any:
    """Return a part as plain arrays; what was given per step keeps its axis of steps."""
    return _resolved(part, lambda leaf: leaf)


def at(part: PyTree, t: Int[Array, ""]) -> Any:
    """Return a part as it is at step t."""
    return _resolved(part, lambda leaf: leaf[t])


def first(part: PyTree, count: int) -> Any:
    """Return the first steps of a part.

    Raises:
        InputError: If it was given for fewer.
    """

    def cut(leaf: Array) -> Array:
        if count > len(leaf):
            raise InputError(
                f"LinearGaussianSSM: a parameter was given for {len(leaf)} steps, {count} are asked for"
            )
        return leaf[:count]

    return _resolved(part, cut)


def lengths(part: PyTree) -> list[int]:
    """Return for how many steps each parameter was given, of those that change."""
    return [len(node) for node in jax.tree.leaves(part, is_leaf=is_per_step) if is_per_step(node)]


def _resolved(part: PyTree, pick: Any) -> Any:
    return jax.tree.map(
        lambda node: jax.tree.map(pick, node.values) if is_per_step(node) else node, part, is_leaf=is_per_step
    )
