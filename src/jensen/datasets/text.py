"""Comma-, semicolon- or tab-separated text: arrow reads it, the csv module finds the line of an error."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jensen.datasets.arrow import MISSING, from_arrow
from jensen.datasets.table import Columns, Table, default_columns
from jensen.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa


class _Layout(NamedTuple):
    """How the text is laid out: its separator, its column names, and how many lines precede the data."""

    separator: str
    columns: tuple[str, ...]
    skip: int


def read_csv(path: Path, columns: Columns) -> Table:
    """Read separated text, gzipped or not.

    The separator is whichever of ``, ; tab`` the first line has most of. A first row made of numbers is data,
    and the columns are then called x0, x1, ...

    Args:
        path: The file, in UTF-8.
        columns: Which to take out as labels, and which to leave out.

    Returns:
        The table.

    Raises:
        InputError: Empty, header only, ragged, not UTF-8, a damaged gzip, or text among the numbers.
    """
    file = str(path)
    try:
        layout = _layout(path)
        table = _arrow(path, layout)
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 text ({error.reason}); save the file as UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{file}: damaged gzip file ({error}); copy or download it again") from None
    except csv.Error as error:
        raise InputError(f"{file}: not readable as csv ({error}); check that it is a text file") from None
    return from_arrow(
        table, layout.columns, columns, file, lambda row: f"row {row} (line {_line(path, layout, row)})"
    )


def _layout(path: Path) -> _Layout:
    with _open(path) as stream:
        first = next((line for line in stream if line.strip()), None)
    if first is None:
        raise InputError(f"{path}: empty file; at least one row of numbers is needed")
    separator = max(",;\t", key=first.count)
    rows = _rows(path, separator)
    line, cells = next(rows)
    cells = [cell.strip() for cell in cells]
    if all(_is_number(cell) or cell in MISSING for cell in cells) and any(_is_number(cell) for cell in cells):
        return _Layout(separator, default_columns(len(cells)), 0)
    if next(rows, None) is None:
        header = " ".join(", ".join(cells).split())[:60]
        raise InputError(f"{path}: only a header ({header}) and no rows; at least one row is needed")
    return _Layout(separator, tuple(cells), line)


def _arrow(path: Path, layout: _Layout) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    unique = [str(j) for j in range(len(layout.columns))]
    try:
        with pa.input_stream(
            str(path), compression="gzip" if path.suffix.lower() == ".gz" else None
        ) as stream:
            return arrow_csv.read_csv(
                stream,
                read_options=arrow_csv.ReadOptions(
                    column_names=unique, skip_rows=layout.skip, block_size=1 << 24
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
                convert_options=arrow_csv.ConvertOptions(
                    null_values=list(MISSING), strings_can_be_null=False
                ),
            )
    except (pa.ArrowInvalid, OSError) as error:
        _refuse_ragged(path, layout)  # also meets a damaged gzip or bad encoding, and names it better
        raise InputError(f"{path}: not readable as csv ({str(error).splitlines()[0]})") from None


def _refuse_ragged(path: Path, layout: _Layout) -> None:
    expected, row = len(layout.columns), -1
    for line, cells in _rows(path, layout.separator):
        if line <= layout.skip:
            continue
        row += 1
        if len(cells) != expected:
            raise InputError(
                f"{path}: row {row} (line {line}) has {len(cells)} cells where {expected} are expected; "
                "correct that line"
            )


def _line(path: Path, layout: _Layout, row: int) -> int:
    """Find the line an editor shows for a data row; blank lines and line breaks in quotes shift it."""
    lines = (line for line, _ in _rows(path, layout.separator) if line > layout.skip)
    return next(line for count, line in enumerate(lines) if count == row)


def _rows(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    with _open(path) as stream:
        reader = csv.reader(stream, delimiter=separator)
        for cells in reader:
            if cells:
                yield reader.line_num, cells


def _open(path: Path) -> TextIOWrapper:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell not in MISSING
