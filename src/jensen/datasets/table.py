"""What a reader hands to ``load``: numbers as the file has them, missing cells as NaN."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

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


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are no features.

    Attributes:
        labels: Column of labels, by name or position.
        drop: Columns left out, by name or position.
        role: What the labels are: ``"labels"``, or ``"sequence"`` where they tell sequences apart.
    """

    labels: str | int | None = None
    drop: tuple[str | int, ...] = ()
    role: Literal["labels", "sequence"] = "labels"

    @property
    def wanted(self) -> str:
        """What a column of labels is wanted for, in words."""
        return "take labels from" if self.role == "labels" else "tell sequences apart by"

    def naming(self, name: str) -> str:
        """Advise to name a column as labels."""
        as_what = "labels" if self.role == "labels" else "the sequence id"
        return f"name it as {as_what} ({self.role}={name!r})"


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
        every: All columns of the file, where some were left out; positions count these.
        targets: Columns that came from an array of targets.
    """

    x: Shaped[np.ndarray, "n d"]
    columns: tuple[str, ...]
    labels: Shaped[np.ndarray, "n"] | None = None
    image_shape: tuple[int, ...] | None = None
    mask: Bool[np.ndarray, "n d"] | None = None
    locate: Locate = row_name
    every: tuple[str, ...] | None = None
    targets: tuple[str, ...] = ()


class NoColumn(InputError):
    """A column that was named is not in the file.

    Attributes:
        wanted: How it was named.
    """

    def __init__(self, message: str, wanted: str | int):
        super().__init__(message)
        self.wanted = wanted


def find_column(columns: Sequence[str], wanted: str | int, file: str, *, to: str = "take labels from") -> int:
    """Find the position of a column given by name, or by position counted from 0 (negative from the end).

    Args:
        columns: The names.
        wanted: A name or a position.
        file: Named in the error.
        to: What it is wanted for, said in the error.

    Returns:
        The position, never negative.

    Raises:
        NoColumn: There is no such column.
    """
    if isinstance(wanted, str):
        if wanted not in columns:
            few = (
                columns if len(columns) <= _LISTED else difflib.get_close_matches(wanted, columns, cutoff=0.5)
            )
            hint = nearest(wanted, few) if few else f"; there are {len(columns)} columns"
            if {part.strip() for part in wanted.split(",")} <= set(columns):
                hint = f"; give a list of names, {[part.strip() for part in wanted.split(',')]}"
            raise NoColumn(f"{file}: no column {wanted!r} to {to}{hint}", wanted)
        return list(columns).index(wanted)
    if not -len(columns) <= wanted < len(columns):
        raise NoColumn(f"{file}: no column {wanted} to {to}; there are {len(columns)} columns", wanted)
    return wanted % len(columns)


def find_dropped(names: Sequence[str], columns: Columns, file: str) -> set[int]:
    """Find the positions of the columns to leave out.

    Args:
        names: The columns of the file.
        columns: Which to leave out, and which are labels.
        file: Named in errors.

    Raises:
        InputError: There is no such column, or it is the column of labels as well.
    """
    found = {find_column(names, wanted, file, to="drop") for wanted in columns.drop}
    labels, role = columns.labels, columns.role
    if labels is not None and find_column(names, labels, file, to=columns.wanted) in found:
        raise InputError(f"{file}: {role}={labels!r} is dropped as well; leave it out of drop, or of {role}")
    return found


def drop_columns(table: Table, drop: Sequence[str | int], file: str) -> Table:
    """Return a table without some of its columns.

    Raises:
        InputError: There is no such column, none would be left, or the rows are pictures.
    """
    if not drop:
        return table
    if table.image_shape is not None:
        raise InputError(f"{file}: its rows are pictures, which have no columns to drop; leave drop out")
    gone = find_dropped(table.columns, Columns(drop=tuple(drop)), file)
    kept = [j for j in range(len(table.columns)) if j not in gone]
    if not kept:
        raise InputError(f"{file}: every column is dropped; at least one is needed")
    mask = None if table.mask is None else table.mask[:, kept]
    every = table.columns if table.every is None else table.every
    names = tuple(table.columns[j] for j in kept)
    return replace(table, x=table.x[:, kept], columns=names, mask=mask, every=every)


def no_labels_option(columns: Columns, file: str, source: str) -> None:
    """Refuse a label column where labels can only come from elsewhere.

    Raises:
        InputError: ``labels`` is given.
    """
    if (labels := columns.labels) is not None:
        raise InputError(
            f"{file}: labels={labels!r} names a column, but here labels come from {source}; leave it out"
        )
