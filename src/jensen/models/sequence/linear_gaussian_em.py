"""The E-step of linear-Gaussian models: sums over the steps of one sequence."""

from __future__ import annotations

import jax.numpy as jnp

from jensen.algorithms import kalman
from jensen.algorithms.kalman_moments import noises
from jensen.typing import Array, Bool, Float, Int


def expected_sums(
    chain: kalman.Chain,
    filtered: kalman.Filtered,
    smoothed: kalman.Smoothed,
    u: Float[Array, "t u"],
    to_emission: int,
    seen: Bool[Array, "t d"],
    steps: Int[Array, ""] | None,
) -> dict[str, dict[str, Array]]:
    """Return sums of the whitened noises' moments and of the regressors (z, u, 1) behind them.

    Args:
        chain: The model with its observations.
        filtered: Its filter.
        smoothed: Its smoother.
        u: Inputs.
        to_emission: How many of them reach x.
        seen: Observed entries of the real steps.
        steps: Number of real steps.
    """
    e = noises(chain, filtered, smoothed, steps)
    t = len(smoothed.mean)
    real = jnp.arange(t) < kalman.real_steps(chain, steps)
    ones = jnp.ones((t, 1))
    to_z = jnp.concatenate([smoothed.mean, u, ones], 1)
    to_x = jnp.concatenate([smoothed.mean, u[:, :to_emission], ones], 1)
    follows = real[1:].astype(u.dtype)
    dynamics = {
        "gram": _spread(
            to_z[:-1].T @ (follows[:, None] * to_z[:-1]), _sum(smoothed.covariance[:-1], follows)
        ),
        "cross": _beside(e.state_mean.T @ to_z[:-1], e.state_cross.sum(0)),
        "square": e.state_mean.T @ e.state_mean + e.state_covariance.sum(0),
        "count": follows.sum(),
    }
    residual = jnp.where(seen, e.seen_mean, 0.0)
    emission = {
        "gram": _grams(to_x, smoothed.covariance, seen, real, chain.emission.ndim == 3),
        "cross": _beside(residual.T @ to_x, e.seen_cross.sum(0)),
        "square": (residual**2).sum(0) - (e.seen_cross * chain.emission).sum((0, 2)),
        "count": seen.sum(0).astype(u.dtype),
    }
    initial = {
        "mean": e.first_mean,
        "square": jnp.outer(e.first_mean, e.first_mean) + e.first_covariance,
        "count": real[0].astype(u.dtype),
    }
    return {"initial": initial, "dynamics": dynamics, "emission": emission}


def _grams(
    regressors: Float[Array, "t p"],
    covariance: Float[Array, "t n n"],
    seen: Array,
    real: Array,
    by_column: bool,
) -> Float[Array, "*d p p"]:
    """Return Σ E[ζ ζᵀ] over real steps, or for every column over the steps where it was observed."""
    if not by_column:
        weight = real.astype(regressors.dtype)
        return _spread(regressors.T @ (weight[:, None] * regressors), _sum(covariance, weight))
    weight = seen.astype(regressors.dtype)
    t, p = regressors.shape
    squares = (regressors[:, :, None] * regressors[:, None, :]).reshape(t, p * p)
    n = covariance.shape[-1]
    spread = (weight.T @ covariance.reshape(t, n * n)).reshape(-1, n, n)
    return _spread((weight.T @ squares).reshape(-1, p, p), spread)


def _sum(covariance: Float[Array, "t n n"], weight: Float[Array, "t"]) -> Float[Array, "n n"]:
    return (weight[:, None, None] * covariance).sum(0)


def _spread(gram: Float[Array, "*d p p"], covariance: Float[Array, "*d n n"]) -> Float[Array, "*d p p"]:
    n = covariance.shape[-1]
    return gram.at[..., :n, :n].add(covariance)


def _beside(cross: Float[Array, "k p"], covariance: Float[Array, "k n"]) -> Float[Array, "k p"]:
    return cross.at[:, : covariance.shape[1]].add(covariance)
