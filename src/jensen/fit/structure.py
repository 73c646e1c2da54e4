"""A tree of objects described in JSON, its arrays named by their path.

A node is a JSON literal (None, bool, short int, str) or an object whose first key is its kind and whose
optional ``items`` are its children by path suffix::

    {"module": "equinox.nn:Linear", "items": {".weight": {"array": "jax"}, ".in_features": 4}}
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from types import MemberDescriptorType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jensen.errors import InputError
from jensen.fit.names import class_path, import_path

Json = Any
ABSENT: Any = object()
"""In place of a part that is not there; None is a value."""


class Child(NamedTuple):
    """One part of a node: its value, and whether it is static (part of the tree's structure, not data)."""

    value: Any
    static: bool


class Opened(NamedTuple):
    """One level of a tree: what the node is, and its children by path suffix."""

    kind: str
    head: Json
    items: dict[str, Child]


class Described(NamedTuple):
    """A tree in JSON, and its arrays by tree path."""

    structure: Json
    tensors: dict[str, np.ndarray]


def describe(tree: Any, *, unnamed: Literal["refuse", "record"] = "refuse") -> Described:
    """Describe a tree in JSON, setting its arrays aside under their paths.

    Args:
        tree: Any tree of modules, dataclasses, containers, arrays, numbers, strings and named functions.
        unnamed: What to do with a lambda or an object that no import path leads to: refuse it, or record
            that it was there (only a template can then bring it back).

    Returns:
        The structure and the arrays, on the host.

    Raises:
        InputError: Something in the tree cannot be saved; the message has its path.

    Example:
        >>> structure, tensors = describe({"w": np.zeros(2), "n": 5})
        >>> structure
        {'dict': ['w', 'n'], 'items': {"['w']": {'array': 'numpy'}, "['n']": 5}}
        >>> list(tensors)
        ["['w']"]
    """
    tensors: dict[str, np.ndarray] = {}

    def walk(value: Any, path: str) -> Json:
        opened = open_node(value, path)
        if opened.kind == "opaque" and unnamed == "refuse":
            raise InputError(
                f"{path or 'the tree'} is {opened.head}, which cannot be saved by name; "
                "use a function defined at the top of a module, such as jax.nn.relu"
            )
        if opened.kind in ("bool", "str", "none", "short"):
            return opened.head
        if opened.kind == "array":
            tensors[path or "value"] = to_host(value)
        node = {opened.kind: opened.head}
        if opened.items:
            node["items"] = {key: walk(child.value, join(path, key)) for key, child in opened.items.items()}
        return node

    return Described(walk(tree, ""), tensors)


def open_node(value: Any, path: str) -> Opened:
    """Look one level into a value."""
    if isinstance(value, Tracer):
        raise InputError(f"{path or 'the tree'} is being traced by jax; save outside jit, grad and vmap")
    if isinstance(value, jax.ShapeDtypeStruct):
        return Opened("array", "jax", {})
    if isinstance(value, jax.Array | np.ndarray):
        return Opened("array", _array_head(value, path), {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _open_dataclass(value)
    if isinstance(value, functools.partial):
        head = "jax" if isinstance(value, jax.tree_util.Partial) else "functools"
        parts = {".func": value.func, ".args": value.args, ".keywords": value.keywords}
        return Opened("partial", head, {key: Child(part, key == ".func") for key, part in parts.items()})
    if isinstance(value, tuple) and (names := getattr(type(value), "_fields", None)) is not None:
        items = {f".{name}": Child(part, False) for name, part in zip(names, value, strict=True)}
        return Opened("namedtuple", class_path(type(value)), items)
    if isinstance(value, tuple | list) and type(value) in (tuple, list):
        items = {f"[{i}]": Child(part, False) for i, part in enumerate(value)}
        return Opened(type(value).__name__, len(value), items)
    if isinstance(value, dict) and type(value) is dict:
        items = {f"[{key!r}]": Child(part, False) for key, part in value.items()}
        if len(items) < len(value):
            raise InputError(
                f"{path or 'the tree'}: two keys of the dict are written alike; use strings as keys"
            )
        return Opened("dict", [describe(_key(key, path)).structure for key in value], items)
    return _open_leaf(value)


def _open_leaf(value: Any) -> Opened:
    if value is None:
        return Opened("none", None, {})
    if type(value) in (bool, str):
        return Opened(type(value).__name__, value, {})
    if type(value) is int:
        # JSON readers elsewhere hold integers in doubles, and Python refuses very long decimals.
        return Opened("short", value, {}) if abs(value) < 2**53 else Opened("int", hex(value), {})
    if type(value) is float:
        return Opened("float", value.hex(), {})
    if type(value) is complex:
        return Opened("complex", [value.real.hex(), value.imag.hex()], {})
    if type(value) is bytes:
        return Opened("bytes", value.hex(), {})
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return Opened("scalar", [value.dtype.name, value.tobytes().hex()], {})
    if isinstance(value, np.dtype) and not value.hasobject:
        return Opened("dtype", value.name, {})
    if (
        isinstance(value, type)
        and issubclass(value, np.generic)
        and value.__module__ in ("numpy", "ml_dtypes")
    ):
        return Opened("numpy_type", np.dtype(value).name, {})
    found = import_path(value)
    if found is not None:
        return Opened("import", found, {})
    name, where = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    if isinstance(name, str) and isinstance(where, str):
        return Opened(
            "opaque" if "<lambda>" in name or "<locals>" in name else "foreign", f"{where}:{name}", {}
        )
    return Opened("opaque", f"{type(value).__module__}:an object of class {type(value).__qualname__}", {})


def _open_dataclass(value: Any) -> Opened:
    fields = stored_fields(type(value))
    held = {name: getattr(value, name, ABSENT) for name in fields}
    attributes = getattr(value, "__dict__", fields).items()
    # equinox marks with a sentinel what a module rebuilt from its leaves does not have
    if {name for name, part in attributes if type(part).__name__ != "_Missing"} != set(fields) or any(
        part is ABSENT for part in held.values()
    ):
        # A wrapped function, or attributes smuggled past the fields.
        return Opened("opaque", f"{type(value).__module__}:an object of class {type(value).__qualname__}", {})
    static = {name: bool(field.metadata.get("static", False)) for name, field in fields.items()}
    items = {f".{name}": Child(held[name], static[name]) for name in fields}
    return Opened("module", class_path(type(value)), items)


def stored_fields(cls: type) -> dict[str, dataclasses.Field]:
    """The fields of a dataclass that its objects hold, without those a class answers by a property."""

    def computed(field: dataclasses.Field) -> bool:
        defaulted = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        on_class = inspect.getattr_static(cls, field.name, None)
        return not (defaulted or on_class is None or isinstance(on_class, MemberDescriptorType))

    return {field.name: field for field in dataclasses.fields(cls) if not computed(field)}


def join(path: str, key: str) -> str:
    """The path of a child."""
    return path + key if path else key.removeprefix(".")


def _key(key: Any, path: str) -> Any:
    parts = key if type(key) is tuple else (key,)
    if not all(part is None or type(part) in (str, int, bool, bytes) for part in parts):
        raise InputError(f"{path or 'the tree'}: the dict key {key!r} cannot be saved; use strings as keys")
    return key


def _array_head(value: Any, path: str) -> str:
    if isinstance(value, np.ndarray):
        dtype = value.dtype
        if dtype.hasobject or dtype.names is not None or dtype.kind in "SUmM":
            raise InputError(
                f"{path or 'the tree'} is an array of {dtype}, which cannot be saved; use numbers"
            )
        return "numpy"
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        implementation = jax.random.key_impl(value)
        if not isinstance(implementation, str):
            raise InputError(f"{path or 'the tree'} is a key of a private kind; use jax.random.key(seed)")
        return f"key:{implementation}"
    return "weak" if value.weak_type else "jax"


def to_host(value: Any) -> np.ndarray:
    """The numbers of an array, or the words of a random key, as numpy sees them."""
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value)
