"""Student's law fitted column by column, to start from. Host code."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

_ROWS = 5_000
"""Rows looked at."""

_GRID = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""Degrees of freedom tried."""

_ROUNDS = 30
"""Steps of expectation-maximization for each."""


class Columns(NamedTuple):
    """What was fitted, one number a column."""

    loc: np.ndarray
    scale: np.ndarray
    df: np.ndarray


def fit_columns(
    x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None, df: float | None
) -> Columns:
    """Return location and scale by expectation-maximization, and the likeliest ν of a grid.

    E: each entry weighs (ν + 1)/(ν + y²); M: weighted mean and variance (Lange, Little & Taylor 1989,
    *Robust statistical modeling using the t distribution*).

    Args:
        x: Rows, (N, D); of many, some thousands spread over all of them are looked at.
        mask: True where observed, (N, D).
        weight: Row weights, (N,).
        df: ν where it is fixed.
    """
    pick = slice(None, None, max(1, len(x) // _ROWS))
    seen = np.ones(x.shape, bool)[pick] if mask is None else np.asarray(mask)[pick]
    rows = np.where(seen, x[pick], 0.0).astype(np.float64)
    w = seen * (1.0 if weight is None else np.asarray(weight, np.float64)[pick, None])
    total = np.maximum(w.sum(0), 1e-300)
    centre, unit = _robust(rows, seen)
    y = np.where(seen, (rows - centre) / unit, 0.0)
    best, found = np.full(x.shape[1], -np.inf), Columns(centre, unit, np.full(x.shape[1], df or 10.0))
    for nu in _GRID if df is None else (df,):
        loc, scale = _climb(y, w, total, nu)
        score = _score(y, w, total, loc, scale, nu)
        better = score > best
        best = np.where(better, score, best)
        new = (centre + unit * loc, unit * scale, np.full_like(score, nu))
        found = Columns(*(np.where(better, a, b) for a, b in zip(new, found, strict=True)))
    return found


def _robust(rows: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return median and quartile spread; the standard deviation where half of a column is one value; or 1."""
    centre, unit = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
    for j, (column, s) in enumerate(zip(rows.T, seen.T, strict=True)):
        values = column[s]
        if not values.size:
            continue
        low, centre[j], high = np.quantile(values, [0.25, 0.5, 0.75])
        spread = (high - low) / 1.35 or values.std()
        unit[j] = spread if spread > 1e-7 * abs(centre[j]) else 1.0
    return centre, unit


def _climb(y: np.ndarray, w: np.ndarray, total: np.ndarray, nu: float) -> tuple[np.ndarray, np.ndarray]:
    loc, scale = np.zeros(y.shape[1]), np.ones(y.shape[1])
    for _ in range(_ROUNDS):
        r = w * (nu + 1) / (nu + ((y - loc) / scale) ** 2)
        loc = (r * y).sum(0) / np.maximum(r.sum(0), 1e-300)
        square = (r * (y - loc) ** 2).sum(0) / total
        scale = np.where(square > 0, np.sqrt(np.maximum(square, 1e-4)), 1.0)  # ties would send it to zero
    return loc, scale


def _score(
    y: np.ndarray, w: np.ndarray, total: np.ndarray, loc: np.ndarray, scale: np.ndarray, nu: float
) -> np.ndarray:
    constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu)
    tails = 0.5 * (nu + 1) * (w * np.log1p(((y - loc) / scale) ** 2 / nu)).sum(0) / total
    return constant - np.log(scale) - tails
