"""Pareto-smoothed importance sampling: is the tail of the weights light enough to be averaged?

The largest weights are fitted by a generalized Pareto distribution. Its shape k̂ says how many moments the
weights have (finite variance for k < 1/2); k̂ < 0.7 is the usual licence to trust the average. k̂ is a
heuristic: it sees only the weights that were drawn, and it grows with the dimension of z.

Source:
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
    Zhang and Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax.nn import softmax
from jax.scipy.special import logsumexp

from jensen.typing import Array, Float, Scalar

_SMALLEST_TAIL = 5
_FLATTEST = -1.0
_RESOLUTION = 1e-6


def tail_length(num_draws: int) -> int:
    """How many of the largest weights make the tail: ⌈min(S/5, 3√S)⌉.

    Example:
        >>> tail_length(100), tail_length(10_000)
        (20, 300)
    """
    return math.ceil(min(0.2 * num_draws, 3.0 * math.sqrt(num_draws)))


def fit_generalized_pareto(exceedances: Float[Array, "n"]) -> tuple[Scalar, Scalar]:
    """Shape and scale of a generalized Pareto, by the Zhang–Stephens profile posterior mean.

    The density is (1/σ)(1 + k x/σ)^{−1/k−1} for x > 0. With b = −k/σ the likelihood has the profile
    ℓ(b) = n(log(−b/k(b)) − k(b) − 1), k(b) = mean log(1 − b x); b̂ averages a quantile grid under it. The
    shape is then drawn towards 1/2 with the force of ten observations.

    Args:
        exceedances: Non-negative, sorted ascending, not all zero; n ≥ 5.

    Returns:
        (k̂, σ̂): the regularized shape and the scale, in the unit of the exceedances.
    """
    n = exceedances.shape[0]
    num_grid = 30 + int(math.sqrt(n))
    quartile = jnp.maximum(exceedances[int(n / 4 + 0.5) - 1], 1e-30 * exceedances[-1])
    grid = 1.0 - jnp.sqrt(num_grid / (jnp.arange(1, num_grid + 1) - 0.5))
    b = 1.0 / exceedances[-1] + grid / (3.0 * quartile)
    b = jnp.where(jnp.abs(b) * exceedances[-1] < 1e-6, 1e-6 / exceedances[-1], b)  # k(0) is 0/0
    k = jnp.mean(jnp.log1p(-b[:, None] * exceedances), axis=1)
    profile = n * (jnp.log(-b / k) - k - 1.0)
    b_hat = jnp.sum(b * softmax(profile))
    k_hat = jnp.mean(jnp.log1p(-b_hat * exceedances))
    return (n * k_hat + 5.0) / (n + 10.0), -k_hat / b_hat


def rounding(log_p: Float[Array, "S"]) -> Scalar:
    """Return the spread that rounding may give to equal log-weights, differences from log p: 16 ε |log p|.

    Args:
        log_p: Log-densities as they were computed, in nats. Their median size counts: a draw far out, whose
            weight is nothing, does not blur the others.

    Returns:
        The `resolution` for `psis`, in nats; at most 1, since a wider tail may be a heavy one.

    Example:
        >>> float(rounding(jnp.full(10, -4000.0))) < 0.01
        True
    """
    size = jnp.maximum(jnp.median(jnp.abs(log_p)), 1.0)
    return jnp.minimum(16.0 * jnp.finfo(log_p.dtype).eps * size, 1.0)


def psis(
    log_w: Float[Array, "S"], *, resolution: float | Scalar = _RESOLUTION
) -> tuple[Float[Array, "S"], Scalar]:
    """Replace the largest weights by the quantiles of a generalized Pareto fitted to them.

    Args:
        log_w: Log-weights of one datum, in nats; −∞ is a zero weight.
        resolution: Below this spread, in nats, the weights of a tail count as equal; see `rounding`.

    Returns:
        The smoothed log-weights, normalized (their exponentials sum to 1), and k̂. Fewer than five weights in
        the tail, all weights zero, or any NaN: the weights are only normalized and k̂ = +∞. A tail of equal
        weights is as light as can be: k̂ = −1.

    Example:
        >>> import jax
        >>> log_w = jax.random.exponential(jax.random.key(0), (4000,)) * 0.3     # w has Pareto tail 0.3
        >>> smoothed, k = psis(log_w)
        >>> 0.2 < float(k) < 0.4
        True
    """
    num_draws, tail = log_w.shape[0], tail_length(log_w.shape[0])
    top = jnp.max(log_w)
    shifted = log_w - jnp.where(jnp.isfinite(top), top, 0.0)
    if tail < _SMALLEST_TAIL:
        return shifted - logsumexp(shifted), jnp.asarray(jnp.inf, log_w.dtype)

    order = jnp.argsort(shifted)
    ordered = shifted[order]
    # A cutoff among zero weights would put the whole fit at the origin.
    cutoff = jnp.exp(jnp.maximum(ordered[num_draws - tail - 1], -80.0))
    exceedances = jnp.maximum(jnp.exp(ordered[-tail:]) - cutoff, 0.0)
    flat = ~(exceedances[-1] > -jnp.expm1(-jnp.asarray(resolution)))
    safe = jnp.where(flat, jnp.arange(1.0, tail + 1.0), exceedances)
    k, sigma = fit_generalized_pareto(safe)

    level = (jnp.arange(tail) + 0.5) / tail
    near_zero = jnp.abs(k) < 1e-4
    k_safe = jnp.where(near_zero, 1.0, k)
    quantile = jnp.where(near_zero, -jnp.log1p(-level), jnp.expm1(-k_safe * jnp.log1p(-level)) / k_safe)
    fitted = jnp.minimum(jnp.log(cutoff + sigma * quantile), 0.0)  # never above the largest raw weight

    usable = jnp.isfinite(top) & jnp.isfinite(k) & ~flat
    smoothed = shifted.at[order[-tail:]].set(jnp.where(usable, fitted, ordered[-tail:]))
    k = jnp.where(flat & jnp.isfinite(top), _FLATTEST, jnp.where(usable, k, jnp.inf))
    return smoothed - logsumexp(smoothed), k.astype(log_w.dtype)


def pareto_k(log_w: Float[Array, "S"], *, resolution: float | Scalar = _RESOLUTION) -> Scalar:
    """The shape k̂ of the weights' tail: below 0.5 good, below 0.7 usable, from 1 on the mean may not exist.

    Args:
        log_w: Log-weights of one datum, in nats.
        resolution: Below this spread, in nats, the weights of a tail count as equal.

    Returns:
        k̂, as `psis` gives it.

    Example:
        >>> float(pareto_k(jnp.zeros(100)))
        -1.0
    """
    return psis(log_w, resolution=resolution)[1]
