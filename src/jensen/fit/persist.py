"""Saving trees without pickle: ``NAME.safetensors`` beside ``NAME.json``.

The JSON holds the structure of the tree, a table of its tensors (shape, dtype, sha256) and a hash of itself.
The header of the tensor file holds a hash of that table, which says that the two belong together.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jensen.errors import CorruptRunError, InputError
from jensen.fit.files import make_folder, move, remove, write_atomically
from jensen.fit.rebuild import rebuild
from jensen.fit.structure import Described, describe
from jensen.fit.tensors import digest, entry, from_bytes, to_bytes

FORMAT = "jensen"
FORMAT_VERSION = 1

_HEX = "[0-9a-f]" * 16


class Loaded(NamedTuple):
    """A tree read back, and the JSON that was saved with it."""

    tree: Any
    extra: dict[str, Any]


def save_tree(
    folder: Path | str,
    name: str,
    tree: Any,
    *,
    extra: Mapping[str, Any] | None = None,
    unnamed: Literal["refuse", "record"] = "refuse",
) -> None:
    """Save a tree as ``NAME.safetensors`` and ``NAME.json``.

    At every moment, also after a kill, the folder holds one whole pair, the earlier or the new: the tensors
    are written under a name of their own, the JSON that points to them is renamed over the earlier one, and
    only then do the tensors take their final name. ``load_tree`` looks for them under both.

    Args:
        folder: Where; made if it is not there.
        name: The stem of both files.
        tree: Modules, dataclasses, containers, arrays, numbers, strings and named functions, nested at will.
            Shared arrays are stored once per place. Byte order becomes native.
        extra: Anything JSON can hold, kept beside the structure; NaN and infinities are allowed.
        unnamed: Whether lambdas and other objects without an import path are refused, or recorded so that
            ``load_tree(..., like=)`` can take them from its template.

    Raises:
        InputError: The tree cannot be saved, or the files cannot be written (disk full, read-only). An
            earlier pair is untouched.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> runs = tempfile.mkdtemp()
        >>> save_tree(runs, "model", {"loc": jnp.arange(3.0)}, extra={"epochs": 7})
        >>> load_tree(runs, "model")
        Loaded(tree={'loc': Array([0., 1., 2.], dtype=float32)}, extra={'epochs': 7})
    """
    described = describe(tree, unnamed=unnamed)
    table = {key: entry(value) for key, value in described.tensors.items()}
    pair = digest(table)
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "jensen_version": metadata.version("jensen"),
        "pair": pair,
        "structure": described.structure,
        "tensors": table,
        "extra": _pack(dict(extra or {}), "extra"),
    }
    document["sha256"] = digest(document)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    weights = to_bytes(described.tensors, pair)

    target, staged = _places(make_folder(Path(folder)), name, pair)
    already_there = staged.exists()
    try:
        write_atomically(staged, weights)
        write_atomically(target.with_name(f"{name}.json"), text.encode("ascii"))
    except InputError:
        if not already_there:
            remove(staged)
        raise
    move(staged, target)
    for stray in (*target.parent.glob(f"{name}.{_HEX}.safetensors"), *target.parent.glob(f".{name}.*.tmp")):
        remove(stray)


def load_tree(folder: Path | str, name: str, *, like: Any = None) -> Loaded:
    """Read back what ``save_tree`` wrote, after checking every hash.

    Args:
        folder: Where the pair lies.
        name: The stem of both files.
        like: A template, needed for a user's own classes and functions. Its structure, static fields, shapes
            and dtypes must equal the saved ones path by path; all data comes from the files.

    Returns:
        The tree, with a tree structure equal to the original's, and the extra JSON.

    Raises:
        CorruptRunError: There is nothing there, a file is damaged, the two do not belong together, or they
            were written by a newer jensen.
        InputError: A template is needed, does not fit, or jax's 64-bit mode is off for a 64-bit array.
    """
    document = _read_document(Path(folder), name)
    tensors = _read_tensors(Path(folder), name, document)
    try:
        tree = rebuild(Described(document["structure"], tensors), like=like)
        return Loaded(tree, _unpack(document["extra"]))
    except (InputError, CorruptRunError):
        raise
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, StopIteration) as error:
        raise CorruptRunError(
            f"{folder}/{name}.json describes no tree this jensen knows ({error})"
        ) from error


def check_pair(folder: Path, name: str) -> None:
    """Read a saved tree's files, every hash checked, and build nothing.

    Raises:
        CorruptRunError: They are damaged, missing, or do not belong together.
    """
    _read_tensors(folder, name, _read_document(folder, name))


def _places(folder: Path, name: str, pair: str) -> tuple[Path, Path]:
    """The final and the first name of the tensor file."""
    return folder / f"{name}.safetensors", folder / f"{name}.{pair[:16]}.safetensors"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise CorruptRunError(f"{path} cannot be read: {error.strerror or error}; check the file") from error


def _read_document(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name}.json"
    if not folder.is_dir():
        raise CorruptRunError(f"no run at {folder}: there is no such folder; check the path")
    try:
        raw = _read(path)
    except FileNotFoundError:
        raise CorruptRunError(f"no run at {folder}: {path.name} is missing; check the path") from None
    try:
        document = json.loads(raw.decode("ascii"), parse_constant=_refuse_constant)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError(f"it is not a {FORMAT} file")
    except (ValueError, RecursionError) as error:
        raise CorruptRunError(f"{path} is damaged ({error}); restore it from a copy") from error
    version = document.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CorruptRunError(
            f"{path} was written by a newer jensen (format {version}; this one reads {FORMAT_VERSION}): "
            "upgrade jensen"
        )
    claimed = document.pop("sha256", None)
    if version != FORMAT_VERSION or claimed != digest(document):
        raise CorruptRunError(f"{path} is damaged (its sha256 does not match); restore it from a copy")
    return document


def _read_tensors(folder: Path, name: str, document: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Read the tensor file that belongs to a document, under its final name or its first one."""
    target, staged = _places(folder, name, document["pair"])
    problem: CorruptRunError | None = None
    for path in (target, staged):
        try:
            return from_bytes(path, _read(path), document)
        except FileNotFoundError:
            continue
        except CorruptRunError as error:
            problem = problem or error
    raise problem or CorruptRunError(f"{target} is missing; restore it from a copy")


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _pack(value: Any, path: str) -> Any:
    """Plain JSON: tuples become lists, NaN and infinities ``{"__float__": "nan"}``."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _pack(part, f"{path}[{key!r}]") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(part, f"{path}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"__float__": repr(float(value))}
    if value is None or isinstance(value, bool | int | str):
        return value
    raise InputError(
        f"{path} is a {type(value).__name__}, which JSON cannot hold; use numbers, strings, lists or dicts"
    )


def _unpack(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"__float__"} and value["__float__"] in ("nan", "inf", "-inf"):
            return float(value["__float__"])
        return {key: _unpack(part) for key, part in value.items()}
    return [_unpack(part) for part in value] if isinstance(value, list) else value
