"""From an arrow table, as csv and parquet give it, to numbers and labels."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from jensen.datasets.table import Columns, Locate, Table, find_column, find_dropped
from jensen.errors import InputError, JensenWarning

if TYPE_CHECKING:
    import pyarrow as pa

MISSING = ("", "NA", "N/A", "NaN", "nan", "NAN", "null", "NULL", "None", "<NA>", "#N/A")
"""Cells that count as missing in a column of numbers."""

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_ROW_NUMBERS = ("", "rownames", "Unnamed: 0", "__index_level_0__")  # as R and pandas write them


def from_arrow(table: pa.Table, names: tuple[str, ...], columns: Columns, file: str, locate: Locate) -> Table:
    """Convert column by column, so that an error can name its column.

    Args:
        table: The file's columns.
        names: Their names.
        columns: Which to take out as labels, and which to leave out.
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
    labels = columns.labels
    taken = None if labels is None else find_column(names, labels, file, to=columns.wanted)
    left_out = find_dropped(names, columns, file)
    numbers: dict[str, np.ndarray] = {}
    for j, name in enumerate(names):
        if j == taken or j in left_out:
            continue
        column = _numbers(table.column(j), name, file, locate, columns)
        if j == 0 and name in _ROW_NUMBERS and _counts_rows(column):
            warnings.warn(
                f"{file}: column {name!r} only numbers the rows; left out", JensenWarning, stacklevel=5
            )
            continue
        numbers[name or f"x{j}"] = column
    if not numbers:
        role = columns.role
        beside = (
            f"the {role}" if not left_out else f"{role} and dropped columns" if labels else "those dropped"
        )
        raise InputError(f"{file}: no column of numbers is left beside {beside}; at least one is needed")
    answers = None
    if taken is not None:
        answers = _labels(table.column(taken), f"{columns.role} column {names[taken]!r}", file, locate)
    every = tuple(name or f"x{j}" for j, name in enumerate(names))
    return Table(
        np.stack(list(numbers.values()), axis=1), tuple(numbers), answers, locate=locate, every=every
    )


def _numbers(
    column: pa.ChunkedArray, name: str, file: str, locate: Locate, columns: Columns
) -> Shaped[np.ndarray, " n"]:
    import pyarrow.types as types

    kind = column.type
    if types.is_null(kind):
        return np.full(len(column), np.nan)
    if types.is_boolean(kind):
        column = column.cast("int8")
    elif types.is_decimal(kind):
        column = column.cast("float64")
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind):
        return _parse(column.to_pylist(), name, file, locate, columns)
    elif types.is_binary(kind) or types.is_large_binary(kind):
        raise InputError(
            f"{file}: column {name!r} holds bytes that are not UTF-8 text; save the file as UTF-8"
        )
    elif not (types.is_integer(kind) or types.is_floating(kind)):
        raise InputError(
            f"{file}: column {name!r} holds {kind} values, not numbers; convert it, "
            f"leave it out (drop=[{name!r}]), or {columns.naming(name)}"
        )
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _parse(
    cells: list[object], name: str, file: str, locate: Locate, columns: Columns
) -> Shaped[np.ndarray, " n"]:
    """Read text as numbers one by one: only columns with something odd in them come here."""
    values, odd = np.full(len(cells), np.nan), {}
    for row, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        if text in MISSING:
            continue
        try:
            values[row] = float(text)
        except ValueError:
            odd[row] = text
    if odd:
        raise InputError(f"{file}: column {name!r} {_what_is_odd(odd, len(cells), name, locate, columns)}")
    return values


def _what_is_odd(odd: dict[int, str], count: int, name: str, locate: Locate, columns: Columns) -> str:
    """Say which cells of a column are no numbers, and what to do: a few marks, decimal commas, or words."""
    row, text = next(iter(odd.items()))
    where = f"{text[:40]!r} in {locate(row)}"
    if all(_DECIMAL_COMMA.fullmatch(cell) for cell in odd.values()):
        return f"has decimal commas, {where}; write numbers with a point, as in {text.replace(',', '.')}"
    instead = f"leave the column out (drop=[{name!r}]), or {columns.naming(name)}"
    if 2 * len(set(odd.values())) <= len(odd) == count:
        codes = f"encode its {len(set(odd.values()))} categories as"
        code = "integers from 0, which an HMM takes (emission='categorical')"
        instead = f"{codes} {code if columns.role == 'sequence' else 'columns of 0 and 1'}, {instead}"
    if len(odd) == count:
        return f"holds text, {where}; {instead}"
    each = "each of them " if len(odd) > 1 and len(set(odd.values())) == 1 else "the first "
    held = f"holds text in {len(odd)} of {count} cells, {each if len(odd) > 1 else ''}{where}"
    if len(odd) <= count / 2:
        them = "it" if len(odd) == 1 else "them"
        return f"{held}; correct {them}, or empty {them} and pass missing='mask', {instead}"
    return f"{held}; {instead}"


def _labels(column: pa.ChunkedArray, what: str, file: str, locate: Locate) -> Shaped[np.ndarray, " n"]:
    import pyarrow.types as types

    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(
            f"{file}: the {what} has {column.null_count} missing, "
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
