"""The way back from a description to the tree, without calling any constructor.

Only the classes of jensen, equinox and optax, and the functions of these and jax, are ever looked up by name;
anything else has to come from a template.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import CorruptRunError, InputError
from jensen.fit.names import is_known, resolve
from jensen.fit.structure import ABSENT, Described, Json, Opened, join, open_node, stored_fields, to_host

_NAMED = frozenset({"import", "foreign", "opaque"})
_DATA = frozenset({"float", "int", "short", "complex", "bytes", "scalar", "bool", "str"})


def rebuild(described: Described, *, like: Any = None) -> Any:
    """Make the tree again, without calling any constructor.

    Args:
        described: What ``describe`` gave.
        like: A template for trees with classes or functions of the user's own. Its structure must equal the
            saved one path by path; arrays and numbers come from the saved tree.

    Returns:
        A tree whose tree structure equals the original's, and so meets the same compiled functions.

    Raises:
        InputError: The template does not fit, or a template is needed and none was given.
        CorruptRunError: A named class or function is unknown here, or tensors are missing or left over.
    """
    used: set[str] = set()

    def walk(node: Json, path: str, like: Any, static: bool) -> Any:
        kind, head, nodes = _parse(node)
        wanted = None if like is ABSENT else open_node(like, path)
        if wanted is not None:
            _check_fits(kind, head, nodes, wanted, like, path)
        if kind == "array":
            used.add(path or "value")
            value = _from_host(head, described.tensors[path or "value"], path)
            if like is not ABSENT:
                _check_array(value, like, path, static)
            return value
        if kind in ("module", "namedtuple") and wanted is None:
            resolve(head, path)  # a class of the user's own is named before anything inside it
        children = {
            key: walk(
                child,
                join(path, key),
                *((ABSENT, static) if wanted is None else _under(wanted, key, static)),
            )
            for key, child in nodes.items()
        }
        if children or kind in ("tuple", "list", "dict", "namedtuple", "module", "partial"):
            return _close(kind, head, children, like, path)
        value = _leaf(kind, head, like, path)
        if wanted is not None and static and kind in _DATA and wanted.head != head:
            raise _misfit(path, f"{value!r}", f"{like!r}")
        return value

    tree = walk(described.structure, "", ABSENT if like is None else like, False)
    if left := sorted(set(described.tensors) - used):
        raise CorruptRunError(
            f"the saved structure has no place for the tensor {left[0]!r}; save the run again"
        )
    return tree


def _close(kind: str, head: Json, children: Mapping[str, Any], like: Any, path: str) -> Any:
    """Put a container together from its parts."""
    values = list(children.values())
    if kind == "tuple":
        return tuple(values)
    if kind == "list":
        return values
    if kind == "dict":
        return dict(zip((rebuild(Described(key, {})) for key in head), values, strict=True))
    if kind == "partial":
        make = jax.tree_util.Partial if head == "jax" else functools.partial
        return make(children[".func"], *children[".args"], **children[".keywords"])
    cls: Any = resolve(head, path) if like is ABSENT else type(like)
    names = cls._fields if kind == "namedtuple" else list(stored_fields(cls))
    if {f".{name}" for name in names} != set(children):
        saved = ", ".join(key[1:] for key in children)
        raise CorruptRunError(
            f"{path or 'the tree'}: {head} was saved with the fields ({saved}) and now has "
            f"({', '.join(names)}); load it with the version that saved it"
        )
    values = [children[f".{name}"] for name in names]
    if kind == "namedtuple":
        return tuple.__new__(cls, values)
    made = object.__new__(cls)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(made, name, value)
    return made


def _leaf(kind: str, head: Json, like: Any, path: str) -> Any:
    if kind in ("none", "bool", "str", "short"):
        return head
    if kind == "int":
        return int(head, 16)
    if kind == "float":
        return float.fromhex(head)
    if kind == "complex":
        return complex(float.fromhex(head[0]), float.fromhex(head[1]))
    if kind == "bytes":
        return bytes.fromhex(head)
    if kind == "scalar":
        return np.frombuffer(bytes.fromhex(head[1]), np.dtype(head[0]))[0]
    if kind == "dtype":
        return np.dtype(head)
    if kind == "numpy_type":
        return np.dtype(head).type
    if like is not ABSENT:
        return like
    if kind == "import":
        return resolve(head, path)
    if kind in _NAMED:
        raise InputError(
            f"{path or 'the tree'} was {head}, which is not stored; pass like= with the original object"
        )
    raise CorruptRunError(f"{path or 'the tree'} is of the unknown kind {kind!r}; upgrade jensen")


def _check_fits(
    kind: str, head: Json, nodes: Mapping[str, Json], wanted: Opened, like: Any, path: str
) -> None:
    """Refuse a template whose node is of another kind, class or make than the saved one."""
    same_int = {kind, wanted.kind} <= {"int", "short"}
    if kind != wanted.kind and not same_int and not {kind, wanted.kind} <= _NAMED:
        raise _misfit(path, kind, wanted.kind)
    if set(nodes) != set(wanted.items):
        odd = sorted(set(nodes) ^ set(wanted.items))[0]
        saved, template = ("has", "has not") if odd in nodes else ("has not", "has")
        raise _misfit(join(path, odd), f"{saved} it", f"{template} it")
    if kind in ("module", "namedtuple"):
        same = resolve(head, path) is type(like) if is_known(head) else _short(head) == _short(wanted.head)
    elif kind in _NAMED:
        same = resolve(head, path) is like if kind == "import" else _short(head) == _short(wanted.head)
    elif kind in ("partial", "dtype", "numpy_type"):
        same = head == wanted.head
    else:
        same = True
    if not same:
        raise _misfit(path, str(head), str(wanted.head))


def _check_array(value: Any, like: Any, path: str, static: bool) -> None:
    if value.shape != like.shape or value.dtype != like.dtype:
        raise _misfit(path, f"{value.dtype}{list(value.shape)}", f"{like.dtype}{list(like.shape)}")
    if static and to_host(value).tobytes() != to_host(like).tobytes():
        raise _misfit(path, "other numbers in a static field", "these")


def _misfit(path: str, saved: str, template: str) -> InputError:
    return InputError(f"like= does not fit at {path or 'the root'}: saved {saved}, the template {template}")


def _under(wanted: Opened, key: str, static: bool) -> tuple[Any, bool]:
    child = wanted.items[key]
    return child.value, static or child.static


def _parse(node: Json) -> tuple[str, Json, dict[str, Json]]:
    if node is None:
        return "none", None, {}
    if isinstance(node, bool | int | str):
        return ("short" if type(node) is int else type(node).__name__), node, {}
    kind = next(iter(node))
    return kind, node[kind], node.get("items", {})


def _short(path: str) -> str:
    """The name without its module: a script's classes move from ``__main__`` to a module when imported."""
    return path.partition(":")[2]


def _from_host(head: str, value: np.ndarray, path: str) -> Any:
    if head == "numpy":
        return value.copy()
    if head.startswith("key:"):
        return jax.random.wrap_key_data(jnp.array(value), impl=head.removeprefix("key:"))
    if jax.dtypes.canonicalize_dtype(value.dtype) != value.dtype:
        raise InputError(
            f"{path or 'the tree'} was saved as {value.dtype}; turn jax_enable_x64 on to load it"
        )
    array = jnp.array(value)
    if head != "weak":
        return array
    # A weakly typed array gives way to its neighbours' precision; an indexed update keeps that property.
    return jnp.full(value.shape, value.dtype.type(0).item()).at[...].set(array)
