"""The idx format of MNIST: a four-byte magic number, big-endian sizes, then the values."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from jensen.datasets.table import Columns, Table, default_columns, drop_columns, no_labels_option
from jensen.errors import InputError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path, columns: Columns) -> Table:
    """Read pictures or vectors, and the labels file beside them if there is one.

    ``train-images-idx3-ubyte`` looks for ``train-labels-idx1-ubyte``, gzipped or not.

    Args:
        path: The file of pictures.
        columns: Must name none.

    Returns:
        The table, one row per picture.

    Raises:
        InputError: Damaged, truncated, a file of labels, or labels of another length.
    """
    no_labels_option(columns, str(path), "the labels file beside it")
    x = _read(path)
    if x.ndim < 2:
        raise InputError(f"{path}: one-dimensional, so it holds labels; give the file of images beside it")
    if x.size == 0:
        raise InputError(f"{path}: empty, shape {x.shape}; at least one picture is needed")
    shape = x.shape[1:] if x.ndim > 2 else None
    rows = x.reshape(len(x), -1)
    table = Table(rows, default_columns(rows.shape[1]), _labels(path, len(x)), shape)
    return drop_columns(table, columns.drop, str(path))


def _read(path: Path) -> np.ndarray:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: damaged gzip file ({error}); copy or download it again") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or data[3] == 0:
        raise InputError(
            f"{path}: not an idx file (its first bytes are {data[:4].hex() or 'missing'}); check the path"
        )
    dtype, start = np.dtype(_TYPES[data[2]]), 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InputError(
            f"{path}: damaged idx file, {len(data)} bytes where shape {shape} needs {expected}; "
            "copy or download it again"
        )
    return np.frombuffer(data, dtype, offset=start).astype(dtype.newbyteorder("=")).reshape(shape)


def _labels(path: Path, rows: int) -> np.ndarray | None:
    name = path.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    beside = (path.with_name(name), path.with_name(f"{name}.gz"))
    found = next((file for file in beside if "images" in path.name and file.is_file()), None)
    if found is None:
        return None
    labels = _read(found)
    if labels.shape != (rows,):
        raise InputError(
            f"{found}: labels of shape {labels.shape} beside {rows} images; give files that belong together"
        )
    return labels.astype(np.int64)
