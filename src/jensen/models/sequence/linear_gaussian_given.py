"""Parts of a linear-Gaussian model from parameters in the data's own units."""

from __future__ import annotations

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, JensenWarning
from jensen.models.sequence.linear_gaussian_parts import Dynamics, Emission, Initial, Noise
from jensen.models.sequence.linear_gaussian_units import radius
from jensen.models.static.covariance import VARIANCE_FLOOR
from jensen.models.static.raw import floored
from jensen.nets import Frame
from jensen.typing import Array

UNSTABLE = 1e-4
"""By how much the spectral radius may exceed one before a word is said."""


def given(
    transition: Any, transition_covariance: Any, emission: Any, variances: Any,
    initial: tuple[Any, Any], inputs: tuple[Any, Any] | None, offsets: tuple[Any, Any] | None,
) -> tuple[Initial, Dynamics, Emission, Frame]:  # fmt: skip
    """Return the parts and the frame of x: origin C m + d, units √diag(C Q Cᵀ + R).

    Raises:
        InputError: If shapes disagree or a covariance is no covariance; the parameter is named.
    """
    a = np.asarray(transition, np.float64)
    c = np.asarray(emission, np.float64)
    if a.ndim != 2 or c.ndim != 2 or not a.size or not c.size:
        raise InputError(
            f"transition_matrix and emission_matrix are matrices; got shapes {a.shape} and {c.shape}"
        )
    n, d = a.shape[1], c.shape[0]
    a, c = _shaped("transition_matrix", a, (n, n)), _shaped("emission_matrix", c, (d, n))
    q = _root("transition_covariance", transition_covariance, n)
    r = _variances(variances, d)
    mean, p = _shaped("initial mean", initial[0], (n,)), _root("initial covariance", initial[1], n)
    b, offset = offsets if offsets is not None else (np.zeros(n), np.zeros(d))
    b, offset = _shaped("offset b", b, (n,)), _shaped("offset d", offset, (d,))
    to_z, to_x = inputs if inputs is not None else (np.zeros((n, 0)), None)
    to_z = _shaped("input matrix B", to_z, (n, np.shape(to_z)[-1]))
    to_x = np.zeros((d, 0)) if to_x is None else _shaped("input matrix D", to_x, (d, to_z.shape[1]))
    if (size := radius(a)) > 1 + UNSTABLE:
        text = f"transition_matrix is unstable (spectral radius {size:.4g}): long forecasts diverge"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=4)
    shift = _array(c @ mean + offset)
    unit = _array(np.sqrt(((c @ q) ** 2).sum(1) + r))
    origin, scale = np.asarray(shift, np.float64), np.asarray(unit, np.float64)
    if (r < VARIANCE_FLOOR * scale**2).any():
        text = "emission_variances: raised to 1e-6 of the variance that z_t leaves in x_{t+1}"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=4)
    start, dynamics = Initial(_array(mean), Noise.of(_array(p))), Noise.of(_array(q))
    return (
        start,
        Dynamics(_array(a), _array(to_z), _array(b), dynamics),
        Emission(
            _array(c / scale[:, None]),
            _array(to_x / scale[:, None]),
            _array((offset - origin) / scale),
            floored(_array(np.sqrt(r) / scale)),
        ),
        Frame(shift, unit),
    )


def _array(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.result_type(float))


def _shaped(name: str, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.shape != shape:
        raise InputError(f"LinearGaussianSSM: {name} has shape {values.shape}; expected {shape}")
    if not np.isfinite(values).all():
        raise InputError(f"LinearGaussianSSM: {name} holds NaN or infinity")
    return values


def _variances(values: Any, d: int) -> np.ndarray:
    if np.ndim(values) == 2:
        raise InputError(
            "LinearGaussianSSM: emission_variances takes the diagonal of R, (D,); correlated noise is a "
            "state of its own without memory (zero rows in transition_matrix)"
        )
    values = _shaped("emission_variances", values, (d,))
    if not (values > 0).all():
        raise InputError(
            f"LinearGaussianSSM: emission_variances: entry {int(np.argmin(values))} is not positive"
        )
    return values


def _root(name: str, values: Any, n: int) -> np.ndarray:
    """Return the Cholesky factor of a covariance; a singular one is raised a little, with a word."""
    values = _shaped(name, values, (n, n))
    if not np.allclose(values, values.T, rtol=1e-6, atol=1e-12 * np.abs(values).max(initial=0.0)):
        raise InputError(f"LinearGaussianSSM: {name} is not symmetric")
    values = 0.5 * (values + values.T)
    low, size = float(np.linalg.eigvalsh(values)[0]), float(np.diagonal(values).max())
    if low < -1e-7 * max(size, 1e-300) or size <= 0:
        raise InputError(
            f"LinearGaussianSSM: {name} is not positive semi-definite (smallest eigenvalue {low:.3g})"
        )
    if low < 1e-9 * size:
        text = f"{name} is singular; 1e-8 of its largest variance was added to its diagonal"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=5)
        values = values + 1e-8 * size * np.eye(n)
    return np.linalg.cholesky(values)
