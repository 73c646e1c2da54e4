"""What a reader hands to ``load``: numbers as the file has them, missing cells as NaN."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Shaped

from jensen.errors import InputError, nearest

Locate: TypeAlias = Callable[[int], str]
"""Says in words where a row is: ``row 3``, or in a text file ``row 3 (line 5)``."""

_LISTED = 20  # so many column names are listed when none is close


def row_name(row: int) -> str:
    """Say where a row is when all that is known is its index, counted from 0 as numpy does."""
    return f"row {row}"


def default_columns(width: int) -> tuple[str, ...]:
    """Name columns that have no name: x0, x1, ..."""
    return tuple(f"x{j}" for j in range(width))


@dataclass(frozen=True, eq=False)
class Table:
    """A file's content before the missing-value policy and the checks.

    Attributes:
        x: Shape (N, D); NaN where a cell is missing.
        columns: D names.
        labels: Shape (N,), or None.
        image_shape: Shape of one row as a picture, or None.
        mask: True where observed, if the file itself says so.
        locate: Words for a row's place.
    """

    x: Shaped[np.ndarray, "n d"]
    columns: tuple[str, ...]
    labels: Shaped[np.ndarray, "n"] | None = None
    image_shape: tuple[int, ...] | None = None
    mask: Bool[np.ndarray, "n d"] | None = None
    locate: Locate = row_name


def find_column(columns: Sequence[str], wanted: str | int, file: str) -> int:
    """Find the position of a column given by name, or by position counted from 0 (negative from the end).

    Args:
        columns: The names.
        wanted: A name or a position.
        file: Named in the error.

    Returns:
        The position, never negative.

    Raises:
        InputError: There is no such column.
    """
    if isinstance(wanted, str):
        if wanted not in columns:
            few = (
                columns if len(columns) <= _LISTED else difflib.get_close_matches(wanted, columns, cutoff=0.5)
            )
            hint = nearest(wanted, few) if few else f"; there are {len(columns)} columns"
            raise InputError(f"{file}: no column {wanted!r} to take labels from{hint}")
        return list(columns).index(wanted)
    if not -len(columns) <= wanted < len(columns):
        raise InputError(f"{file}: no column {wanted} to take labels from; there are {len(columns)} columns")
    return wanted % len(columns)


def no_labels_option(labels: str | int | None, file: str, source: str) -> None:
    """Refuse a label column where labels can only come from elsewhere.

    Raises:
        InputError: ``labels`` is given.
    """
    if labels is not None:
        raise InputError(
            f"{file}: labels={labels!r} names a column, but here labels come from {source}; leave it out"
        )
