"""Named arrays as the bytes of a safetensors file, and back with every hash checked."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from jensen.errors import CorruptRunError

# What every safetensors reader since 0.4 knows; other types travel as bytes.
_INTEGERS = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_NATIVE = frozenset({"bool", "float16", "bfloat16", "float32", "float64"} | _INTEGERS)


def digest(document: Any) -> str:
    """The sha256 of a document in canonical form: compact, ASCII, keys in the order written."""
    return hashlib.sha256(
        json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
    ).hexdigest()


def entry(value: np.ndarray) -> dict[str, Any]:
    """The row of the table that an array is checked against: dtype, shape, sha256 of its bytes."""
    sha256 = hashlib.sha256(_stored(value).reshape(-1).view(np.uint8).data).hexdigest()
    return {"dtype": value.dtype.name, "shape": list(value.shape), "sha256": sha256}


def to_bytes(tensors: Mapping[str, np.ndarray], pair: str) -> bytes:
    """A safetensors file of these arrays whose header says which table it belongs to."""
    stored = {key: _stored(value) for key, value in tensors.items()}
    # One entry only: safetensors writes several in an order that differs from call to call.
    return safetensors.numpy.save(stored, metadata={"pair": pair})


def from_bytes(path: Path, raw: bytes, document: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a file, each compared with the table of the document.

    Raises:
        CorruptRunError: The file is damaged, belongs to another document, or misses a tensor.
    """
    table: Mapping[str, Mapping[str, Any]] = document["tensors"]
    try:
        found = dict(safetensors.deserialize(raw))
        length = int.from_bytes(raw[:8], "little")
        pair = json.loads(raw[8 : 8 + length])["__metadata__"]["pair"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptRunError(f"{path} is damaged ({error}); restore it from a copy") from error
    if pair != document["pair"]:
        raise CorruptRunError(
            f"{path} does not belong to the .json beside it: they come from two different saves; "
            "restore one pair"
        )
    if odd := sorted(set(found) ^ set(table)):
        word = "lacks" if odd[0] in table else "has an unknown"
        raise CorruptRunError(f"{path} {word} tensor {odd[0]!r}; restore it from a copy")
    tensors = {}
    for key, entry in table.items():
        data, dtype, shape = found[key]["data"], np.dtype(entry["dtype"]), tuple(entry["shape"])
        native = dtype.name in _NATIVE
        sizes = tuple(found[key]["shape"]) == (shape if native else (len(data),))
        whole = len(data) == math.prod(shape) * dtype.itemsize
        code = found[key]["dtype"] == _code(dtype if native else np.dtype(np.uint8))
        if not (sizes and whole and code and hashlib.sha256(data).hexdigest() == entry["sha256"]):
            raise CorruptRunError(f"{path} is damaged in tensor {key!r}; restore it from a copy")
        tensors[key] = np.frombuffer(data, dtype).reshape(shape)
    return tensors


def _code(dtype: np.dtype) -> str:
    """The name safetensors gives a native type: F32 for float32."""
    if dtype.name == "bool":
        return "BOOL"
    return dtype.name.replace("bfloat", "BF").replace("float", "F").replace("uint", "U").replace("int", "I")


def _stored(value: np.ndarray) -> np.ndarray:
    """The array as it goes into the file: contiguous, little-endian, and of a type safetensors knows."""
    little = np.asarray(value, value.dtype.newbyteorder("<"), order="C")
    return little if value.dtype.name in _NATIVE else np.frombuffer(little.tobytes(), np.uint8)
