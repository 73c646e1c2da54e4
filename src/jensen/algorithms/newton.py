"""Newton's way down to a minimum, with the local normal approximation at every step of it.

The curvature is exact: d Hessian–vector products a step, for functions of up to a few hundred numbers. In a
direction of negative curvature its size is used (Dauphin et al. 2014), so that saddles repel.

References:
    Dauphin et al. 2014, Identifying and attacking the saddle point problem.
    Marquardt 1963, An algorithm for least-squares estimation of nonlinear parameters (the damping).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.linalg import eigh, qr
from jensen.typing import Array, Bool, Float, Int, Scalar

_FLATTEST = 8
"""Least curvature in units of ε, relative to the steepest direction's, once every coordinate has unit
curvature; d where that is more. Below it the eigenvalues of a float32 matrix are noise."""

_DAMPING = 1e-2
"""What is added to the curvature after a step that went wrong; ten times more after each further one."""

_ARRIVED = 1e-8
"""The squared Newton decrement at which the way ends: how many nats are left, about."""


class Path(NamedTuple):
    """The way down, and the normal law N(meanₜ, LₜLₜᵀ) that the function looks like from each step.

    Attributes:
        at: Where each step was taken from.
        mean: Where the quadratic model seen from there has its minimum.
        tril: Cholesky factor of the inverse curvature, lower triangular with a positive diagonal.
        value: The function there; infinite for steps never taken.
        last: Number of the step of the lowest value.
    """

    at: Float[Array, "steps d"]
    mean: Float[Array, "steps d"]
    tril: Float[Array, "steps d d"]
    value: Float[Array, "steps"]
    last: Int[Array, ""]


class _State(NamedTuple):
    path: Path
    z: Float[Array, "d"]
    value: Scalar
    damping: Scalar
    step: Int[Array, ""]
    done: Bool[Array, ""]


def descend(function: Callable[[Array], Scalar], start: Float[Array, "d"], *, steps: int = 50) -> Path:
    """Take damped Newton steps until the Newton decrement is nearly zero.

    Args:
        function: What is minimized, in nats; twice differentiable.
        start: Where to start; the function must be finite there, or nothing is found.
        steps: Most steps, refused ones included.

    Returns:
        The way.

    Example:
        >>> path = descend(lambda z: 2.0 * (z[0] - 3.0) ** 2 + 0.5 * z[1] ** 2, jnp.ones(2))
        >>> path.tril[path.last].round(3).tolist()
        [[0.5, 0.0], [0.0, 1.0]]
    """
    d = len(start)

    def take(state: _State) -> _State:
        slope, curvature = jax.grad(function)(state.z), jax.hessian(function)(state.z)
        root, whitened = _root_of_inverse(curvature, slope)
        path = state.path
        mean = state.z - root @ whitened
        path = Path(
            path.at.at[state.step].set(state.z),
            path.mean.at[state.step].set(mean),
            path.tril.at[state.step].set(_lower(root)),
            path.value.at[state.step].set(state.value),
            path.last,
        )
        moved = state.z - root @ (whitened / (1.0 + state.damping))
        value = function(moved)
        # float32 sees no difference below a few units in the last place
        slack = 8.0 * jnp.finfo(value.dtype).eps * (1.0 + jnp.abs(state.value))
        better = value <= state.value + slack
        left = jnp.sum(whitened**2)
        return _State(
            path._replace(last=jnp.where(state.value <= path.value[path.last], state.step, path.last)),
            jnp.where(better, moved, state.z),
            jnp.where(better, value, state.value),
            jnp.where(better, _less(state.damping), _more(state.damping)),
            state.step + 1,
            (left < _ARRIVED) | ~jnp.isfinite(left),
        )

    empty = Path(
        jnp.zeros((steps, d), start.dtype),
        jnp.zeros((steps, d), start.dtype),
        jnp.zeros((steps, d, d), start.dtype),
        jnp.full(steps, jnp.inf, start.dtype),
        jnp.zeros((), jnp.int32),
    )
    zero = jnp.zeros((), start.dtype)
    first = _State(empty, start, function(start), zero, jnp.zeros((), jnp.int32), jnp.array(False))
    return jax.lax.while_loop(lambda s: (s.step < steps) & ~s.done, take, first).path


def _less(damping: Scalar) -> Scalar:
    return jnp.where(damping > _DAMPING, damping / 10, 0.0)


def _more(damping: Scalar) -> Scalar:
    return jnp.where(damping > 0, damping * 10, _DAMPING)


def _root_of_inverse(curvature: Float[Array, "d d"], slope: Float[Array, "d"]) -> tuple[Any, Any]:
    """Return A with A Aᵀ = |H|⁻¹, and Aᵀ∇f."""
    # one unit for every coordinate first: parameters of different units would use up float32's digits
    unit = jnp.abs(jnp.diagonal(curvature))
    unit = jax.lax.rsqrt(jnp.maximum(unit, 1e-12 * jnp.maximum(unit.max(), 1e-12)))
    values, vectors = eigh(curvature * unit * unit[:, None])
    size = jnp.abs(values)
    flattest = max(len(slope), _FLATTEST) * jnp.finfo(size.dtype).eps
    root = unit[:, None] * vectors * jax.lax.rsqrt(jnp.maximum(size, flattest * size.max()))
    return root, root.T @ slope


def _lower(root: Float[Array, "d d"]) -> Float[Array, "d d"]:
    """Return lower-triangular L with L Lᵀ = A Aᵀ."""
    _, upper = qr(root.T)
    return (upper * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[:, None]).T
