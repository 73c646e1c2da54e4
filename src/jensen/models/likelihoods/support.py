"""Which values belong to a law: one line that says what, where, and what to do. Host code."""

from __future__ import annotations

import numpy as np

from jensen.errors import InputError

LARGEST = 2**24
"""Whole numbers up to here are exact in float32."""


def refuse_fractions(name: str, x: np.ndarray, mask: np.ndarray | None, advice: str) -> None:
    """Refuse values that are not whole numbers from zero.

    Raises:
        InputError: Naming the first row and its column.
    """
    _refuse(name, x, (x != np.floor(x)) | (x < 0), mask, advice)


def refuse_above(name: str, x: np.ndarray, mask: np.ndarray | None, last: int, advice: str) -> None:
    """Refuse values above the last that belongs.

    Raises:
        InputError: Naming the first row and its column.
    """
    _refuse(name, x, ~(x <= last), mask, advice)


def refuse_counts(name: str, x: np.ndarray, mask: np.ndarray | None) -> None:
    """Refuse what is not a count that float32 holds.

    Raises:
        InputError: Naming the first row and its column.
    """
    refuse_fractions(
        name, x, mask, "counts are whole numbers from 0; use likelihood='gaussian' for measurements"
    )
    refuse_above(
        name, x, mask, LARGEST, "counts above 2^24 are not exact in float32: count in thousands, or take logs"
    )


def refuse_codes(name: str, x: np.ndarray, mask: np.ndarray | None, levels: int) -> None:
    """Refuse what is not a code 0..L−1.

    Raises:
        InputError: Naming the first row and its column.
    """
    codes = f"its codes are the whole numbers 0..{levels - 1}"
    refuse_fractions(
        name, x, mask, f"{codes}: multiply intensities up and round, or use likelihood='gaussian'"
    )
    highest = int(x.max() if mask is None else x[mask].max()) if (mask is None or mask.any()) else 0
    refuse_above(name, x, mask, levels - 1, f"{codes}: set levels={highest + 1}, or rescale")


def refuse_huge(name: str, x: np.ndarray, mask: np.ndarray | None) -> None:
    """Refuse columns too large for float32.

    Raises:
        InputError: If a value is beyond 1e18.
    """
    seen = x if mask is None else x[mask]
    if seen.size and np.abs(seen.astype(np.float64)).max() > 1e18:
        raise InputError(f"{name} likelihood: x holds values beyond 1e18; rescale the columns first")


def _refuse(name: str, x: np.ndarray, bad: np.ndarray, mask: np.ndarray | None, advice: str) -> None:
    bad = bad if mask is None else bad & mask
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{name} likelihood: x holds {x[row, column]:g} in row {row}, column {column}: {advice}"
        )
