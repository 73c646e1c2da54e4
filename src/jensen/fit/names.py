"""Import paths of classes and functions: ``jax.nn:relu`` for ``jax.nn.relu``, and back."""

from __future__ import annotations

import enum
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from jensen.errors import CorruptRunError, InputError

ROOTS = ("jensen", "equinox", "optax", "jax")
"""The packages whose classes and functions a saved run may name."""

# Where the public names of functions defined in private modules live.
_SHELVES = (
    "jax.nn",
    "jax.numpy",
    "jax.lax",
    "jax.scipy.special",
    "jax.nn.initializers",
    "equinox.nn",
    "optax",
)


def is_known(path: str) -> bool:
    """Whether an import path lies in one of ``ROOTS``."""
    return path.partition(":")[0].split(".")[0] in ROOTS


def class_path(cls: type) -> str:
    """The import path of a class: the shortest public one for ``ROOTS``, otherwise where it was defined.

    Example:
        >>> import equinox as eqx
        >>> class_path(eqx.nn.Linear)
        'equinox.nn:Linear'
    """
    return import_path(cls) or f"{cls.__module__}:{cls.__qualname__}"


def import_path(value: Any) -> str | None:
    """The import path that leads to this very object, or None if there is none in ``ROOTS``.

    Args:
        value: A class, function, jitted or custom-derivative function, enum member, or module-level lambda.

    Returns:
        ``module:name``, public where possible.

    Example:
        >>> import jax
        >>> import_path(jax.nn.relu), import_path(lambda x: x)
        ('jax.nn:relu', None)
    """
    home = getattr(value, "__module__", None)
    if not isinstance(home, str) or home.split(".")[0] not in ROOTS:
        return None
    for module in _modules(home):
        for name in _names(value):
            if _walk(module, name) is value:
                return f"{module.__name__}:{name}"
    # A lambda with a module-level name of its own, such as equinox's identity.
    held = vars(sys.modules[home]).items() if home in sys.modules else ()
    return next((f"{home}:{name}" for name, found in held if found is value), None)


def resolve(path: str, where: str) -> Any:
    """Find the object an import path leads to.

    Args:
        path: As ``import_path`` gave it.
        where: The place in the tree, for the messages.

    Returns:
        The class or function.

    Raises:
        InputError: The path lies outside ``ROOTS``; a template is needed.
        CorruptRunError: There is no such object here.
    """
    where = where or "the tree"
    if not is_known(path):
        raise InputError(
            f"{where} is of your own {path}, which is not imported from a file; pass like=TEMPLATE to load"
        )
    name, _, attributes = path.partition(":")
    try:
        found = _walk(importlib.import_module(name), attributes)
    except ImportError:
        found = None
    home = getattr(found, "__module__", None)
    # Never step out of the known packages through something they happen to import.
    if found is None or not isinstance(home, str) or home.split(".")[0] not in ROOTS:
        raise CorruptRunError(
            f"{where} needs {path}, which is not installed here; load it with the versions it names"
        )
    return found


def _modules(home: str) -> Iterator[ModuleType]:
    parts = home.split(".")
    above = [".".join(parts[: i + 1]) for i in range(len(parts))]
    for name in (*(shelf for shelf in _SHELVES if shelf.split(".")[0] == parts[0]), *above):
        if name in sys.modules:
            yield sys.modules[name]


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, enum.Enum):
        yield f"{type(value).__qualname__}.{value.name}"
        return
    for attribute in ("__qualname__", "__name__"):
        name = getattr(value, attribute, None)
        if isinstance(name, str) and "<" not in name:
            yield name


def _walk(module: ModuleType, attributes: str) -> Any:
    found: Any = module
    for name in attributes.split("."):
        found = getattr(found, name, None)
        if found is None or isinstance(found, ModuleType):
            return None
    return found
