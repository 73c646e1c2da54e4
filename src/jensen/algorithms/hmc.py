"""Hamiltonian transitions along a path between two log-densities, with everything about them frozen.

The path is log f_β(z) = (1−β) log q(z) + β log p(x, z). A transition leaves f_β invariant *exactly*
(Metropolis corrected), whatever its step size and metric, as long as these do not look at the chain they
move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.linalg import eigh, solve_lower
from jensen.typing import Array, Float, PRNGKey, Scalar

FLOOR = -1e30
"""Stands for the log of an impossible or undefined density: finite, so that no arithmetic makes NaN of it."""


class Path(NamedTuple):
    """The two ends of an annealing path for one datum.

    Attributes:
        sample_q: ``key -> z``, a draw from q, a flat real vector ``(d,)``.
        log_q: ``z -> log q(z)`` in nats, normalized.
        log_joint: ``z -> log p(x, z)`` in nats. Anything not finite means "impossible".
    """

    sample_q: Callable[..., Array]
    log_q: Callable[..., Array]
    log_joint: Callable[..., Array]


class Metric(NamedTuple):
    """A preconditioner that follows the path: A_β = B diag(1 − β + β r)^{−1/2}, so A_β A_βᵀ ≈ Cov under f_β.

    Between two Gaussians the precision of f_β is (1−β) P_q + β P_p; B and r diagonalize both at once.

    Attributes:
        basis: B, with B Bᵀ = Cov_q.
        precision: r, the precisions of the posterior along the columns of B (1 where q is right).
    """

    basis: Float[Array, "d d"]
    precision: Float[Array, "d"]

    def scale(self, beta: Scalar) -> Float[Array, "d d"]:
        """A_β."""
        return self.basis * jax.lax.rsqrt(1.0 - beta + beta * self.precision)


def fixed_metric(scale: Float[Array, "d"] | Float[Array, "d d"]) -> Metric:
    """One preconditioner for the whole path.

    Args:
        scale: Standard deviations of each coordinate, or a lower-triangular scale.
    """
    return Metric(jnp.diag(scale) if scale.ndim == 1 else scale, jnp.ones(scale.shape[0], scale.dtype))


def metric_between(start: Float[Array, "d d"], end: Float[Array, "d d"]) -> Metric:
    """The metric that is Cov_q at β = 0 and Cov_p at β = 1.

    Args:
        start: Lower-triangular scale of q.
        end: Lower-triangular scale of the posterior.
    """
    relative = solve_lower(start, end)
    variance, vectors = eigh(relative @ relative.T)
    return Metric(start @ vectors, 1.0 / jnp.maximum(variance, 1e-8))


class Point(NamedTuple):
    """A position with both log-densities and gradients, so that changing β costs nothing."""

    z: Float[Array, "d"]
    log_q: Scalar
    log_p: Scalar
    grad_q: Float[Array, "d"]
    grad_p: Float[Array, "d"]

    def value(self, beta: Scalar) -> Scalar:
        """Log f_β, in nats."""
        return (1.0 - beta) * self.log_q + beta * self.log_p

    def grad(self, beta: Scalar) -> Float[Array, "d"]:
        """∇ log f_β."""
        return (1.0 - beta) * self.grad_q + beta * self.grad_p

    @property
    def log_ratio(self) -> Array:
        """Log p(x, z) − log q(z), in nats."""
        return self.log_p - self.log_q

    @property
    def possible(self) -> Array:
        """Whether both densities are positive and defined here."""
        return (self.log_p > FLOOR) & (self.log_q > FLOOR)


def _guarded(log_density: Callable[..., Array], z: Float[Array, "d"]) -> tuple[Scalar, Float[Array, "d"]]:
    value, grad = jax.value_and_grad(log_density)(z)
    good = jnp.isfinite(value)
    return jnp.where(good, value, FLOOR), jnp.where(good & jnp.isfinite(grad), grad, 0.0)


def evaluate(path: Path, z: Float[Array, "d"]) -> Point:
    """Both ends of the path at z; what is not finite becomes `FLOOR` with zero gradient."""
    log_q, grad_q = _guarded(path.log_q, z)
    log_p, grad_p = _guarded(path.log_joint, z)
    return Point(z, log_q, log_p, grad_q, grad_p)


def refresh(momentum: Float[Array, "d"], persistence: Scalar, *, key: PRNGKey) -> Float[Array, "d"]:
    """Half a momentum refreshment, v ← √c v + √(1−c) n; two of them keep the share c."""
    noise = jax.random.normal(key, momentum.shape, momentum.dtype)
    return jnp.sqrt(persistence) * momentum + jnp.sqrt(1.0 - persistence) * noise


class Transition(NamedTuple):
    """What a transition returns: the new point and momentum, and the acceptance probability in [0, 1]."""

    point: Point
    momentum: Float[Array, "d"]
    acceptance: Scalar


def leapfrog(
    path: Path,
    point: Point,
    momentum: Float[Array, "d"],
    beta: Scalar,
    *,
    step_size: Scalar,
    scale: Float[Array, "d d"],
    num_leapfrog: int,
) -> tuple[Point, Float[Array, "d"]]:
    """Integrate Hamilton's equations of −log f_β in the coordinates whitened by ``scale``.

    Costs ``num_leapfrog`` gradients: the first half step uses the gradient carried in ``point``.
    """

    def step(_: Array, state: tuple[Point, Array]) -> tuple[Point, Array]:
        here, v = state
        v = v + 0.5 * step_size * (here.grad(beta) @ scale)
        here = evaluate(path, here.z + step_size * (scale @ v))
        return here, v + 0.5 * step_size * (here.grad(beta) @ scale)

    return jax.lax.fori_loop(0, num_leapfrog, step, (point, momentum))


def transition(
    path: Path,
    point: Point,
    momentum: Float[Array, "d"],
    beta: Scalar,
    *,
    step_size: Scalar,
    scale: Float[Array, "d d"],
    num_leapfrog: int,
    key: PRNGKey,
) -> Transition:
    """One Metropolis-corrected trajectory that leaves f_β(z) N(v; 0, I) invariant.

    The trajectory followed by a flip of v is an involution, so accepting it with min(1, ratio) is reversible;
    the flip is then undone, so that a *rejection* reverses the momentum. A proposal where a density is not
    finite is rejected.

    Args:
        path: The two ends.
        point: Where the chain is.
        momentum: v, in whitened coordinates.
        beta: Inverse temperature in [0, 1].
        step_size: Leapfrog step in units of ``scale``.
        scale: A, ``(d, d)``.
        num_leapfrog: Gradients per transition.
        key: Randomness of the acceptance.

    Returns:
        The next point, momentum and the acceptance probability.

    Source:
        Neal (2011), MCMC using Hamiltonian dynamics; Horowitz (1991) for partial refreshment.
    """
    end, v = leapfrog(
        path, point, momentum, beta, step_size=step_size, scale=scale, num_leapfrog=num_leapfrog
    )
    energy = 0.5 * (jnp.sum(momentum**2) - jnp.sum(v**2))
    log_ratio = end.value(beta) - point.value(beta) + energy
    log_ratio = jnp.where(end.possible & ~jnp.isnan(log_ratio), log_ratio, -jnp.inf)
    accept = jnp.log(jax.random.uniform(key, (), momentum.dtype)) < log_ratio
    chosen = jax.tree.map(lambda new, old: jnp.where(accept, new, old), end, point)
    return Transition(chosen, jnp.where(accept, v, -momentum), jnp.exp(jnp.minimum(log_ratio, 0.0)))
