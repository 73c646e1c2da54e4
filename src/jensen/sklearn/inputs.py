"""What every estimator does with the data it is given, in scikit-learn's ways and wording."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import jax
import numpy as np
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import validate_data

from jensen.fit import Data
from jensen.typing import PRNGKey

Init = TypeVar("Init", bound=Callable[..., None])

SMALLEST, LARGEST = 64, 4_096
"""Blocks of rows come in powers of two between these, so that few shapes are ever compiled."""


def unchecked(init: Init) -> Init:
    """Mark a constructor that keeps what it is given as it is: ``fit`` checks the parameters."""
    init.__no_type_check__ = True  # type: ignore[attr-defined]
    return init


def checked_rows(estimator: Any, X: Any, *, reset: bool = False, at_least: int = 1) -> np.ndarray:
    """Return rows in float64, or float32 where they came so; NaN is a missing entry.

    Args:
        estimator: Keeps the number and names of features.
        X: What the user gave.
        reset: Whether this is a fit.
        at_least: Fewest rows.

    Raises:
        ValueError: In scikit-learn's words; or if a column is never observed.
    """
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite="allow-nan",
        ensure_min_samples=at_least,
    )
    if reset and (never := np.isnan(X).all(0)).any():
        raise ValueError(f"X: column {int(np.argmax(never))} is NaN in every row; drop it")
    return X


def reals(values: Any, *, rows: bool = False) -> np.ndarray:
    """Return an array of float64, or float32 where it came so, of finite numbers.

    Args:
        values: What the user gave.
        rows: Whether it must have two axes.
    """
    kinds: Any = [np.float64, np.float32]
    return check_array(values, dtype=kinds, ensure_2d=rows, allow_nd=not rows)


def as_data(X: np.ndarray) -> Data:
    """Return rows with a mask where any entry is missing."""
    missing = np.isnan(X)
    return Data(np.where(missing, 0.0, X), mask=~missing) if missing.any() else Data(X)


def filled(X: np.ndarray) -> np.ndarray:
    """Return rows with the column's mean in place of what is missing."""
    missing = np.isnan(X)
    return np.where(missing, np.nanmean(X, axis=0), X) if missing.any() else X


def precision_of(X: np.ndarray) -> AbstractContextManager[Any]:
    """Return a context in which JAX computes in the rows' own precision; outside nothing changes."""
    return jax.enable_x64(X.dtype == np.float64)


def key_of(random_state: Any) -> PRNGKey:
    """Draw a key from a ``random_state``: the same integer gives the same key."""
    return jax.random.key(int(check_random_state(random_state).randint(np.iinfo(np.int32).max)))


def by_block(function: Callable[..., Any], *arrays: np.ndarray) -> Any:
    """Apply a function of rows block by block, the last one padded with copies of its first row.

    Args:
        function: From arrays of rows to a numpy array, rows leading.
        arrays: Arrays with the same number of rows.
    """
    n = len(arrays[0])
    size = min(LARGEST, max(SMALLEST, 1 << (n - 1).bit_length()))
    out = []
    for start in range(0, n, size):
        parts = [array[start : start + size] for array in arrays]
        short = size - len(parts[0])
        if short:
            parts = [np.concatenate([part, np.repeat(part[:1], short, 0)]) for part in parts]
        out.append(np.asarray(function(*parts))[: size - short])
    return np.concatenate(out)
