"""Sequences in numpy's own files: padded arrays, or one after another with their lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jensen.datasets.arrays import member, open_arrays
from jensen.datasets.sequences import Sequences, check_lengths, padded
from jensen.datasets.table import default_columns
from jensen.errors import InputError

ACTIONS = ("actions", "cond")
"""Names of the array of actions."""


def read_arrays(path: Path, name: str) -> Sequences:
    """Read sequences from an npy or npz file.

    Args:
        path: The file.
        name: Name of the data.

    Returns:
        The sequences, NaN where a cell is missing.

    Raises:
        InputError: Damaged, no array ``x``, shapes or lengths that disagree, or no numbers.
    """
    loaded = open_arrays(path)
    if isinstance(loaded, np.ndarray):
        arrays = {"x": loaded}
    else:
        with loaded:
            arrays = {key: member(loaded, key, path) for key in loaded.files}
    file = str(path)
    if "x" not in arrays:
        held = ", ".join(f"{key} {array.shape}" for key, array in arrays.items()) or "nothing"
        raise InputError(f"{file}: no array called 'x' (it holds {held}); save the sequences as 'x'")
    x, given = _numbers(arrays["x"], "x", file), arrays.get("lengths")
    packed = _is_packed(x, given)
    if given is None or not packed:
        x, lengths = _whole(x, given, file)
    else:
        lengths = check_lengths(given, len(x), file)
    flat, shape = _flat(x, axes=1 if packed else 2, file=file)
    # measurements keep every digit; pictures need none beyond float32
    flat = flat.astype(np.float64 if shape is None else np.float32)
    mask = None if "mask" not in arrays else _mask(arrays["mask"], arrays["x"].shape, flat, file)
    ends = np.cumsum(lengths)[:-1]
    return Sequences(
        padded(np.split(flat, ends)) if packed else flat,
        lengths,
        default_columns(flat.shape[-1]),
        name,
        cond=(acts := _actions(arrays, flat, lengths, packed, file)),
        mask=mask if mask is None or not packed else padded(np.split(mask, ends)),
        actions=() if acts is None else tuple(f"a{j}" for j in range(acts.shape[-1])),
        image_shape=shape,
    )


def _is_packed(x: np.ndarray, lengths: np.ndarray | None) -> bool:
    """Say whether sequences follow one another along the first axis."""
    if lengths is None:
        return False
    return x.ndim <= 2 or (x.ndim == 3 and len(lengths) != len(x))


def _whole(x: np.ndarray, lengths: np.ndarray | None, file: str) -> tuple[np.ndarray, np.ndarray]:
    """Return padded sequences (N, T, ...) and their lengths; one sequence gets a leading axis."""
    x = x[:, None] if x.ndim == 1 else x
    x = x[None] if x.ndim == 2 else x
    longest = x.shape[1]
    if lengths is None:
        return x, np.full(len(x), longest)
    if lengths.shape != (len(x),) or lengths.dtype.kind not in "iu":
        raise InputError(
            f"{file}: 'lengths' must be {len(x)} whole numbers, one a sequence of x {x.shape}; it has shape "
            f"{lengths.shape} and dtype {lengths.dtype}"
        )
    wrong = (lengths < 0) | (lengths > longest)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{file}: sequence {row} has length {lengths[row]}, but x {x.shape} has {longest} steps; "
            f"lengths lie between 0 and {longest}"
        )
    real = np.arange(longest) < lengths[:, None]
    blank = np.zeros((), x.dtype)
    return np.where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x, blank), lengths.astype(np.int64)


def _flat(x: np.ndarray, *, axes: int, file: str) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Flatten one step, and return its shape where it is a picture; ``axes`` lead it."""
    step = x.shape[axes:]
    if len(step) == 0:
        return x[..., None], None
    if len(step) == 1:
        return x, None
    if (len(step) == 3 and step[-1] not in (1, 3)) or len(step) > 3:
        raise InputError(
            f"{file}: x has shape {x.shape}; sequences are (N, T, D), or pictures (N, T, height, width[, 3])"
        )
    shape = step[:2] if step[-1] == 1 and len(step) == 3 else step
    return x.reshape(*x.shape[:axes], -1), shape


def _mask(mask: np.ndarray, shape: tuple[int, ...], flat: np.ndarray, file: str) -> np.ndarray:
    if mask.dtype != np.bool_:
        raise InputError(f"{file}: the mask has dtype {mask.dtype}; it must be bool, True where observed")
    if mask.shape != shape:
        raise InputError(f"{file}: the mask has shape {mask.shape}, x {shape}; they must be equal")
    return mask.reshape(flat.shape)


def _actions(
    arrays: dict[str, np.ndarray], x: np.ndarray, lengths: np.ndarray, packed: bool, file: str
) -> np.ndarray | None:
    """Return actions as (N, T or T − 1, U): one for every step, or none after the last."""
    name = next((name for name in ACTIONS if name in arrays), None)
    if name is None:
        return None
    acts = _numbers(arrays[name], name, file).astype(np.float64)
    if packed:
        acts = acts[:, None] if acts.ndim == 1 else acts
        for less in (0, 1):
            each = np.maximum(lengths - less, 0)
            if acts.ndim == 2 and len(acts) == each.sum():
                return padded(np.split(acts, np.cumsum(each)[:-1]))
        wanted = (
            f"{lengths.sum()} rows, or {np.maximum(lengths - 1, 0).sum()} without one after the last step"
        )
        raise InputError(f"{file}: {name!r} has shape {acts.shape}; it must have {wanted}")
    n, t = x.shape[:2]
    if acts.ndim == 2 and acts.shape[0] == n and acts.shape[1] in (t, t - 1):
        acts = acts[..., None]
    elif acts.ndim <= 2 and n == 1:
        acts = acts.reshape(1, len(acts), -1)
    if acts.ndim != 3 or len(acts) != n or acts.shape[1] not in (t, t - 1):
        raise InputError(
            f"{file}: {name!r} has shape {acts.shape}; it must be ({n}, {t} or {t - 1}, U), as x is {x.shape}"
        )
    used = np.arange(acts.shape[1]) < (lengths - (t - acts.shape[1]))[:, None]
    return np.where(used[..., None], acts, 0.0)


def _numbers(array: np.ndarray, name: str, file: str) -> np.ndarray:
    if array.dtype.kind not in "buif" or array.ndim == 0:
        raise InputError(
            f"{file}: {name!r} has dtype {array.dtype} and shape {array.shape}; it must hold numbers by step"
        )
    if array.size == 0:
        raise InputError(f"{file}: {name!r} is empty, shape {array.shape}; there is nothing to fit")
    return array
