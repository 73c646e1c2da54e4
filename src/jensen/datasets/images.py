"""A folder of pictures, all of one size; subfolders are labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jensen.datasets.table import Columns, Table, default_columns, drop_columns, no_labels_option
from jensen.errors import InputError

_ENDINGS = (".png", ".jpg", ".jpeg")
_GREY = ("1", "L", "LA", "La")
_DEEP = ("I", "I;16", "I;16B", "I;16L", "F")


def read_images(path: Path, columns: Columns) -> Table:
    """Read every png and jpg in a folder, or in its subfolders, in the order of their names.

    Pictures are grey (H x W) if all of them are, however stored, otherwise RGB (H x W x 3); transparency is
    dropped.

    Args:
        path: The folder.
        columns: Must name none.

    Returns:
        One row of uint8 per picture; the table locates a row by its file.

    Raises:
        InputError: No pictures, pictures of differing size, unreadable or of more than 8 bits, or pictures
            both beside and inside subfolders.
    """
    no_labels_option(columns, str(path), "the names of subfolders")
    files, answers = _files(path)
    modes = [_header(file) for file in files]
    first = modes[0][1]
    for file, (_, size) in zip(files, modes, strict=True):
        if size != first:
            raise InputError(
                f"{file}: {size[0]} x {size[1]} pixels, but {files[0].name} has {first[0]} x {first[1]}; "
                "bring all images to one size"
            )
    mode = "L" if all(mode in _GREY for mode, _ in modes) else "RGB"
    shape = (first[1], first[0]) if mode == "L" else (first[1], first[0], 3)
    x = np.empty((len(files), *shape), np.uint8)
    for row, file in enumerate(files):
        x[row] = _pixels(file, mode)
    if mode == "RGB" and (x[..., :1] == x).all():  # grey, though stored in colour
        x, shape = x[..., 0], shape[:2]
    rows = x.reshape(len(x), -1)
    table = Table(rows, default_columns(rows.shape[1]), answers, shape, locate=lambda row: str(files[row]))
    return drop_columns(table, columns.drop, str(path))


def _files(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    flat = _pictures(folder)
    below = sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))
    classes = {sub.name: _pictures(sub) for sub in below}
    nested = [(file, name) for name, files in classes.items() for file in files]
    if flat and nested:
        raise InputError(
            f"{folder}: images both in the folder ({flat[0].name}) and in subfolders ({nested[0][1]}); "
            "put all in subfolders (labels) or none"
        )
    if not flat and not nested:
        raise InputError(
            f"{folder}: a folder without images; png or jpg files are expected in it or its subfolders"
        )
    if flat:
        return flat, None
    return [file for file, _ in nested], np.array([name for _, name in nested])


def _pictures(folder: Path) -> list[Path]:
    inside: Sequence[Path] = sorted(folder.iterdir())
    return [f for f in inside if f.suffix.lower() in _ENDINGS and f.is_file() and not f.name.startswith(".")]


def _header(file: Path) -> tuple[str, tuple[int, int]]:
    with _open(file) as picture:
        mode, size = picture.mode, picture.size
    if mode in _DEEP:
        raise InputError(f"{file}: more than 8 bits per pixel (mode {mode}); save it as 8-bit grey or RGB")
    return mode, size


def _pixels(file: Path, mode: str) -> np.ndarray:
    with _open(file) as picture:
        try:
            return np.asarray(picture.convert(mode))
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(file, error) from None


def _open(file: Path) -> Any:
    from PIL import Image

    try:
        return Image.open(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from None


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"{file}: not a readable image ({type(error).__name__}); remove it or save it again")
