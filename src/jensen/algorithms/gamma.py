"""Pieces of the gamma function's logarithm that stay accurate where the whole would cancel.

Differences of log Γ at large arguments lose in float32 every digit a log-density has. Laws of counts are
written instead as Stirling remainders and deviances, all of them small (Loader 2000, *Fast and accurate
computation of binomial probabilities*).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.typing import Array, Float, PRNGKey

_SERIES = 6.0
"""From here Stirling's series has all digits of float32."""

_PROPOSALS = 16
"""Each is accepted with probability 0.95 or more."""

_NEAR = 0.25
"""Up to here u − log(1 + u) is summed as a series."""


def remainder(n: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return n log n − n − log Γ(n + 1), the log-probability of n under a Poisson law of rate n; 0 at n = 0.

    Args:
        n: Numbers of at least zero, whole or not.

    Example:
        >>> remainder(jnp.asarray([0.0, 1.0])).tolist()
        [0.0, -1.0]
    """
    some = jnp.where(n > 0, n, 1.0)
    few = jnp.minimum(some, _SERIES)
    exact = few * jnp.log(few) - few - jax.lax.lgamma(few + 1)
    many = jnp.maximum(some, _SERIES)
    inverse = 1 / many
    square = inverse * inverse
    tail = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    series = -0.5 * (jnp.log(2 * jnp.pi) + jnp.log(many)) - tail
    return jnp.where(n > 0, jnp.where(some < _SERIES, exact, series), 0.0)


def excess(u: Float[Array, "*s"], log1p_u: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return u − log(1 + u), with all its digits also near zero.

    Args:
        u: Numbers above −1.
        log1p_u: log(1 + u), as accurate as the caller knows it; near zero it is not looked at.
    """
    near = jnp.abs(u) < _NEAR
    small = jnp.where(near, u, 0.0)
    s = small / (2 + small)  # log(1 + u) = 2 artanh s
    square = s * s
    series = small * s - 2 * s * square * (1 / 3 + square * (1 / 5 + square * (1 / 7 + square / 9)))
    return jnp.where(near, series, u - log1p_u)


def log_half_ratio(a: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return log Γ(a + ½) − log Γ(a) − ½ log a, which goes to zero like −1/(8a).

    Args:
        a: Positive numbers.
    """
    few, many = jnp.minimum(a, _SERIES), jnp.maximum(a, _SERIES)
    exact = jax.lax.lgamma(few + 0.5) - jax.lax.lgamma(few) - 0.5 * jnp.log(few)
    inverse = 1 / many
    square = inverse * inverse
    series = -inverse * (1 / 8 - square * (1 / 192 - square * (1 / 640 - square * 17 / 14336)))
    return jnp.where(a < _SERIES, exact, series)


def divergence_rest(b: Float[Array, "*s"], a: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return log Γ(b) − log Γ(a) − (b − a) ψ(a), less b log(b/a) − b + a, which is nearly all of it.

    What is taken off is large and often cancels by hand: in KL divergences of Dirichlet and Wishart laws, its
    sum does. What is left grows like the logarithm of a and b.

    Args:
        b: Positive numbers.
        a: Positive numbers.
    """
    few, many = jnp.minimum(a, _SERIES), jnp.maximum(a, _SERIES)
    square = 1 / (many * many)
    exact = jax.lax.digamma(few) - jnp.log(few) + 0.5 / few
    series = -square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    slope = jnp.where(a < _SERIES, exact, series)  # of Stirling's remainder
    away = (b - a) / a
    return 0.5 * away - jnp.log(b / a) + remainder(a) - remainder(b) - (b - a) * slope


def draw_log_gamma(shape: Float[Array, "*s"], *, key: PRNGKey) -> Float[Array, "*s"]:
    """Draw the logarithm of Gamma(shape, 1) variables: it stays finite however small the shape.

    Of 16 proposals made at once the first accepted counts (all are refused once in 10²⁰ times): there is no
    loop to wait for under ``jax.vmap``. Not differentiable in ``shape``.

    Args:
        shape: Positive numbers.
        key: Randomness.

    References:
        Marsaglia & Tsang 2000, *A simple method for generating gamma variables*.
    """
    to_normal, to_uniform, to_small = jax.random.split(key, 3)
    small = shape < 1
    d = jnp.where(small, shape + 1, shape) - 1 / 3
    tries = (_PROPOSALS, *shape.shape)
    x = jax.random.normal(to_normal, tries, shape.dtype)
    v = (1 + x / jnp.sqrt(9 * d)) ** 3
    log_v = jnp.log(jnp.where(v > 0, v, 1.0))
    log_u = jnp.log(jax.random.uniform(to_uniform, tries, shape.dtype))
    accepted = (v > 0) & (log_u < 0.5 * x**2 + d - d * v + d * log_v)
    drawn = jnp.take_along_axis(log_v, accepted.argmax(0)[None], 0)[0] + jnp.log(d)
    tiny = jnp.finfo(shape.dtype).tiny
    power = jnp.log(jax.random.uniform(to_small, shape.shape, shape.dtype, minval=tiny)) / shape
    return jnp.where(small, drawn + power, drawn)
