"""Weights of components: from logits, and as a user gives them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.errors import InputError
from jensen.typing import Array, Float


def shares(logits: Float[Array, "k"]) -> np.ndarray:
    """Return the probabilities, (K,), float64."""
    log_w = np.asarray(logits, np.float64)
    weights = np.exp(log_w - log_w.max())
    return weights / weights.sum()


def checked_weights(weights: Any, rows: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return weights, scaled to sum to one, and a row a component, in float64.

    Args:
        weights: (K,).
        rows: (K, D).
        name: What the rows are called.

    Raises:
        InputError: If shapes disagree or a weight is not positive.
    """
    weights, rows = np.asarray(weights, np.float64), np.asarray(rows, np.float64)
    if rows.ndim != 2 or weights.shape != rows.shape[:1]:
        raise InputError(f"weights have shape {weights.shape} and {name} {rows.shape}; give (K,) and (K, D)")
    if not (weights > 0).all():
        raise InputError("weights must be positive: leave out a component that has none")
    return weights / weights.sum(), rows
