"""The pilot run: learn a metric, temperatures and step sizes for one datum, then freeze them.

It sees q and log p(x, ·) only. It must never be given the exact posterior draw that starts a backward chain,
and its key must not be used again: then, whatever it returns, the weighted run is unbiased.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.ais import Kernels
from jensen.algorithms.hmc import (
    Metric,
    Path,
    Point,
    evaluate,
    fixed_metric,
    metric_between,
    refresh,
    transition,
)
from jensen.algorithms.linalg import cholesky, eigh, solve_lower
from jensen.typing import Array, Float, PRNGKey, Scalar

_GAIN = 0.5
_LARGEST_TURN = 1.6


class Moments(NamedTuple):
    """A Gaussian.

    Attributes:
        mean: ``(d,)``.
        scale_tril: ``(d, d)``, lower triangular.
    """

    mean: Float[Array, "d"]
    scale_tril: Float[Array, "d d"]


class Tuned(NamedTuple):
    """What a pilot run learned.

    Attributes:
        kernels: The frozen run.
        posterior: A Gaussian guess of p(z | x); `gaussian_path` can start annealing there instead of at q.
        acceptance: Mean acceptance per temperature of the pilot's own schedule.
        spread: Standard deviation of log p − log q under f_β, in nats, on the pilot's schedule.
    """

    kernels: Kernels
    posterior: Moments
    acceptance: Float[Array, "T-1"]
    spread: Float[Array, "T+1"]


def gaussian_moments(z: Float[Array, "n d"], grad: Float[Array, "n d"], ridge: float = 1e-3) -> Moments:
    """The Gaussian that explains both positions and gradients of a log-density.

    For a Gaussian target ∇log π(z) = −P (z − m), so M = P⁻¹ solves M C_g M = C_z with C_z, C_g the
    covariances of positions and gradients: *exactly*, for d + 1 points from anywhere. In general the solution
    (the geometric mean of C_z and C_g⁻¹) minimizes the Fisher divergence of N(m, M) to the target. The
    identity is added to both covariances with weight ``ridge``, so give z in coordinates where a unit matrix
    is a sensible guess.

    Args:
        z: Positions.
        grad: Gradients of the log-density there.
        ridge: Weight of the identity.

    Returns:
        Mean z̄ + M ḡ and the Cholesky factor of M.

    Source:
        Seyboldt, Carlson and Carpenter (2025), Preconditioning HMC by minimizing Fisher divergence.
    """
    n, d = z.shape
    eye = ridge * jnp.eye(d, dtype=z.dtype)
    centred_z, centred_g = z - z.mean(0), grad - grad.mean(0)
    cov_z = centred_z.T @ centred_z / n + eye
    cov_g = centred_g.T @ centred_g / n + eye
    value, vector = eigh(cov_g)
    root = jnp.sqrt(jnp.maximum(value, 1e-12))
    inner_value, inner_vector = eigh((root[:, None] * (vector.T @ cov_z @ vector)) * root)
    half = (vector / root) @ (inner_vector * jnp.maximum(inner_value, 1e-12) ** 0.25)
    covariance = half @ half.T
    tril = cholesky(covariance + 1e-6 * jnp.trace(covariance) / d * jnp.eye(d, dtype=z.dtype))
    return Moments(z.mean(0) + covariance @ grad.mean(0), tril)


def gaussian_path(path: Path, start: Moments) -> Path:
    """The same target with a Gaussian in the place of q.

    Args:
        path: The path whose `log_joint` is kept.
        start: The Gaussian to start from, frozen before the weighted run.

    Returns:
        A path from N(mean, scale scaleᵀ) to p(x, ·).
    """
    mean, tril = start
    d = mean.shape[0]
    whiten = solve_lower(tril, jnp.eye(d, dtype=tril.dtype))
    constant = -0.5 * d * jnp.log(2 * jnp.pi) - jnp.sum(jnp.log(jnp.diag(tril)))

    def log_prob(z: Array) -> Array:
        return constant - 0.5 * jnp.sum((whiten @ (z - mean)) ** 2)

    return Path(lambda key: mean + tril @ jax.random.normal(key, (d,), tril.dtype), log_prob, path.log_joint)


def equal_length(betas: Float[Array, "T"], spread: Float[Array, "T"], num: int) -> Float[Array, "{num}+1"]:
    """Temperatures at equal steps of ∫ sd_β(log p − log q) dβ, the length of the path.

    An annealed weight's variance is about Σ (Δβ)² Var_β, least for a given number of temperatures when every
    Δβ · sd_β is the same. A tenth of the length is spread evenly, against a pilot that saw too little.

    Args:
        betas: The pilot's temperatures.
        spread: Standard deviation of log p − log q at each, in nats.
        num: Increments wanted.

    Returns:
        β_0 = 0 < … < β_num = 1.

    Example:
        >>> equal_length(jnp.array([0.0, 0.5, 1.0]), jnp.ones(3), 4).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    length = 0.5 * (spread[1:] + spread[:-1]) * jnp.diff(betas)
    length = length / jnp.maximum(jnp.sum(length), 1e-30) + 0.1 * jnp.diff(betas)
    travelled = jnp.concatenate([jnp.zeros(1), jnp.cumsum(length)])
    found = jnp.interp(jnp.linspace(0.0, 1.0, num + 1), travelled / travelled[-1], betas)
    return found.at[0].set(0.0).at[-1].set(1.0)


class _Crowd(NamedTuple):
    """The pilot's chains and the step size they share."""

    points: Point
    momenta: Float[Array, "C d"]
    log_step: Scalar


def _walk(
    path: Path,
    crowd: _Crowd,
    betas: Float[Array, "S"],
    metric: Metric,
    *,
    persistence: Scalar,
    num_leapfrog: int,
    target: float,
    key: PRNGKey,
):
    """Move every chain once per entry of ``betas``, steering the step size towards the target acceptance."""
    count = crowd.momenta.shape[0]
    largest = jnp.log(_LARGEST_TURN / num_leapfrog)

    def body(crowd: _Crowd, step: tuple[Array, Array]):
        beta, key = step
        scale = metric.scale(beta)

        def one(point: Point, momentum: Array, key: Array):
            before, accept, after = jax.random.split(key, 3)
            moved = transition(
                path,
                point,
                refresh(momentum, persistence, key=before),
                beta,
                step_size=jnp.exp(crowd.log_step),
                scale=scale,
                num_leapfrog=num_leapfrog,
                key=accept,
            )
            return moved.point, refresh(moved.momentum, persistence, key=after), moved.acceptance

        points, momenta, acceptance = jax.vmap(one)(crowd.points, crowd.momenta, jax.random.split(key, count))
        rate = jnp.mean(acceptance)
        log_step = jnp.minimum(crowd.log_step + _GAIN * (rate - target), largest)
        return _Crowd(points, momenta, log_step), (points, crowd.log_step, rate)

    return jax.lax.scan(body, crowd, (betas, jax.random.split(key, betas.shape[0])))


def _smoothed(log_steps: Float[Array, "S"]) -> Float[Array, "S"]:
    """A centred moving average over nine temperatures."""
    wide = jnp.pad(log_steps, 4, mode="edge")
    return jnp.convolve(wide, jnp.full(9, 1.0 / 9.0), "valid")


def tune(
    path: Path,
    betas: Float[Array, "T"],
    *,
    num_leapfrog: int,
    key: PRNGKey,
    num_chains: int = 16,
    settle: int = 30,
    persistence: float = 0.0,
    target: float = 0.8,
) -> Tuned:
    """Learn the metric, the temperatures and the step sizes of an annealing run for one datum.

    1. Draws of q give its covariance. 2. ``num_chains`` chains walk from q up to β = 1 and stay for
    ``settle`` transitions; positions and gradients there give the posterior's covariance. 3. They walk back
    down with the metric that joins both, and the step size that holds the acceptance at ``target`` is
    recorded along the way (at most a quarter turn per trajectory, where a Gaussian forgets its start). 4.
    Temperatures are moved to equal thermodynamic length. It costs about ``num_chains · (2T + settle) ·
    num_leapfrog`` gradients.

    Args:
        path: q and p(x, ·) of one datum; no exact posterior draw enters.
        betas: The pilot's temperatures; the frozen run has as many.
        num_leapfrog: Leapfrog steps per transition, as in the weighted run.
        key: Randomness of the pilot alone.
        num_chains: Chains of the pilot.
        settle: Transitions at β = 1.
        persistence: Share of momentum kept between transitions.
        target: Acceptance to aim at.

    Returns:
        The frozen kernels and what was seen on the way.
    """
    keep = jnp.asarray(persistence, betas.dtype)
    draw, start, up, push, down = jax.random.split(key, 5)
    base = _moments_of_q(path, key=draw)
    d = base.mean.shape[0]
    points = jax.vmap(lambda key: evaluate(path, path.sample_q(key)))(jax.random.split(start, num_chains))
    crowd = _Crowd(points, jax.random.normal(push, (num_chains, d)), jnp.log(0.8 * d**-0.25))

    rising = jnp.concatenate([jnp.full(10, betas[1]), betas[1:-1], jnp.ones(settle)])
    options = {"persistence": keep, "num_leapfrog": num_leapfrog, "target": target}
    crowd, (seen, _, _) = _walk(path, crowd, rising, fixed_metric(base.scale_tril), key=up, **options)
    posterior = _moments_from(base, seen, settle)
    metric = metric_between(base.scale_tril, posterior.scale_tril)

    falling = jnp.concatenate([jnp.ones(10), betas[1:][::-1]])
    _, (back, log_steps, rates) = _walk(path, crowd, falling, metric, key=down, **options)
    spread = jnp.concatenate([_spread(points)[None], _spread(back)[10:][::-1]])
    log_steps = _smoothed(log_steps[10:][::-1])[:-1]
    moved = equal_length(betas, spread, betas.shape[0] - 1)
    steps = jnp.exp(jnp.interp(moved[1:-1], betas[1:-1], log_steps))
    return Tuned(Kernels(moved, steps, metric, keep), posterior, rates[10:][::-1][:-1], spread)


def _spread(points: Point) -> Array:
    """Standard deviation of log p − log q over the chains (last axis); impossible points do not count."""
    ratio, good = points.log_ratio, points.possible
    count = jnp.maximum(jnp.sum(good, -1), 1)
    mean = jnp.sum(jnp.where(good, ratio, 0.0), -1, keepdims=True) / count[..., None]
    return jnp.sqrt(jnp.sum(jnp.where(good, (ratio - mean) ** 2, 0.0), -1) / count)


def _moments_of_q(path: Path, *, key: PRNGKey) -> Moments:
    """Mean and scale of q from its own draws and gradients; exact for a Gaussian q."""
    d = jax.eval_shape(path.sample_q, key).shape[0]
    z = jax.vmap(path.sample_q)(jax.random.split(key, 4 * d + 16))
    grad = jax.vmap(lambda z: evaluate(path, z).grad_q)(z)
    centre, width = z.mean(0), jnp.maximum(z.std(0), 1e-12)
    unit = gaussian_moments((z - centre) / width, grad * width, ridge=1e-4)
    return Moments(centre + width * unit.mean, width[:, None] * unit.scale_tril)


def _moments_from(base: Moments, seen: Point, settle: int) -> Moments:
    """Mean and scale of the posterior from the last half of the chains' stay at β = 1, in q's coordinates."""
    take = max(settle // 2, 1)
    d = base.mean.shape[0]
    z, grad = seen.z[-take:].reshape(-1, d), seen.grad_p[-take:].reshape(-1, d)
    white = solve_lower(base.scale_tril, (z - base.mean).T).T
    unit = gaussian_moments(white, grad @ base.scale_tril)
    return Moments(base.mean + base.scale_tril @ unit.mean, base.scale_tril @ unit.scale_tril)
