"""Column statistics on the host."""

from __future__ import annotations

import numpy as np


def column_means(x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None) -> np.ndarray:
    """Return weighted means of the observed entries, (D,), in float64; zero for a column never observed."""
    w = np.ones(len(x)) if weight is None else np.asarray(weight, np.float64)
    if mask is None:
        return np.asarray(w @ np.asarray(x, np.float64)) / w.sum()
    seen = w[:, None] * mask
    return np.where(mask, seen * np.asarray(x, np.float64), 0.0).sum(0) / np.maximum(seen.sum(0), 1e-300)
