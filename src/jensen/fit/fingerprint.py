"""Equality by content for objects that Python compares by identity: optimizers, schedules, static trees.

``optax.adam(1e-3)`` is a pair of closures, new at every call. Two of them do the same if their code is the
same and everything they close over is, down to plain values; then one compiled program serves both.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.fit.structure import to_host
from jensen.typing import PyTree

# Functions of these packages read no changing globals.
_SETTLED = ("jax", "optax", "equinox", "numpy", "chex", "jensen", "builtins")


class Static:
    """Any value, usable as a static argument of ``jax.jit``: equal if its content is.

    Args:
        value: A tree of plain values, arrays, modules and functions. Whatever is neither is compared by
            identity, which costs a compilation but is never wrong.

    Example:
        >>> import optax
        >>> Static(optax.adam(1e-3)) == Static(optax.adam(1e-3))
        True
        >>> Static(optax.adam(1e-3)) == Static(optax.adam(2e-3))
        False
    """

    __slots__ = ("_hash", "_key", "value")

    def __init__(self, value: Any):
        self.value = value
        self._key = fingerprint(value)
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self._hash == other._hash and self._key == other._key

    def digest(self) -> str:
        """Return a hash of the content that is the same in another process on the same code."""
        return hashlib.sha256(_words(self._key).encode()).hexdigest()


class _Same:
    """An object compared by identity, kept alive so that its id is not given away."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


def fingerprint(value: Any) -> Any:
    """Return a hashable key made of a value's content."""
    return _key(value, {})


def array_digest(tree: PyTree) -> str:
    """Return a hash of the arrays of a tree: shapes, types and bytes."""
    total = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        array = to_host(leaf)
        total.update(f"{array.shape}{array.dtype}".encode())
        total.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return total.hexdigest()


def _key(value: Any, seen: dict[int, int]) -> Any:
    if value is None or isinstance(value, bool | int | str | bytes | complex):
        return (type(value), value)
    if isinstance(value, float):
        return (float, repr(value))
    if id(value) in seen:
        return ("again", seen[id(value)])
    seen = {**seen, id(value): len(seen)}
    if isinstance(value, tuple | list):
        return (_Same(type(value)), *(_key(part, seen) for part in value))
    if isinstance(value, dict):
        return (dict, *((_key(name, seen), _key(part, seen)) for name, part in value.items()))
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return ("array", value.shape, str(value.dtype), value.tobytes())
    if isinstance(value, jax.Array) and not jnp.issubdtype(value.dtype, jax.dtypes.extended):
        return ("array", value.shape, str(value.dtype), np.asarray(value).tobytes())
    if isinstance(value, functools.partial):
        return (functools.partial, *(_key(part, seen) for part in (value.func, value.args, value.keywords)))
    if isinstance(value, types.MethodType):
        return (types.MethodType, _key(value.__func__, seen), _key(value.__self__, seen))
    if isinstance(value, types.FunctionType):
        return _function(value, seen)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {f.name: inspect.getattr_static(value, f.name, None) for f in dataclasses.fields(value)}
        parts = tuple((name, _key(part, seen)) for name, part in held.items())
        return (_Same(type(value)), *parts)
    return _Same(value)


def _function(value: types.FunctionType, seen: dict[int, int]) -> Any:
    cells = tuple(_cell(cell, seen) for cell in value.__closure__ or ())
    defaults = (_key(value.__defaults__, seen), _key(value.__kwdefaults__, seen))
    outside: tuple[Any, ...] = ()
    if value.__module__ is None or value.__module__.split(".")[0] not in _SETTLED:
        known = value.__globals__
        outside = tuple((n, _key(known[n], seen)) for n in sorted(_names(value.__code__)) if n in known)
    return (value.__code__, cells, defaults, outside)


def _cell(cell: types.CellType, seen: dict[int, int]) -> Any:
    try:
        return _key(cell.cell_contents, seen)
    except ValueError:  # a cell not filled yet
        return "empty"


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*inner)


def _words(key: Any) -> str:
    """Spell a key in words that do not depend on memory addresses."""
    if isinstance(key, tuple):
        return "(" + ",".join(_words(part) for part in key) + ")"
    if isinstance(key, types.CodeType):
        inner = ",".join(_words(const) for const in key.co_consts)
        names = ",".join((*key.co_names, *key.co_varnames, *key.co_freevars))
        return f"{key.co_qualname}:{hashlib.sha256(key.co_code).hexdigest()}[{names};{inner}]"
    if isinstance(key, _Same):
        kind = key.value if isinstance(key.value, type) else type(key.value)
        name = getattr(key.value, "__qualname__", "")
        return f"{kind.__module__}.{kind.__qualname__}:{name}"
    if isinstance(key, bytes):
        return hashlib.sha256(key).hexdigest()
    if isinstance(key, frozenset):  # a set in the code; its order differs between processes
        return "{" + ",".join(sorted(_words(part) for part in key)) + "}"
    return repr(key)
