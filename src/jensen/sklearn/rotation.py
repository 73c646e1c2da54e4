"""Orthogonal rotations that make loadings easy to read. Host code."""

from __future__ import annotations

import numpy as np


def rotated(
    loadings: np.ndarray, criterion: str, *, steps: int = 500, tolerance: float = 1e-10
) -> np.ndarray:
    """Turn loadings so that the variance of their squares is greatest.

    Args:
        loadings: W, (R, D).
        criterion: ``"varimax"``, over the columns within factors, or ``"quartimax"``, over all.
        steps: Most projected-gradient steps.
        tolerance: Relative gain below which they end.

    Returns:
        The turned loadings, (R, D).

    References:
        Kaiser (1958); Jennrich (2001), A simple general procedure for orthogonal rotation.
    """
    w, turn, last = loadings.T, np.eye(len(loadings)), 0.0
    for _ in range(steps):
        now = w @ turn
        away = now * (now**2).mean(0) if criterion == "varimax" else 0.0
        left, values, right = np.linalg.svd(w.T @ (now**3 - away))
        turn = left @ right
        if values.sum() <= last * (1 + tolerance):
            break
        last = values.sum()
    return (w @ turn).T
