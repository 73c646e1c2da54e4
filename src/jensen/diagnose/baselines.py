"""What any forecast must beat: the last value, the mean, a linear autoregression. Host code, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_LAGS = 8
"""Most past observations that the autoregression looks at."""

MOST_COLUMNS = 256
"""Columns of past observations it looks at; two observations at least, so that it can see a velocity. Wider x
is seen through so many of its principal components."""

MOST_ROWS = 1000
"""Steps that principal components are taken of."""

RIDGES = 10.0 ** np.arange(-7, 4)
"""Penalties tried, relative to the mean variance of a regressor."""


def carried(x: np.ndarray, seen: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """Return sequences with hidden entries filled by the last value observed.

    Args:
        x: (N, T, D).
        seen: True where real and observed.
        instead: What stands before the first observed value, (D,).
    """
    at = np.maximum.accumulate(np.where(seen, np.arange(x.shape[1])[None, :, None], -1), axis=1)
    filled = np.take_along_axis(np.asarray(x, np.float64), np.maximum(at, 0), axis=1)
    return np.where(at >= 0, filled, instead)


def column_scales(x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and standard deviations of the columns over observed entries; 0 and 1 for none."""
    x, count = np.where(seen, x, 0.0).astype(np.float64), np.maximum(seen.sum((0, 1)), 1)
    mean = x.sum((0, 1)) / count
    std = np.sqrt((np.where(seen, x - mean, 0.0) ** 2).sum((0, 1)) / count)
    return mean, np.where(std > 1e-7 * np.abs(mean), std, 1.0)


@dataclass(frozen=True)
class Autoregression:
    """x_{t+1} = x_t + B W [Bᵀx_t, …, Bᵀx_{t−p+1}, u_t, …, u_{t−p+1}, 1], by ridge regression.

    Columns are standardized. The penalty pulls towards the last value; generalized cross-validation chooses
    it. B has the principal components of x where x is wide (with one unit for all columns), else B = 1.

    Attributes:
        weights: W, transposed, (p (R + U) + 1, R).
        lags: p.
        mean: Means of the columns of x.
        std: Their units.
        basis: B, (D, R).
        unit: Units of u.

    References:
        Golub, Heath & Wahba 1979 (generalized cross-validation).
    """

    weights: np.ndarray
    lags: int
    mean: np.ndarray
    std: np.ndarray
    basis: np.ndarray
    unit: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, seen: np.ndarray, inputs: np.ndarray, lags: int) -> Autoregression:
        """Fit all steps that have something observed and ``lags`` real ones before them.

        Args:
            x: Sequences (N, T, D); hidden entries are filled by the last value observed.
            seen: True where real and observed.
            inputs: What enters x_{t+1} besides, at t, (N, T, U).
            lags: p, or fewer where sequences are shorter.
        """
        mean, std = column_scales(x, seen)
        lags, wide = min(lags, max(x.shape[1] - 1, 1)), x.shape[2] > MOST_COLUMNS
        std = np.full_like(std, np.sqrt((std**2).mean())) if wide else std
        y = (carried(x, seen, mean) - mean) / std
        basis = _components(y[seen.any(2)]) if wide else np.eye(x.shape[2])
        unit = np.sqrt((inputs**2).mean((0, 1)))
        unit = np.where(unit > 0, unit, 1.0)
        y, inputs = y @ basis, inputs / unit
        columns, d = lags * (y.shape[2] + inputs.shape[2]) + 1, y.shape[2]
        gram, cross, square, count = np.zeros((columns, columns)), np.zeros((columns, d)), 0.0, 0
        for row, there, u in zip(y, np.any(seen, axis=2, keepdims=False), inputs, strict=True):
            ends = np.flatnonzero(there[lags:]) + lags
            design = _design(row[None], u[None], lags)[0][ends - lags]
            target = row[ends] - row[ends - 1]
            gram, cross = gram + design.T @ design, cross + design.T @ target
            square, count = square + (target**2).sum(), count + len(ends)
        return cls(_ridge(gram, cross, square, count), lags, mean, std, basis, unit)

    def predict(self, x: np.ndarray, seen: np.ndarray, inputs: np.ndarray, horizon: int) -> np.ndarray:
        """Go on from the end of contexts of one length, (W, t, D), each step fed with the one before.

        Args:
            x: Contexts.
            seen: True where observed.
            inputs: (W, ≥ t + horizon − 1, U).
            horizon: Steps to go on.
        """
        filled = carried(x, seen, self.mean)
        t, path = x.shape[1], (filled[:, -self.lags :] - self.mean) / self.std @ self.basis
        inputs = inputs / self.unit
        for h in range(horizon):
            u = inputs[:, t + h - self.lags : t + h]
            past = [part[:, ::-1].reshape(len(x), -1) for part in (path[:, -self.lags :], u)]
            new = path[:, -1] + np.concatenate([*past, np.ones((len(x), 1))], 1) @ self.weights
            path = np.concatenate([path, new[:, None]], 1)
        moved = path[:, self.lags :] - path[:, self.lags - 1, None]
        return filled[:, -1:] + self.std * (moved @ self.basis.T)


def _components(y: np.ndarray) -> np.ndarray:
    """Return the leading principal directions of rows, (D, R), from some of them evenly spread."""
    some = y[:: -(-len(y) // MOST_ROWS)] if len(y) else y
    return np.linalg.svd(some, full_matrices=False)[2][:MOST_COLUMNS].T


def lags_for(columns: int, most: int) -> int:
    """Return how many past observations to look at."""
    return max(1, min(most, max(2, min(MOST_LAGS, MOST_COLUMNS // columns))))


def _design(y: np.ndarray, u: np.ndarray, lags: int) -> np.ndarray:
    """Return the regressors of every step that has ``lags`` before it, latest first."""
    t = y.shape[1]
    past = [part[:, lags - 1 - k : t - 1 - k] for part in (y, u) for k in range(lags)]
    return np.concatenate([*past, np.ones((len(y), max(t - lags, 0), 1))], -1)


def _ridge(gram: np.ndarray, cross: np.ndarray, square: float, count: int) -> np.ndarray:
    """Return the ridge solution with the smallest residual variance over (1 − degrees of freedom/n)²."""
    if count == 0:
        return np.zeros_like(cross)
    value, vector = np.linalg.eigh(gram)
    value, turned = np.maximum(value, 0.0), vector.T @ cross
    best, chosen = np.inf, np.zeros_like(turned)
    for ridge in RIDGES * max(value.mean(), 1e-12):
        scaled = turned / (value + ridge)[:, None]
        residual = square - 2 * (scaled * turned).sum() + (value[:, None] * scaled**2).sum()
        free = count - (value / (value + ridge)).sum()
        score = max(residual, 0.0) / max(free, 1e-9) ** 2
        if score < best:
            best, chosen = score, scaled
    return vector @ chosen
