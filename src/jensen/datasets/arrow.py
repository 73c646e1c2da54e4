"""From an arrow table, as csv and parquet give it, to numbers and labels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from jensen.datasets.table import Locate, Table, find_column
from jensen.errors import InputError, JensenWarning

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>", "#N/A")
"""Cells that count as missing in a column of numbers."""

_ROW_NUMBERS = ("", "rownames", "Unnamed: 0", "__index_level_0__")  # as R and pandas write them


def from_arrow(
    table: pa.Table, names: tuple[str, ...], labels: str | int | None, file: str, locate: Locate
) -> Table:
    """Convert column by column, so that an error can name its column.

    Args:
        table: The file's columns.
        names: Their names.
        labels: Column to take out as labels.
        file: Named in errors.
        locate: Words for a row's place.

    Returns:
        Numbers with NaN where missing; int64 when every column is integer and complete.

    Raises:
        InputError: A repeated name, no such label column, text or dates among the numbers, nothing left.
    """
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise InputError(f"{file}: two columns are called {repeated!r}; rename one")
    taken = None if labels is None else find_column(names, labels, file)
    numbers: dict[str, np.ndarray] = {}
    for j, name in enumerate(names):
        if j == taken:
            continue
        column = _numbers(table.column(j), name, file, locate)
        if j == 0 and name in _ROW_NUMBERS and _counts_rows(column):
            warnings.warn(
                f"{file}: column {name!r} only numbers the rows; left out", JensenWarning, stacklevel=5
            )
            continue
        numbers[name or f"x{j}"] = column
    if not numbers:
        raise InputError(f"{file}: no column of numbers is left beside the labels; at least one is needed")
    answers = None if taken is None else _labels(table.column(taken), names[taken], file, locate)
    return Table(np.stack(list(numbers.values()), axis=1), tuple(numbers), answers, locate=locate)


def _numbers(column: pa.ChunkedArray, name: str, file: str, locate: Locate) -> Shaped[np.ndarray, " n"]:
    import pyarrow.types as types

    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if types.is_boolean(kind):
        column = column.cast("int8")
    elif types.is_decimal(kind):
        column = column.cast("float64")
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return _parse(column.to_pylist(), name, file, locate)
    elif types.is_binary(kind) or types.is_large_binary(kind):
        raise InputError(
            f"{file}: column {name!r} holds bytes that are not UTF-8 text; save the file as UTF-8"
        )
    elif not (types.is_integer(kind) or types.is_floating(kind)):
        raise InputError(
            f"{file}: column {name!r} holds {kind} values, not numbers; convert or remove it, "
            f"or name it as labels (labels={name!r})"
        )
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _parse(cells: list[object], name: str, file: str, locate: Locate) -> Shaped[np.ndarray, " n"]:
    """Read text as numbers one by one: only columns with something odd in them come here."""
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        if text in MISSING:
            continue
        try:
            values[row] = float(text)
        except ValueError:
            raise InputError(
                f"{file}: column {name!r} holds text, {text[:40]!r} in {locate(row)}; correct that cell, "
                f"remove the column, or name it as labels (labels={name!r})"
            ) from None
    return values


def _labels(column: pa.ChunkedArray, name: str, file: str, locate: Locate) -> Shaped[np.ndarray, " n"]:
    import pyarrow.types as types

    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(
            f"{file}: the labels column {name!r} has {column.null_count} missing, "
            f"the first in {locate(row)}; fill them or choose another column"
        )
    if types.is_boolean(column.type) or types.is_integer(column.type):
        return column.cast("int64").to_numpy()
    if types.is_floating(column.type):
        return column.cast("float64").to_numpy()
    return np.array([str(value) for value in column.to_pylist()])


def _counts_rows(column: np.ndarray) -> bool:
    rows = np.arange(len(column))
    return np.array_equal(column, rows) or np.array_equal(column, rows + 1)
