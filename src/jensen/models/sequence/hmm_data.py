"""What a hidden Markov model asks of its data, on the host."""

from __future__ import annotations

import numpy as np

from jensen.core import Datum, real_steps_of
from jensen.errors import InputError

PSEUDO = 1.0
"""Transitions every pair of states is granted before any were counted."""


def check_sequences(rows: Datum, input_dim: int) -> np.ndarray:
    """Return which entries are real and observed.

    Raises:
        InputError: If rows are not sequences, or inputs are missing, not asked for, or of another shape.
    """
    x = np.asarray(rows.x)
    if x.ndim != 3:
        raise InputError(
            f"HMM takes sequences (N, T, D), got shape {x.shape}: use x[None] for one sequence of rows"
        )
    if input_dim == 0 and rows.cond is not None:
        raise InputError("HMM: cond was given, but the model has no inputs; make it with input_dim=")
    if input_dim:
        shape = None if rows.cond is None else np.shape(rows.cond)
        if shape != (*x.shape[:2], input_dim):
            wanted = (*x.shape[:2], input_dim)
            raise InputError(f"HMM: cond must hold inputs {wanted}, one row for every step of x; got {shape}")
    seen = np.broadcast_to(real_steps_of(rows)[..., None], x.shape)
    if rows.mask is not None:
        seen = seen & np.asarray(rows.mask)
    if not seen.any():
        raise InputError("HMM: no entry of x is observed; there is nothing to fit")
    return seen


def flat_steps(rows: Datum) -> tuple[Datum, np.ndarray]:
    """Return all real steps as rows of their own, and which of them end a sequence."""
    real = real_steps_of(rows)
    n, t = real.shape
    weight = np.ones(n) if rows.weight is None else np.asarray(rows.weight, np.float64)
    ends = np.zeros((n, t), bool)
    has = real.any(1)
    ends[has, real.sum(1)[has] - 1] = True
    steps = Datum(
        np.asarray(rows.x)[real],
        None if rows.cond is None else np.asarray(rows.cond)[:, :t][real],
        mask=None if rows.mask is None else np.asarray(rows.mask)[real],
        weight=np.broadcast_to(weight[:, None], (n, t))[real],
    )
    return steps, ends[real]


def guessed_transitions(
    label: np.ndarray | None, ends: np.ndarray, num_states: int, rng: np.random.Generator
) -> np.ndarray:
    """Return transition probabilities to start from: those of a first guess at the states, or sticky ones.

    Args:
        label: The guess, one state for every step; ``None`` if there is none.
        ends: True where a step is the last of its sequence.
        num_states: K.
        rng: Randomness.
    """
    k = num_states
    if label is None:
        counts = 0.8 * np.eye(k) + 0.2 * rng.dirichlet(np.full(k, 5.0), size=k)
        return counts / counts.sum(1, keepdims=True)
    counts = np.full((k, k), PSEUDO)
    inside = ~ends[:-1]
    np.add.at(counts, (label[:-1][inside], label[1:][inside]), 1.0)
    return counts / counts.sum(1, keepdims=True)
