"""Parquet tables."""

from __future__ import annotations

from pathlib import Path

from jensen.datasets.arrow import from_arrow
from jensen.datasets.table import Columns, Table, row_name
from jensen.errors import InputError


def read_parquet(path: Path, columns: Columns) -> Table:
    """Read a parquet file.

    Args:
        path: The file.
        columns: Which to take out as labels, and which to leave out.

    Returns:
        The table.

    Raises:
        InputError: Damaged, without rows or columns, or with columns that are not numbers.
    """
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
        table.validate(full=True)
    except PermissionError:
        raise
    except Exception as error:  # arrow raises its own, Python's and Unicode errors on damaged bytes
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path}: damaged parquet file ({reason}); write or copy it again") from None
    if table.num_rows == 0 or table.num_columns == 0:
        raise InputError(
            f"{path}: {table.num_rows} rows and {table.num_columns} columns; at least one of each is needed"
        )
    return from_arrow(table, tuple(table.column_names), columns, str(path), row_name)
