"""Covariances as unconstrained numbers, and the checks on those a user gives."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError
from jensen.families.base import LOG_SCALE_BOUND, bounded_exp
from jensen.models.static.covariance import VARIANCE_FLOOR, AbstractCovariance
from jensen.typing import Array, Bool, Float

_EDGE = 0.99
"""Share of the bound on log-scales that parameters made here may use; beyond it arctanh runs away."""

LEAST_SCALE = float(np.exp(-_EDGE * LOG_SCALE_BOUND))
"""Smallest scale that can be held, relative to its column."""


def raw_scale(scale: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return the parameter whose ``bounded_exp`` is this scale."""
    log_scale = jnp.log(scale) / LOG_SCALE_BOUND
    return LOG_SCALE_BOUND * jnp.arctanh(jnp.clip(log_scale, -_EDGE, _EDGE))


def floored(scale: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return the raw parameter of a scale, or of the floor where the scale is smaller."""
    return raw_scale(jnp.maximum(scale, VARIANCE_FLOOR**0.5))


def exactly(scale: Any) -> Float[Array, "*s"]:
    """Return the raw parameter of a scale a user gives, which no floor may change. Host code.

    Raises:
        InputError: If it is too small, relative to its column, to be held.
    """
    scale = np.asarray(scale, np.float64)
    if (scale < LEAST_SCALE).any():
        raise InputError(
            f"a variance is {scale.min() ** 2:.2g} of its column's; below {LEAST_SCALE**2:.2g} it cannot be "
            "held: drop the column, or one that determines it"
        )
    return raw_scale(jnp.asarray(scale, jnp.result_type(float)))


def is_floor(raw: Float[Array, "*s"]) -> Bool[Array, "*s"]:
    """Say where a scale is at the floor or below it."""
    return bounded_exp(raw) ** 2 <= 1.001 * VARIANCE_FLOOR


def triangle(raw: Float[Array, "j d"], below: Float[Array, "j m"]) -> Float[Array, "j d d"]:
    """Return U diag(s): log-scales ``raw``, U's entries under its unit diagonal ``below``."""
    j, d = raw.shape
    rows, columns = np.tril_indices(d, -1)
    unit = jnp.broadcast_to(jnp.eye(d, dtype=raw.dtype), (j, d, d)).at[:, rows, columns].set(below)
    return unit * bounded_exp(raw)[:, None, :]


def untriangle(tril: Float[Array, "*j d d"]) -> tuple[Float[Array, "*j d"], Float[Array, "*j m"]]:
    """Return the scales, and U's entries under its unit diagonal."""
    rows, columns = np.tril_indices(tril.shape[-1], -1)
    scale = jnp.diagonal(tril, axis1=-2, axis2=-1)
    unit = tril / jnp.where(scale > 0, scale, 1.0)[..., None, :]
    return scale, unit[..., rows, columns]


def given_triangle(tril: np.ndarray) -> tuple[Float[Array, "*j d"], Float[Array, "*j m"]]:
    """Return the parameters of factors a user gives. Host code; see ``exactly``."""
    _, below = untriangle(jnp.asarray(tril, jnp.result_type(float)))
    return exactly(np.diagonal(tril, axis1=-2, axis2=-1)), below


def together(structure: AbstractCovariance, free: Any) -> bool:
    """Say whether a structure may change; its parameters make one covariance and move as one.

    Raises:
        InputError: If only some of them may.
    """
    leaves = zip(jax.tree.leaves(structure), jax.tree.leaves(free), strict=True)
    flags = [flag for leaf, flag in leaves if eqx.is_inexact_array(leaf)]
    if any(flags) and not all(flags):
        raise InputError("trainable: EM trains all parameters of a covariance or none; pick the covariance")
    return any(flags)


def shaped(values: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 values of the shape demanded."""
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise InputError(f"covariances have shape {values.shape}; this structure takes {shape}")
    if not np.isfinite(values).all():
        raise InputError("covariances hold NaN or infinity")
    return values


def positive(values: np.ndarray) -> np.ndarray:
    """Return variances, all above zero."""
    if not (values > 0).all():
        raise InputError("covariances: a variance is not positive")
    return values


def factor(values: np.ndarray) -> np.ndarray:
    """Return lower Cholesky factors."""
    try:
        return np.linalg.cholesky(values)
    except np.linalg.LinAlgError:
        raise InputError("covariances: a matrix is not positive definite") from None
