"""Where a parameter may live, and the smooth bijection from unconstrained numbers onto it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from numpyro.distributions import biject_to, constraints
from numpyro.distributions.transforms import Transform

from jensen.errors import InputError, checked_sizes, nearest
from jensen.typing import Array, Float, Scalar

Constraint = str | tuple[float, float]
"""A name of ``NAMES``, or the two ends of an interval."""

_BY_NAME: dict[str, Any] = {
    "real": constraints.real,
    "positive": constraints.positive,
    "unit": constraints.unit_interval,
    "simplex": constraints.simplex,
    "ordered": constraints.ordered_vector,
    "positive_ordered": constraints.positive_ordered_vector,
    "cholesky_correlation": constraints.corr_cholesky,
}
NAMES = tuple(_BY_NAME)
_LEAST_AXES = {"simplex": 1, "ordered": 1, "positive_ordered": 1, "cholesky_correlation": 2}


class Block(NamedTuple):
    """One named parameter.

    Attributes:
        name: What the user calls it.
        shape: Its shape where it lives.
        free: Its shape in unconstrained numbers.
        constraint: Where it lives.
    """

    name: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    constraint: Constraint

    @classmethod
    def of(cls, name: str, shape: Any, constraint: Any) -> Block:
        """Check one parameter.

        Raises:
            InputError: If the shape or the constraint makes no sense, or the two do not go together.
        """
        shape = (shape,) if isinstance(shape, int | np.integer) else shape
        shape = checked_sizes("LogDensity", f"the shape of {name}", shape, "(4,)")
        axes = _LEAST_AXES.get(constraint, 0) if isinstance(constraint, str) else 0
        short = axes and (len(shape) < axes or shape[-1] < 2 or (axes == 2 and shape[-2] != shape[-1]))
        if short:
            what = "a square matrix, at least 2 by 2" if axes == 2 else "a vector of at least 2 entries"
            raise InputError(f"LogDensity: {name} is {constraint}, so {what}, not of shape {shape}")
        onto = transform_onto(constraint, name)
        return cls(name, shape, tuple(onto.inverse_shape(shape)), _checked(constraint, name))

    @property
    def size(self) -> int:
        """How many unconstrained numbers it takes."""
        return int(np.prod(self.free, dtype=int))

    def constrain(self, free: Float[Array, "n"]) -> tuple[Float[Array, "..."], Scalar]:
        """Return the parameter these numbers stand for, and log |det Jacobian| of the map onto it."""
        onto = transform_onto(self.constraint, self.name)
        at = free.reshape(self.free)
        value = jnp.asarray(onto(at))
        return value, jnp.sum(onto.log_abs_det_jacobian(at, value))

    def unconstrain(self, value: Float[Array, "..."]) -> Float[Array, "n"]:
        """Return the numbers that stand for a parameter.

        Raises:
            InputError: If the value has another shape, or is not inside the constraint.
        """
        if jnp.shape(value) != self.shape:
            raise InputError(f"LogDensity: {self.name} has shape {self.shape}, got {jnp.shape(value)}")
        onto = transform_onto(self.constraint, self.name)
        free = jnp.reshape(jnp.asarray(onto.inv(value)), -1)
        if not isinstance(free, Tracer) and not self._inside(onto, value, free):
            where = self.constraint if isinstance(self.constraint, str) else f"between {self.constraint}"
            raise InputError(f"LogDensity: {self.name} must be {where}, strictly inside; got {_short(value)}")
        return free

    def _inside(self, onto: Transform, value: Array, free: Array) -> bool:
        """Say whether the map leads back: outside its constraint an inverse is NaN, infinite or wrong."""
        again = np.asarray(onto(free.reshape(self.free)))
        scale = np.max(np.abs(value), initial=1.0) if np.isfinite(value).all() else 1.0
        return bool(np.isfinite(free).all() and np.allclose(again, value, rtol=1e-3, atol=1e-4 * scale))


def transform_onto(constraint: Any, name: str = "constraint") -> Transform:
    """Return the bijection from unconstrained numbers.

    Raises:
        InputError: If there is no such constraint, or the interval is empty or not two finite numbers.

    Example:
        >>> float(transform_onto((2.0, 4.0))(0.0))
        3.0
    """
    checked = _checked(constraint, name)
    return biject_to(_BY_NAME[checked] if isinstance(checked, str) else constraints.interval(*checked))


def _checked(constraint: Any, name: str) -> Constraint:
    if isinstance(constraint, str):
        if constraint not in _BY_NAME:
            raise InputError(
                f"LogDensity: {name}: unknown constraint {constraint!r}{nearest(constraint, NAMES)}"
            )
        return constraint
    try:
        low, high = (float(end) for end in constraint)
    except (TypeError, ValueError):
        raise InputError(
            f"LogDensity: {name}: constraint {constraint!r} is neither a name nor an interval (low, high) "
            "of two numbers; for a half-line use 'positive', and shift inside log_joint"
        ) from None
    if not -np.inf < low < high < np.inf:
        raise InputError(
            f"LogDensity: {name} between {low} and {high}: the interval must be finite, low first; for a "
            "half-line use 'positive'"
        )
    return low, high


def _short(value: Array) -> str:
    return np.array2string(np.asarray(value), threshold=6, edgeitems=2, precision=4).replace("\n", "")
