"""One door for all data: an embedded name or a path, in; a checked Dataset, out."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from jensen.datasets.arrays import read_npy, read_npz
from jensen.datasets.bundled import BUNDLED, MINARI, SEQUENCES, names
from jensen.datasets.check import check_finite, first_column
from jensen.datasets.dataset import Dataset
from jensen.datasets.idx import read_idx
from jensen.datasets.images import read_images
from jensen.datasets.parquet import read_parquet
from jensen.datasets.table import Columns, Table, drop_columns, no_labels_option
from jensen.datasets.targets import aimed, find_targets
from jensen.datasets.text import read_csv
from jensen.errors import InputError, nearest

Reader: TypeAlias = Callable[[Path, Columns], Table]

POLICIES = ("error", "mask")
READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".csv.gz": read_csv,
    ".tsv": read_csv,
    ".tsv.gz": read_csv,
    ".parquet": read_parquet,
    ".npy": read_npy,
    ".npz": read_npz,
    ".idx": read_idx,
    ".idx.gz": read_idx,
    "-ubyte": read_idx,
    "-ubyte.gz": read_idx,
}
"""Which reader opens a file, by how its name ends."""


def load(
    name_or_path: str | os.PathLike[str],
    *,
    labels: str | int | None = None,
    drop: Sequence[str | int] = (),
    target: str | int | Sequence[str | int] = (),
    missing: Literal["error", "mask"] = "error",
    sequence: str | int | None = None,
) -> Dataset:
    """Load an embedded data set, or a file or folder of your own.

    Files: csv and tsv (also .gz; without a header when the first row is all numbers), parquet, npy, npz
    (arrays ``x``, optionally ``labels`` or ``y``, and ``mask``; or its only two-dimensional array), idx as
    MNIST has it (also .gz; the labels file beside it is found), or a folder of png and jpg pictures of one
    size, whose subfolders are the labels. Nothing is ever unpickled. The embedded digits are divided by 16.

    Args:
        name_or_path: One of `names()`, or a path.
        labels: Column to take out as labels, by name or by position; in an npz file, the array's name.
        drop: Columns to leave out, such as names and dates.
        target: Columns to predict, by name or position: they become x, all others ``cond``. In an npz file
            also the name of an array of them, beside the inputs ``x``.
        missing: ``"error"`` refuses an empty, NA or NaN cell; ``"mask"`` marks it unobserved.
        sequence: Refused: rows here have no order; `load_sequences` takes it.

    Returns:
        The checked data, N rows of D finite numbers, or NaN where ``mask`` says unobserved.

    Raises:
        InputError: In one line, what is wrong, where, and what to do.

    Example:
        >>> load("iris")
        Dataset('iris', 150 rows x 4 columns, real)
        >>> load("iris", target=["petal width (cm)"])
        Dataset('iris', 150 rows x 1 columns, real, from 3 inputs)
        >>> load("digit")
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: no data set or file 'digit' (did you mean 'digits'?)
    """
    check_policy(missing)
    given = os.fspath(name_or_path)
    if sequence is not None:
        raise InputError(
            f"{given}: rows of a table have no order in time; for sequences call "
            f"load_sequences({given!r}, sequence={sequence!r})"
        )
    if given in set(SEQUENCES) - set(BUNDLED) or given.startswith(MINARI):
        raise InputError(
            f"{given} holds sequences, not a table; fit hmm, lgssm, dmm or rssm to it "
            "(datasets.load_sequences)"
        )
    columns = Columns(labels, (drop,) if isinstance(drop, str) else tuple(drop))
    wanted = (target,) if isinstance(target, str | int) else tuple(target)
    if given in BUNDLED:
        no_labels_option(columns, given, "the set itself")
        table, name = drop_columns(BUNDLED[given](), columns.drop, given), given
    else:
        path = Path(given).expanduser()
        table, name = _read(path, given, columns, wanted), stem(path)
    found = find_targets(table, table.targets or wanted, given)
    data = finish(table, given, name, missing)
    return aimed(data, found, given) if found else data


def _read(path: Path, given: str, columns: Columns, target: tuple[str | int, ...]) -> Table:
    try:
        if path.name.lower().endswith(".npz") and target and path.exists():
            return read_npz(path, columns, target)
        return reader(path, given)(path, columns)
    except OSError as error:
        raise InputError(f"{given}: cannot be read: {error.strerror or error}") from None


def reader(path: Path, given: str) -> Reader:
    """Find the reader of a path.

    Raises:
        InputError: Nothing is there, or nothing that can be read.
    """
    if path.is_dir():
        return read_images
    if not path.exists():
        raise InputError(_not_found(path, given))
    ending = ending_of(path)
    if ending is None:
        kinds = ("csv", "tsv", "parquet", "npy", "npz", "idx")
        suggestion = nearest(path.suffix.lstrip("."), kinds)
        raise InputError(
            f"{given}: cannot read files that end in {path.suffix!r}{suggestion}, or give a folder of images"
        )
    return READERS[ending]


def ending_of(path: Path) -> str | None:
    """Return how a readable file's name ends; None for any other."""
    return next((ending for ending in READERS if path.name.lower().endswith(ending)), None)


def stem(path: Path) -> str:
    """Name a file's data: its name without its endings."""
    ending = ending_of(path)
    if ending is None or ending.startswith("-"):
        return path.resolve().name.removesuffix(".gz")
    return path.name[: -len(ending)]


def _not_found(path: Path, given: str) -> str:
    if path.name == given and not path.suffix:
        beside = [item.name for item in Path().iterdir() if ending_of(item)]
        close = difflib.get_close_matches(given, beside, n=1, cutoff=0.7)
        return f"no data set or file {given!r}{nearest(given, close or names())}"
    if not path.parent.is_dir():
        return f"{given}: no such file; the folder {str(path.parent)!r} does not exist"
    beside = [item.name for item in path.parent.iterdir()]
    close = difflib.get_close_matches(path.name, beside, n=1, cutoff=0.5)
    return f"{given}: no such file" + (
        nearest(path.name, close) if close else f" in {str(path.parent)!r}; check the path"
    )


def check_policy(missing: str) -> None:
    """Refuse an unknown policy for missing cells.

    Raises:
        InputError: It is neither ``"error"`` nor ``"mask"``.
    """
    if missing not in POLICIES:
        raise InputError(f"missing={missing!r} is unknown{nearest(missing, POLICIES)}: 'error' or 'mask'")


def finish(table: Table, given: str, name: str, missing: Literal["error", "mask"]) -> Dataset:
    """Settle the dtype, apply the policy for missing cells, and check."""
    x, mask = _settle(table.x), table.mask
    absent = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
    if mask is not None:
        absent &= mask
    if absent.any():
        if missing == "error":
            raise InputError(f"{given}: {_missing(absent, table)}")
        mask = ~absent if mask is None else mask & ~absent
    check_finite(x, mask=mask, columns=table.columns, what=given, locate=table.locate)
    if mask is not None and not mask.all():
        x = np.where(mask, x, np.nan)
    return Dataset(x, table.labels, table.columns, name, table.image_shape, mask)


def _settle(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return x.astype(np.float64, copy=False)
    if x.dtype == np.bool_:
        return x.astype(np.uint8)
    return x if x.dtype == np.uint8 else x.astype(np.int64, copy=False)


def _missing(absent: np.ndarray, table: Table) -> str:
    j, count, others = first_column(absent)
    where = table.locate(int(absent[:, j].argmax()))
    return (
        f"column {table.columns[j]!r} has {count} missing value{'s' * (count > 1)}, the first in {where}"
        f"{others}; fill them, remove those rows, or treat them as unobserved (missing='mask')"
    )
