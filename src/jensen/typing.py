"""Shared array types: every shape in jensen is written with jaxtyping."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key, PyTree, Shaped

PRNGKey: TypeAlias = Key[Array, ""]
"""One typed random key, as made by ``jax.random.key``."""

PRNGKeys: TypeAlias = Key[Array, " n"]
"""Several typed random keys, one a datum or a draw."""

Scalar: TypeAlias = Float[Array, ""]
"""One floating-point number, usually in nats."""

Schedule: TypeAlias = Callable[[Int[Array, ""]], Scalar]
"""A number as a function of the step."""

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Float",
    "Int",
    "PRNGKey",
    "PRNGKeys",
    "PyTree",
    "Scalar",
    "Schedule",
    "Shaped",
]
