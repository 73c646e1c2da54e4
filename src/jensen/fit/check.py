"""The edge: what may enter as training data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jensen.errors import InputError, JensenWarning


def as_array(x: Any) -> np.ndarray:
    """Return x as an array.

    Raises:
        InputError: If rows, or sequences, are of unequal length.
    """
    try:
        return np.asarray(x)
    except ValueError:
        raise InputError(
            "x holds rows or sequences of unequal length; pad sequences to (N, T, D), and give "
            "fit.Data(x, lengths=)"
        ) from None


def check_entries(x: Any, mask: np.ndarray | None) -> np.ndarray:
    """Return x as a numeric array of two or more axes, or say what is wrong with it.

    Args:
        x: Rows.
        mask: True where observed; hidden entries may hold anything.

    Raises:
        InputError: On text, complex numbers, no rows, another number of axes, NaN or infinity (column, count,
            first row).
    """
    x = as_array(x)
    if x.dtype.kind not in "fiub":
        raise InputError(f"x must hold real numbers, not {x.dtype}: encode text and categories first")
    if x.ndim < 2:
        raise InputError(
            f"x must be rows by columns, got shape {x.shape}: use x[:, None] for one column, or "
            "x[None, :, None] for one sequence of numbers"
        )
    if x.size == 0:
        raise InputError(f"x is empty, shape {x.shape}: there is nothing to fit")
    if mask is not None and mask.shape != x.shape:
        raise InputError(f"mask has shape {mask.shape}, x has {x.shape}: they must agree")
    if mask is not None and mask.dtype != np.bool_:
        raise InputError(f"mask must be boolean (True where observed), not {mask.dtype}")
    if x.dtype.kind == "f":
        bad = ~np.isfinite(x) if mask is None else ~np.isfinite(x) & mask
        if bad.any():
            raise InputError(_locate(x, bad))
    if x.dtype == np.bool_:
        return x.astype(np.float32)
    return x


def check_columns(x: np.ndarray, mask: np.ndarray | None) -> None:
    """Warn of columns that never change: they carry no information and can drive densities to infinity."""
    flat = x.reshape(-1, x.shape[-1])
    if len(flat) < 2:
        return
    if mask is None:
        constant = (flat == flat[0]).all(0)
    else:
        seen = mask.reshape(flat.shape)
        low = np.where(seen, flat, np.inf).min(0)
        constant = (low >= np.where(seen, flat, -np.inf).max(0)) & seen.any(0)
    bits = ((flat == 0) | (flat == 1)).all()  # a pixel that is never lit harms nobody
    if flat.dtype.kind == "f" and constant.any() and x.ndim == 2 and not bits:
        names = ", ".join(str(c) for c in np.flatnonzero(constant)[:5])
        more = f" and {int(constant.sum()) - 5} more" if constant.sum() > 5 else ""
        warnings.warn(f"x: constant column {names}{more}: consider dropping it", JensenWarning, stacklevel=4)


def only_tails(bad: np.ndarray) -> bool:
    """Whether what is bad of sequences (N, T, D) are whole steps up to their ends, as padding is."""
    steps = np.asarray(bad.any(-1))
    return bool(
        (bad.all(-1) == steps).all() and (steps[:, 1:] >= steps[:, :-1]).all() and not steps.all(1).any()
    )


def _locate(x: np.ndarray, bad: np.ndarray) -> str:
    where = np.argwhere(bad)
    row, column = int(where[0][0]), int(where[0][-1])
    count = int(bad[..., column].sum())
    kind = "NaN" if np.isnan(x[bad][0]) else "infinity"
    if x.ndim == 3:
        return (
            f"x holds {kind} in column {column} ({count} entries, first in sequence {row}, "
            f"step {where[0][1]}): "
            + (
                "if these tails are padding, give fit.Data(x, lengths=)"
                if only_tails(bad)
                else "leave those sequences out, or give fit.Data(x, mask=~np.isnan(x)) if the model takes "
                "missing entries"
            )
        )
    return (
        f"x holds {kind} in column {column} ({count} entries, first in row {row}): "
        "drop the rows, or give fit.Data(x, mask=~np.isnan(x)) if the model takes missing entries"
    )
