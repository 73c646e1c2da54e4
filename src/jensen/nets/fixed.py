"""Numbers chosen from the data once and never trained."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.typing import Array, Bool, Float, PyTree, Scalar


class Fixed(eqx.Module):
    """Trait: the arrays of this module are not trained."""


class Frame(Fixed):
    """Coordinates y = (x − shift)/scale in which the data is of order one.

    Parameters held in these coordinates keep their precision when the data sits at an offset of 1000, and
    densities stay in the data's own units through ``log_scale``.

    Attributes:
        shift: Origin, one entry per column.
        scale: Unit, one entry per column.
    """

    shift: Float[Array, "d"]
    scale: Float[Array, "d"]

    @classmethod
    def identity(cls, dim: int) -> Frame:
        """Return the data's own coordinates."""
        return cls(jnp.zeros(dim), jnp.ones(dim))

    @classmethod
    def standardizing(cls, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None) -> Frame:
        """Return the frame in which every column has mean 0 and standard deviation 1.

        Args:
            x: Rows, (N, D); computed in float64 on the host.
            mask: True where observed, (N, D).
            weight: Row weights, (N,).
        """
        shift = column_means(x, mask, weight).astype(np.float32)  # what is stored is what is subtracted
        spread = np.sqrt(column_means(x, mask, weight, about=shift))
        # below one unit in the last place of the stored shift a column is constant, whatever the rounding
        resolution = np.finfo(np.float32).eps * np.abs(shift) + np.finfo(np.float32).tiny
        scale = np.where(spread > resolution, spread, 1.0).astype(np.float32)
        return cls(jnp.asarray(shift), jnp.asarray(scale))

    def enter(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Return y = (x − shift)/scale."""
        return (x - jax.lax.stop_gradient(self.shift)) / jax.lax.stop_gradient(self.scale)

    def leave(self, y: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Return x = shift + scale·y."""
        return jax.lax.stop_gradient(self.shift) + jax.lax.stop_gradient(self.scale) * y

    def log_scale(self, mask: Bool[Array, "d"] | None = None) -> Scalar:
        """Return Σ log scale over observed columns: log p(x) = log p(y) − this."""
        each = jnp.log(jax.lax.stop_gradient(self.scale))
        return each.sum() if mask is None else jnp.where(mask, each, 0.0).sum()


def column_means(
    x: np.ndarray,
    mask: np.ndarray | None,
    weight: np.ndarray | None,
    *,
    about: np.ndarray | None = None,
) -> np.ndarray:
    """Return weighted column means of the observed entries, or of their squared distance from a point.

    Args:
        x: Rows, (N, D), of any numeric type.
        mask: True where observed, (N, D).
        weight: Row weights, (N,).
        about: The point, (D,); ``None`` for plain means.

    Returns:
        (D,) in float64; zero for a column never observed.
    """
    total, sums = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for start in range(0, len(x), 4096):  # blocks stay in the cache, and no float64 copy of all rows is made
        rows = slice(start, start + 4096)
        block = np.asarray(x[rows], np.float64)
        w = np.ones(len(block)) if weight is None else np.asarray(weight[rows], np.float64)
        values = block if about is None else (block - about) ** 2
        if mask is None:
            total += w.sum()
            sums += w @ values
        else:
            seen = np.asarray(mask[rows])
            total += w @ seen
            sums += w @ np.where(seen, values, 0.0)
    return np.divide(sums, total, out=np.zeros_like(sums), where=total > 0)


def trainable(tree: PyTree) -> PyTree:
    """Mark the leaves that training may change: floating-point arrays outside ``Fixed`` modules.

    What a class of jensen's declares a number is an option (a weight β, a temperature), whatever kind of
    number it was given: a NumPy or JAX scalar is no parameter there.

    Returns:
        A tree of booleans of the same structure, as ``equinox.partition`` takes.
    """
    if isinstance(tree, Fixed):
        return _unmarked(tree)
    if not isinstance(tree, eqx.Module):
        return jax.tree.map(_mark, tree, is_leaf=lambda node: isinstance(node, eqx.Module))
    parts, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    options = _options(type(tree))
    marks = [
        _unmarked(part) if getattr(path[0], "name", None) in options else trainable(part)
        for path, part in parts
    ]
    return jax.tree.unflatten(structure, marks)


def _mark(node: PyTree) -> PyTree:
    return trainable(node) if isinstance(node, eqx.Module) else eqx.is_inexact_array(node)


def _unmarked(node: PyTree) -> PyTree:
    return jax.tree.map(lambda _: False, node)


@cache
def _options(cls: type) -> frozenset[str]:
    """Name the fields of one of jensen's classes that are declared as plain numbers."""
    if not cls.__module__.startswith("jensen."):
        return frozenset()
    return frozenset(field.name for field in fields(cls) if re.search(r"\bfloat\b", _words(field.type)))


def _words(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else repr(annotation)
