"""How finely data was recorded: no noise model should be sharper than that."""

from __future__ import annotations

import numpy as np

_ROWS = 5_000
"""Rows looked at."""


def resolution(x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the smallest step between distinct values of every column, (D,); zero where none is seen.

    If all columns are counted in one unit (grey levels, tenths of a degree), a column that shows fewer
    values than that, or one only, gets the unit too.

    Args:
        x: Rows, (N, D).
        mask: True where observed, (N, D).

    Example:
        >>> resolution(np.array([[0.0, 3.0], [0.5, 3.0], [1.5, 3.0]]), None).tolist()
        [0.5, 0.5]
    """
    x = np.asarray(x[:_ROWS], np.float64)
    seen = np.ones(x.shape, bool) if mask is None else np.asarray(mask[:_ROWS])
    steps = np.array([_step(column[s]) for column, s in zip(x.T, seen.T, strict=True)])
    known = steps[steps > 0]
    if not known.size:
        return steps
    unit = known.min()
    multiples = known / unit
    rounding = np.abs(x[seen]).max() * np.finfo(np.float32).eps
    if unit > 16 * rounding and np.abs(multiples - np.round(multiples)).max() < 0.01:
        return np.full_like(steps, unit)
    return steps


def _step(values: np.ndarray) -> float:
    distinct = np.unique(values)
    return float(np.diff(distinct).min()) if len(distinct) > 1 else 0.0
