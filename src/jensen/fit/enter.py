"""How rows reach the device without losing digits: centred in float64, then in the default float."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, HoldsData, IndexesData, Inference, SharesLatent, real_steps_of
from jensen.errors import InputError, JensenWarning
from jensen.models.conditional import HasCondFrame
from jensen.models.static import HasFrame
from jensen.nets import column_means
from jensen.posteriors import Exact
from jensen.typing import Array, Float

LOST = 1e-3
"""Share of a column's spread that float32 may round away before the user is told."""


def check_support(model: Any, rows: Datum) -> None:
    """Refuse rows the model cannot be given.

    Raises:
        InputError: If the number of columns is another (in scikit-learn's words), or an observed value is
            outside the support; rows for a model that holds its own data, or none for another.
    """
    name, nothing = type(model).__name__, np.shape(rows.x) == (1, 0)
    if isinstance(model, HoldsData) and not nothing:
        raise InputError(f"{name} holds its own data, {name}(..., data=): give None in place of x")
    if nothing and not isinstance(model, HoldsData):
        raise InputError(f"x is None: {name} needs rows")
    if not isinstance(model, ChecksData):
        return
    found, expected = rows.x.shape[-1], model.data_dim
    if found != expected:
        if rows.x.ndim > 2 and np.prod(rows.x.shape[1:]) == expected:
            flat = "pictures go in as rows, x.reshape(len(x), -1)"
            raise InputError(
                f"x has shape {np.shape(rows.x)}, but {name} is expecting {expected} columns: {flat}"
            )
        raise InputError(f"X has {found} features, but {name} is expecting {expected} features as input.")
    model.check_data(rows)


def centred(inference: Inference, rows: Datum) -> tuple[Inference, Datum]:
    """Move the origin of the model's frame to zero, and the rows with it, in float64.

    The centred inference gives the rows the densities the inference gave them, but float32 rounds what is
    left of a row, not its distance from zero. Nothing is moved under a model without a frame, or a posterior
    that looks at x in coordinates of its own.

    Args:
        inference: The four choices.
        rows: Stacked rows; numpy arrays.

    Returns:
        The inference with its frame's shift at zero, and the rows less that shift; and a condition likewise.
    """
    shift = origin(inference)
    if shift is None:
        return inference, rows
    x = np.asarray(rows.x, np.float64) - shift
    x = x if rows.mask is None else np.where(rows.mask, x, 0.0)
    inference, rows = _with_origin(inference, jnp.zeros(shift.shape)), eqx.tree_at(lambda d: d.x, rows, x)
    if not isinstance(inference.model, HasCondFrame):
        return inference, rows
    model, cond = centred_cond(inference.model, rows.cond)
    return eqx.tree_at(lambda i: i.model, inference, model), eqx.tree_at(lambda d: d.cond, rows, cond)


def uncentred(inference: Inference, original: Inference) -> Inference:
    """Return a centred inference, trained since, with the origin it had originally."""
    if origin(original) is None:
        return inference
    inference = _with_origin(inference, original.model.frame.shift)
    if not isinstance(original.model, HasCondFrame):
        return inference
    return eqx.tree_at(lambda i: i.model.cond_frame, inference, original.model.cond_frame)


def centred_cond(model: HasCondFrame, cond: Any) -> tuple[Any, np.ndarray]:
    """Move the origin in which a model reads its condition to zero, and the condition with it, in float64."""
    shift = model.cond_frame.shift
    moved = eqx.tree_at(lambda m: m.cond_frame.shift, model, jnp.zeros_like(shift))
    return moved, np.asarray(cond, np.float64) - np.asarray(shift, np.float64)


def origin(inference: Inference) -> Float[np.ndarray, "d"] | None:
    """Return what ``centred`` subtracts, in float64; ``None`` where nothing is."""
    blind = isinstance(inference.posterior, Exact | IndexesData | SharesLatent)
    if not blind or not isinstance(inference.model, HasFrame):
        return None
    return np.asarray(inference.model.frame.shift, np.float64)


def narrowed(rows: Datum) -> Datum:
    """Return rows in the types the device holds, still on the host: reals in the default float.

    Warns:
        JensenWarning: If a column lies so far from zero that float32 blurs it.
    """
    real = np.dtype(jnp.result_type(float))
    if real == np.float32 and np.size(rows.x):
        _warn_blurred("x", np.asarray(rows.x), _observed(rows))
        if isinstance(rows.cond, np.ndarray) and rows.cond.ndim > 1 and rows.cond.size:
            _warn_blurred("cond", rows.cond, None)

    def number(leaf: Any) -> np.ndarray:
        return np.asarray(leaf, np.int32 if np.asarray(leaf).dtype.kind in "iu" else real)

    return Datum(
        np.asarray(rows.x, real),
        jax.tree.map(number, rows.cond),
        rows.index,
        rows.mask,
        None if rows.steps is None else np.asarray(rows.steps, np.int32),
        None if rows.weight is None else np.asarray(rows.weight, real),
    )


def to_device(rows: Datum) -> Datum:
    """Move rows to the device once: reals in the default float, lengths and indices as integers."""
    return jax.tree.map(jnp.asarray, narrowed(rows))


def _with_origin(inference: Inference, shift: Float[Array, "d"]) -> Inference:
    return eqx.tree_at(lambda i: i.model.frame.shift, inference, shift)


def _warn_blurred(name: str, x: np.ndarray, mask: np.ndarray | None) -> None:
    flat = x.reshape(-1, x.shape[-1])
    low, high = (np.asarray(v, np.float64) for v in _range(flat, mask))
    size = np.maximum(np.abs(low), np.abs(high))
    # |mean| ≤ size and, of n values, spread ≥ (high − low)/√2n: most columns need no second look
    far = (high > low) & (size * (2 * len(flat)) ** 0.5 * 2.0**-24 > LOST * (high - low))
    if not far.any():
        return
    columns = np.flatnonzero(far)
    some, seen = flat[:, columns], None if mask is None else mask[:, columns]
    mean = column_means(some, seen, None)
    spread = np.sqrt(column_means(some, seen, None, about=mean))
    lost = np.divide(np.abs(mean) * 2.0**-24, spread, out=np.zeros_like(mean), where=spread > 0)
    worst = int(np.argmax(lost))
    if lost[worst] > LOST:
        warnings.warn(
            f"{name}: column {columns[worst]} lies at {mean[worst]:.3g} with a spread of "
            f"{spread[worst]:.3g}, which float32 blurs; subtract an offset first",
            JensenWarning,
            stacklevel=4,
        )


def real_entries(rows: Datum) -> np.ndarray:
    """Return which entries of stacked rows are observed, and of sequences in real steps; the shape of x."""
    shape = np.shape(rows.x)
    seen = np.ones(shape, bool) if rows.mask is None else np.asarray(rows.mask)
    if rows.steps is None:
        return seen
    real = real_steps_of(rows)
    return seen & real.reshape(*real.shape, *[1] * (len(shape) - 2))


def _observed(rows: Datum) -> np.ndarray | None:
    """Return which entries count, one line a row or step; ``None`` for all."""
    if rows.mask is None and rows.steps is None:
        return None
    seen = real_entries(rows)
    return seen.reshape(-1, seen.shape[-1])


def _range(x: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if mask is None:
        return x.min(0), x.max(0)
    return np.where(mask, x, np.inf).min(0), np.where(mask, x, -np.inf).max(0)
