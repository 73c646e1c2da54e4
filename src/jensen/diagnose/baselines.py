"""What any forecast must beat: the last value, the mean, a linear autoregression. Host code, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_LAGS = 8
"""Most past observations that the autoregression looks at."""

MOST_COLUMNS = 256
"""Columns of past observations it looks at; two observations at least, so that it can see a velocity."""

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
    """x_{t+1} = x_t + W [x_t, …, x_{t−p+1}, u_t, …, u_{t−p+1}, 1], by ridge regression.

    Columns of x are standardized. The penalty pulls towards the last value; generalized cross-validation
    chooses it.

    Attributes:
        weights: W, (p (D + U) + 1, D).
        lags: p.
        mean: Means of the columns.
        std: Their standard deviations.

    References:
        Golub, Heath & Wahba 1979 (generalized cross-validation).
    """

    weights: np.ndarray
    lags: int
    mean: np.ndarray
    std: np.ndarray

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
        lags = min(lags, max(x.shape[1] - 1, 1))
        y = (carried(x, seen, mean) - mean) / std
        columns, d = lags * (y.shape[2] + inputs.shape[2]) + 1, y.shape[2]
        gram, cross, square, count = np.zeros((columns, columns)), np.zeros((columns, d)), 0.0, 0
        for row, there, u in zip(y, np.any(seen, axis=2, keepdims=False), inputs, strict=True):
            ends = np.flatnonzero(there[lags:]) + lags
            design = _design(row[None], u[None], lags)[0][ends - lags]
            target = row[ends] - row[ends - 1]
            gram, cross = gram + design.T @ design, cross + design.T @ target
            square, count = square + (target**2).sum(), count + len(ends)
        return cls(_ridge(gram, cross, square, count), lags, mean, std)

    def predict(self, x: np.ndarray, seen: np.ndarray, inputs: np.ndarray, horizon: int) -> np.ndarray:
        """Go on from the end of contexts of one length, (W, t, D), each step fed with the one before.

        Args:
            x: Contexts.
            seen: True where observed.
            inputs: (W, ≥ t + horizon − 1, U).
            horizon: Steps to go on.
        """
        y = (carried(x, seen, self.mean) - self.mean) / self.std
        t, path = x.shape[1], y[:, -self.lags :]
        for h in range(horizon):
            u = inputs[:, t + h - self.lags : t + h]
            past = [part[:, ::-1].reshape(len(x), -1) for part in (path[:, -self.lags :], u)]
            new = path[:, -1] + np.concatenate([*past, np.ones((len(x), 1))], 1) @ self.weights
            path = np.concatenate([path, new[:, None]], 1)
        return self.mean + self.std * path[:, self.lags :]


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
