"""Parts of a linear-Gaussian model from parameters in the data's own units."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, JensenWarning
from jensen.models.sequence.linear_gaussian_parts import Dynamics, Emission, Initial, Noise
from jensen.models.sequence.linear_gaussian_steps import PerStep
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
    """Return the parts and the frame of x: origin C m + d, units √diag(C Q Cᵀ + R), typical ones of many.

    Raises:
        InputError: If shapes disagree or a covariance is no covariance; the parameter is named.
    """
    a = np.asarray(transition, np.float64)
    c = np.asarray(emission, np.float64)
    if a.ndim not in (2, 3) or c.ndim not in (2, 3) or not a.size or not c.size:
        raise InputError(
            f"transition_matrix and emission_matrix are matrices; got shapes {a.shape} and {c.shape}"
        )
    n, d = a.shape[-1], c.shape[-2]
    b, offset = offsets if offsets is not None else (np.zeros(n), np.zeros(d))
    moves = {
        "transition_matrix": (a, 2),
        "transition_covariance": (transition_covariance, 2),
        "offset b": (b, 1),
    }
    shows = {"emission_matrix": (c, 2), "offset d": (offset, 1), "emission_variances": (variances, 1)}
    t = _steps(moves, shows, d)
    a, c = _shaped("transition_matrix", a, (n, n), t - 1), _shaped("emission_matrix", c, (d, n), t)
    q = _root("transition_covariance", transition_covariance, n, t - 1)
    r = _variances(variances, d, t)
    mean, p = _shaped("initial mean", initial[0], (n,)), _root("initial covariance", initial[1], n)
    b, offset = _shaped("offset b", b, (n,), t - 1), _shaped("offset d", offset, (d,), t)
    to_z, to_x = inputs if inputs is not None else (np.zeros((n, 0)), None)
    to_z = _shaped("input matrix B", to_z, (n, np.shape(to_z)[-1]))
    to_x = np.zeros((d, 0)) if to_x is None else _shaped("input matrix D", to_x, (d, to_z.shape[1]))
    if (size := radius(a)) > 1 + UNSTABLE:
        text = f"transition_matrix is unstable (spectral radius {size:.4g}): long forecasts diverge"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=4)
    shift = _array(_typical(c @ mean + offset, 1))
    unit = _array(np.sqrt(_typical(((c @ _mean_root(q)) ** 2).sum(-1) + r, 1)))
    origin, scale = np.asarray(shift, np.float64), np.asarray(unit, np.float64)
    if (r < VARIANCE_FLOOR * scale**2).any():
        text = "emission_variances: raised to 1e-6 of the variance that z_t leaves in x_{t+1}"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=4)
    return (
        Initial(_array(mean), Noise.of(_array(p))),
        Dynamics(_held(a, 2), _array(to_z), _held(b, 1), _noise(q)),
        Emission(
            _held(c / scale[:, None], 2),
            _array(to_x / scale[:, None]),
            _held((offset - origin) / scale, 1),
            _raw(np.sqrt(r) / scale),
        ),
        Frame(shift, unit),
    )


def _steps(moves: dict[str, tuple[Any, int]], shows: dict[str, tuple[Any, int]], d: int) -> int:
    """Return T, 0 where nothing is given per step; refuse parameters that disagree about it."""
    given = {name: len(v) + 1 for name, (v, rank) in moves.items() if np.ndim(v) == rank + 1}
    given |= {name: len(v) for name, (v, rank) in shows.items() if np.ndim(v) == rank + 1}
    r = np.asarray(shows["emission_variances"][0])
    others = {t for name, t in given.items() if name != "emission_variances"}
    if r.shape == (d, d) and others != {d} and (others or np.array_equal(r, r.T)):
        given.pop("emission_variances")  # a covariance by mistake; refused by its shape
    if len(set(given.values())) > 1:
        text = ", ".join(f"{name} {t}" for name, t in given.items())
        raise InputError(
            f"LinearGaussianSSM: parameters per step disagree about T: {text} (A, Q, b have T − 1)"
        )
    return max(given.values(), default=0)


def _typical(values: np.ndarray, rank: int) -> np.ndarray:
    return values if values.ndim == rank else np.median(values, 0)


def _mean_root(root: np.ndarray) -> np.ndarray:
    """Return a root of the mean covariance."""
    return root if root.ndim == 2 else np.linalg.cholesky((root @ np.swapaxes(root, 1, 2)).mean(0))


def _held(values: np.ndarray, rank: int) -> Any:
    return _array(values) if values.ndim == rank else PerStep(_array(values))


def _noise(root: np.ndarray) -> Any:
    return Noise.of(_array(root)) if root.ndim == 2 else PerStep(jax.vmap(Noise.of)(_array(root)))


def _raw(scale: np.ndarray) -> Any:
    return floored(_array(scale)) if scale.ndim == 1 else PerStep(floored(_array(scale)))


def _array(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.result_type(float))


def _shaped(name: str, values: Any, shape: tuple[int, ...], steps: int = 0) -> np.ndarray:
    """Return finite values of a shape, or that many of them."""
    values = np.asarray(values, np.float64)
    if values.shape != shape and (steps < 1 or values.shape != (steps, *shape)):
        per_step = f", or {(steps, *shape)} per step" if steps > 0 else ""
        raise InputError(f"LinearGaussianSSM: {name} has shape {values.shape}; expected {shape}{per_step}")
    if not np.isfinite(values).all():
        raise InputError(f"LinearGaussianSSM: {name} holds NaN or infinity")
    return values


def _variances(values: Any, d: int, steps: int) -> np.ndarray:
    if np.ndim(values) == 2 and np.shape(values) != (steps, d):
        raise InputError(
            "LinearGaussianSSM: emission_variances takes the diagonal of R, (D,), or per step (T, D); "
            "correlated noise is a state of its own without memory (zero rows in transition_matrix)"
        )
    values = _shaped("emission_variances", values, (d,), steps)
    if not (values > 0).all():
        entry = np.unravel_index(int(np.argmin(values)), values.shape)
        place = ", ".join(map(str, entry))
        raise InputError(f"LinearGaussianSSM: emission_variances: entry {place} is not positive")
    return values


def _root(name: str, values: Any, n: int, steps: int = 0) -> np.ndarray:
    """Return the Cholesky factor of a covariance; a singular one is raised a little, with a word."""
    values = _shaped(name, values, (n, n), steps)
    most = np.abs(values).max(initial=0.0)
    if not np.allclose(values, np.swapaxes(values, -1, -2), rtol=1e-6, atol=1e-12 * most):
        raise InputError(f"LinearGaussianSSM: {name} is not symmetric")
    values = 0.5 * (values + np.swapaxes(values, -1, -2))
    low = np.linalg.eigvalsh(values)[..., 0]
    size = np.diagonal(values, axis1=-2, axis2=-1).max(-1)
    if ((low < -1e-7 * np.maximum(size, 1e-300)) | (size <= 0)).any():
        raise InputError(
            f"LinearGaussianSSM: {name} is not positive semi-definite (smallest eigenvalue {low.min():.3g})"
        )
    if (singular := low < 1e-9 * size).any():
        text = f"{name} is singular; 1e-8 of its largest variance was added to its diagonal"
        warnings.warn(f"LinearGaussianSSM: {text}", JensenWarning, stacklevel=5)
        values = values + 1e-8 * (singular * size)[..., None, None] * np.eye(n)
    return np.linalg.cholesky(values)
