"""Expected whitened noises of a linear-Gaussian chain: the M-step's sums, and the gradient of log p(x).

ε_t is the unit noise behind z_{t+1}, ρ_t = x_t − C_t z_t the one behind x_t. Their posterior moments come
from the triangular roots of the filter, no covariances of z subtracted, so small noises keep their digits.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.kalman import (
    Chain,
    Filtered,
    Smoothed,
    apply,
    product,
    real_steps,
    solve_lower,
    solve_lower_t,
)
from jensen.algorithms.kalman_engines import ENGINES
from jensen.typing import Array, Float, Int, Scalar


class Noises(NamedTuple):
    """Posterior moments of the unit noises, zero where a step is padded.

    Attributes:
        first_mean: E[ε₀], the noise behind z_1.
        first_covariance: Cov[ε₀].
        state_mean: E[ε_t].
        state_covariance: Cov[ε_t].
        state_cross: Cov[ε_t, z_t].
        seen_mean: E[ρ_t].
        seen_cross: Cov[ρ_t, z_t].
    """

    first_mean: Float[Array, "n"]
    first_covariance: Float[Array, "n n"]
    state_mean: Float[Array, "t-1 n"]
    state_covariance: Float[Array, "t-1 n n"]
    state_cross: Float[Array, "t-1 n n"]
    seen_mean: Float[Array, "t d"]
    seen_cross: Float[Array, "t d n"]


def noises(
    chain: Chain, filtered: Filtered, smoothed: Smoothed, steps: Int[Array, ""] | None = None
) -> Noises:
    """Return the moments of the noises given all observations.

    Args:
        chain: The model with its observations.
        filtered: Its filter.
        smoothed: Its smoother.
        steps: Number of real steps; ``None`` for all.
    """
    t = len(chain.observation)
    real = jnp.arange(t) < real_steps(chain, steps)
    follows, wide = real[1:, None], real[1:, None, None]
    root, own_cross = filtered.next_root[:-1], filtered.cross_root[:-1]
    noise = jnp.broadcast_to(chain.transition_root, root.shape)
    # ε given z_{t+1} has the gain Jq (S⁺)⁻¹, and is uncorrelated with x_{1:t}
    pull = solve_lower(root, noise).mT
    known = _left(jnp.eye(root.shape[-1]), root, smoothed.covariance[1:])
    shift = solve_lower(root, (smoothed.mean[1:] - filtered.next_mean[:-1])[..., None])[..., 0]
    state_mean = apply(pull, shift)
    state_covariance = jnp.eye(root.shape[-1]) - product(product(pull, known), pull.mT)
    state_cross = -product(product(pull, known), own_cross.mT)
    first = solve_lower(chain.initial_root, (smoothed.mean[0] - chain.initial_mean)[:, None])[:, 0]
    inward = solve_lower(chain.initial_root, smoothed.covariance[0])
    c = jnp.broadcast_to(chain.emission, (t, *chain.emission.shape[-2:]))
    seen = chain.observation - apply(c, smoothed.mean)
    return Noises(
        jnp.where(real[0], first, 0.0),
        jnp.where(real[0], solve_lower(chain.initial_root, inward.T), 0.0),
        jnp.where(follows, state_mean, 0.0),
        jnp.where(wide, state_covariance, 0.0),
        jnp.where(wide, state_cross, 0.0),
        jnp.where(real[:, None], seen, 0.0),
        jnp.where(real[:, None, None], -product(c, smoothed.covariance), 0.0),
    )


def _left(
    eye: Array, root: Float[Array, "t n n"], covariance: Float[Array, "t n n"]
) -> Float[Array, "t n n"]:
    """Return I − S⁻¹ P S⁻ᵀ: how much of the predicted spread later observations took away."""
    half = solve_lower(root, covariance)
    return eye - solve_lower(root, half.mT)


def log_likelihood(chain: Chain, steps: Int[Array, ""] | None = None, engine: str = "serial") -> Scalar:
    """Return log p(x_{1:T}) without the constant −½ log 2π of each observed entry.

    Its derivative is the posterior mean of the complete log-density's (Fisher's identity): one smoother, no
    differentiation through the filter. First derivatives in reverse mode only.

    Args:
        chain: The model with its observations.
        steps: Number of real steps; ``None`` for all.
        engine: ``"serial"`` or ``"parallel"``.
    """
    return _log_likelihood(chain, steps, engine)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _log_likelihood(chain: Chain, steps: Int[Array, ""] | None, engine: str) -> Scalar:
    return ENGINES[engine].filter(chain, steps).log_likelihood


def _forward(chain: Chain, steps: Int[Array, ""] | None, engine: str) -> tuple[Scalar, tuple]:
    filtered = ENGINES[engine].filter(chain, steps)
    return filtered.log_likelihood, (chain, filtered, steps)


def _backward(engine: str, kept: tuple, cotangent: Scalar) -> tuple[Chain, None]:
    chain, filtered, steps = kept
    smoothed = ENGINES[engine].smooth(filtered, steps)
    e = noises(chain, filtered, smoothed, steps)
    mean = smoothed.mean
    to_state = jnp.einsum("ti,tj->tij", e.state_mean, mean[:-1]) + e.state_cross
    spread = jnp.einsum("ti,tj->tij", e.state_mean, e.state_mean) + e.state_covariance
    # padded steps have no noise at all: their excess is zero, not minus one
    real = jnp.arange(1, len(mean)) < real_steps(chain, steps)
    excess = spread - jnp.where(real[:, None, None], jnp.eye(spread.shape[-1]), 0.0)
    to_seen = jnp.einsum("td,tn->tdn", e.seen_mean, mean) + e.seen_cross
    first_real = jnp.where(real_steps(chain, steps) > 0, 1.0, 0.0)
    first = (
        jnp.outer(e.first_mean, e.first_mean) + e.first_covariance - first_real * jnp.eye(len(e.first_mean))
    )
    gradient = Chain(
        initial_mean=solve_lower_t(chain.initial_root, e.first_mean[:, None])[:, 0],
        initial_root=solve_lower_t(chain.initial_root, first),
        transition=_through(chain.transition_root, to_state, chain.transition.ndim),
        drift=_through(chain.transition_root, e.state_mean[..., None], 3)[..., 0],
        transition_root=_through(chain.transition_root, excess, chain.transition_root.ndim),
        emission=to_seen if chain.emission.ndim == 3 else to_seen.sum(0),
        observation=-e.seen_mean,
    )
    return jax.tree.map(lambda leaf: cotangent * leaf, gradient), None


def _through(root: Array, stack: Float[Array, "t n m"], ndim: int) -> Array:
    """Return √Q⁻ᵀ M for every step, summed over steps for a parameter they share."""
    if ndim == 2 and root.ndim == 2:
        return solve_lower_t(root, stack.sum(0))
    each = solve_lower_t(jnp.broadcast_to(root, (len(stack), *root.shape[-2:])), stack)
    return each if ndim == 3 else each.sum(0)


_log_likelihood.defvjp(_forward, _backward)
