"""Where fits start, chosen from the rows on the host."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from jensen.core import Datum
from jensen.errors import InputError, JensenWarning

SAMPLE = 10_000
"""Most rows that the choice of centres looks at."""

RIDGE = 1e-3
"""Added to the variances a fit starts from, relative to the columns'."""


def check_rows(model: Any, rows: Datum, least: int) -> None:
    """Refuse fewer rows than ``least``, and warn of fewer rows than columns."""
    name, num = type(model).__name__, len(rows.x)
    weight = weights_of(rows)
    num = int((weight > 0).sum())
    if num < least:
        raise InputError(f"{name}: {num} row{'s' * (num != 1)} of positive weight; it takes at least {least}")
    if num <= rows.x.shape[1]:
        warnings.warn(
            f"{name}: {num} rows for {rows.x.shape[1]} columns; covariances are singular without their floor",
            JensenWarning,
            stacklevel=4,
        )


def weights_of(rows: Datum) -> np.ndarray:
    """Return row weights, in float64."""
    return np.ones(len(rows.x)) if rows.weight is None else np.asarray(rows.weight, np.float64)


def pooled_covariance(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the weighted second moment of centred rows, with a small ridge so that it can be factored."""
    return (weight[:, None] * y).T @ y / weight.sum() + RIDGE * np.eye(y.shape[1])


def k_means(
    y: np.ndarray, weight: np.ndarray, num: int, rng: np.random.Generator, *, passes: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Cluster rows: greedy k-means++ seeds (Arthur & Vassilvitskii 2007), then Lloyd's passes.

    Args:
        y: Rows, (N, D).
        weight: Row weights, (N,).
        num: Number of clusters.
        rng: Randomness of the seeds.
        passes: Most passes.

    Returns:
        Centres (num, D) and the label of every row (N,).
    """
    some = rng.choice(len(y), SAMPLE, replace=False) if len(y) > SAMPLE else np.arange(len(y))
    centres = _seeds(y[some], weight[some], num, rng)
    label = np.zeros(len(some), np.int64)
    for _ in range(passes):
        new = _distances(y[some], centres).argmin(1)
        total = np.bincount(new, weight[some], num)
        sums = np.stack([np.bincount(new, weight[some] * column, num) for column in y[some].T], 1)
        kept = total[:, None] > 0
        centres = np.where(kept, sums / np.where(kept, total[:, None], 1.0), centres)
        if (new == label).all():
            break
        label = new
    return centres, _distances(y, centres).argmin(1)


def _seeds(y: np.ndarray, weight: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Each next seed is the best of a few drawn in proportion to the squared distance to the seeds so far."""
    tries = 2 + int(np.log(num))
    centres = [y[rng.choice(len(y), p=weight / weight.sum())]]
    nearest = ((y - centres[0]) ** 2).sum(1)
    while len(centres) < num:
        odds = weight * nearest
        odds = odds if odds.sum() > 0 else weight
        drawn = y[rng.choice(len(y), tries, p=odds / odds.sum())]
        left = np.minimum(nearest[:, None], _distances(y, drawn))
        best = (weight @ left).argmin()
        centres.append(drawn[best])
        nearest = left[:, best]
    return np.stack(centres)


def _distances(y: np.ndarray, centres: np.ndarray) -> np.ndarray:
    squares = (y**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * y @ centres.T
    return np.maximum(squares, 0.0)
