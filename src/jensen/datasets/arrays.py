"""Numpy's own files. Pickled objects are never loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from jensen.datasets.check import check_finite
from jensen.datasets.table import (
    Columns,
    Table,
    default_columns,
    drop_columns,
    find_column,
    find_dropped,
    no_labels_option,
)
from jensen.errors import InputError


def read_npy(path: Path, columns: Columns) -> Table:
    """Read one array: rows by columns, or pictures (N, height, width[, 1 or 3]).

    Args:
        path: The file.
        columns: Which to take out as labels, and which to leave out; by position, or as x0, x1, ...

    Returns:
        The table.

    Raises:
        InputError: Damaged, holding objects, or not a table of numbers.
    """
    loaded = open_arrays(path)
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"{path}: this is an npz archive; rename it to end in .npz")
    table = _table(loaded, str(path))
    labels = columns.labels
    if labels is None:
        return drop_columns(table, columns.drop, str(path))
    if table.image_shape is not None:
        no_labels_option(columns, str(path), "an npz file, as its array 'labels'")
    find_dropped(table.columns, columns, str(path))
    j = find_column(table.columns, labels, str(path), to=columns.wanted)
    if len(table.columns) == 1:
        raise InputError(f"{path}: no column of numbers is left beside the labels; at least one is needed")
    return drop_columns(replace(table, labels=table.x[:, j]), [*columns.drop, j], str(path))


def read_npz(path: Path, columns: Columns, target: Sequence[str | int] = ()) -> Table:
    """Read an archive: ``x``, optionally ``labels`` or ``y``, and ``mask``; or its only 2-D array.

    Where targets are wanted, one may be named that is an array of its own: it is joined to the columns of x,
    and the mask, if there is one, is of that array.

    Args:
        path: The file.
        columns: Which to leave out; and the name of the array of labels, if not ``labels`` or ``y``.
        target: What is to be predicted.

    Returns:
        The table.

    Raises:
        InputError: Damaged, holding objects, no usable array or more than one, or lengths that differ.
    """
    archive = open_arrays(path)
    if isinstance(archive, np.ndarray):
        raise InputError(f"{path}: this is a single array; rename it to end in .npy")
    with archive:
        arrays = {name: member(archive, name, path) for name in archive.files}
    labels = columns.labels
    if isinstance(labels, int):
        raise InputError(f"{path}: labels={labels} is a position; in an npz file name the array of labels")
    if named := next((name for name in target if name in arrays and name != "x"), None):
        if len(target) > 1 or "x" not in arrays:
            need = "as the only target" if "x" in arrays else "beside an array 'x' of inputs"
            raise InputError(f"{path}: {named!r} is an array; give it {need}")
        return drop_columns(_pairs(arrays, str(named), path), columns.drop, str(path))
    table = _table(_choose(arrays, path), str(path))
    found = _labels(arrays, labels, len(table.x), path)
    mask = arrays.get("mask")
    if mask is not None:
        mask = mask.reshape(len(mask), -1) if mask.ndim > 2 else mask
        check_finite(np.zeros(table.x.shape), mask=mask, columns=table.columns, what=str(path))
    whole = Table(table.x, table.columns, found, table.image_shape, mask)
    return drop_columns(whole, columns.drop, str(path))


def _pairs(arrays: dict[str, np.ndarray], name: str, path: Path) -> Table:
    """Join inputs x and an array of targets."""
    x, y = (a[:, None] if a.ndim == 1 else a.reshape(len(a), -1) for a in (arrays["x"], arrays[name]))
    if len(x) != len(y):
        raise InputError(f"{path}: array 'x' has {len(x)} rows, {name!r} has {len(y)}; they must agree")
    given, wanted = _table(x, f"{path}: x"), _table(y, f"{path}: {name}")
    names = (name,) if y.shape[1] == 1 else tuple(f"{name}{j}" for j in range(y.shape[1]))
    mask = arrays.get("mask")
    if mask is not None:
        mask = mask.reshape(len(mask), -1)
        check_finite(np.zeros(y.shape), mask=mask, columns=names, what=str(path))
        mask = np.concatenate([np.ones(x.shape, bool), mask], axis=1)
    columns = (*given.columns, *names)
    return Table(np.concatenate([given.x, wanted.x], axis=1), columns, mask=mask, targets=names)


def open_arrays(path: Path) -> np.ndarray | np.lib.npyio.NpzFile:
    """Open one array or an archive of them.

    Raises:
        InputError: Damaged, or holding objects.
    """
    try:
        return np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen types on damaged bytes
        raise _unreadable(path, error) from None


def member(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    """Read one array of an archive.

    Raises:
        InputError: Damaged, or holding objects.
    """
    try:
        return archive[name]
    except Exception as error:  # as above
        raise _unreadable(path, error, f"array {name!r}") from None


def _unreadable(path: Path, error: Exception, part: str = "") -> InputError:
    where = f"{path}: {part} " if part else f"{path}: "
    if "Object arrays" in str(error):
        return InputError(
            f"{where}holds Python objects, which are never loaded; save plain numbers (dtype float)"
        )
    kind = "npz" if path.suffix.lower() == ".npz" else "npy"
    return InputError(f"{where}is empty or damaged, not a readable {kind} file; write or copy it again")


def _table(x: np.ndarray, file: str) -> Table:
    shape = None
    if x.dtype.kind in "buif" and (x.ndim == 3 or (x.ndim == 4 and x.shape[-1] in (1, 3))) and x.size:
        shape = x.shape[1:3] if x.shape[-1] == 1 and x.ndim == 4 else x.shape[1:]
        x = x.reshape(len(x), -1)
    if x.dtype.names is not None:
        raise InputError(
            f"{file}: a structured array with fields {', '.join(x.dtype.names)}; save a plain 2-D array"
        )
    if x.dtype.kind != "f":  # NaN is left to the policy on missing values
        check_finite(x, what=file)
    else:
        check_finite(np.isnan(x), what=file)
    return Table(x, default_columns(x.shape[1]), image_shape=shape)


def _choose(arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    if "x" in arrays:
        return arrays["x"]
    tables = [name for name, array in arrays.items() if array.ndim == 2 and name != "mask"]
    if len(tables) == 1:
        return arrays[tables[0]]
    held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
    count = "no 2-D array" if not tables else f"{len(tables)} 2-D arrays"
    raise InputError(f"{path}: no array called 'x' and {count} (it holds {held}); save the data as 'x'")


def _labels(arrays: dict[str, np.ndarray], wanted: str | None, rows: int, path: Path) -> np.ndarray | None:
    if wanted is not None:
        find_column(tuple(arrays), wanted, str(path))
    name = wanted if wanted is not None else next((name for name in ("labels", "y") if name in arrays), None)
    if name is None:
        return None
    labels = arrays[name]
    if labels.shape != (rows,):
        raise InputError(
            f"{path}: array {name!r} has shape {labels.shape}, but {rows} rows need labels of shape ({rows},)"
        )
    return labels
