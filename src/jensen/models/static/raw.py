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


def floored(scale: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return the raw parameter of a scale, or of the floor where the scale is smaller."""
    log_scale = jnp.log(jnp.maximum(scale, VARIANCE_FLOOR**0.5)) / LOG_SCALE_BOUND
    return LOG_SCALE_BOUND * jnp.arctanh(jnp.minimum(log_scale, 0.99))


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
    """Undo ``triangle``, scales below the floor raised to it."""
    rows, columns = np.tril_indices(tril.shape[-1], -1)
    scale = jnp.diagonal(tril, axis1=-2, axis2=-1)
    unit = tril / jnp.where(scale > 0, scale, 1.0)[..., None, :]
    return floored(scale), unit[..., rows, columns]


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
