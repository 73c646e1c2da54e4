"""Importance weights in log space, and sums that do not lose their small terms.

Everything here takes log-weights of shape ``(..., K)`` and works for weights that are exactly zero
(log-weight −∞). Nothing returns NaN unless it was given one.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jensen.typing import Array, Float


def log_mean_exp(log_w: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Log of the mean weight, log (1/K) Σ_k w_k.

    Args:
        log_w: Log-weights, in nats.
        axis: The axis of the K draws.

    Returns:
        The log of the mean, one axis fewer; −∞ where every weight is zero.

    Example:
        >>> float(log_mean_exp(jnp.log(jnp.array([1.0, 3.0])))) == float(jnp.log(2.0))
        True
    """
    return logsumexp(log_w, axis=axis) - jnp.log(float(log_w.shape[axis]))


def normalized(log_w: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Weights divided by their sum, w̃_k = w_k / Σ_j w_j.

    Args:
        log_w: Log-weights, in nats.
        axis: The axis of the K draws.

    Returns:
        Non-negative numbers that sum to 1 over ``axis``, or all zero where every weight is zero.

    Example:
        >>> normalized(jnp.zeros(4)).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    top = jnp.max(log_w, axis=axis, keepdims=True)
    w = jnp.exp(log_w - jnp.where(jnp.isneginf(top), 0.0, top))
    total = jnp.sum(w, axis=axis, keepdims=True)
    return w / jnp.where(total == 0, 1.0, total)


def effective_sample_size(log_w: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Kish's effective sample size, (Σ w)² / Σ w².

    Args:
        log_w: Log-weights, in nats.
        axis: The axis of the K draws.

    Returns:
        A number in [1, K]: K for equal weights, 1 when one weight holds everything; 0 when all are zero.

    Example:
        >>> float(effective_sample_size(jnp.zeros(8)))
        8.0
    """
    square = jnp.sum(normalized(log_w, axis) ** 2, axis=axis)
    return jnp.where(square == 0, 0.0, 1.0 / jnp.where(square == 0, 1.0, square))


def log_mean_exp_error(log_w: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Standard error of `log_mean_exp` by the delta method, sd(w) / (√K · mean(w)).

    It describes the noise of the estimate, not its bias: by Jensen's inequality log p̂ lies below log p
    by about half the square of this number.

    Args:
        log_w: Independent log-weights, in nats; K ≥ 2.
        axis: The axis of the K draws.

    Returns:
        The standard error, in nats; +∞ where every weight is zero.

    Example:
        >>> float(log_mean_exp_error(jnp.zeros(8)))
        0.0
    """
    count = log_w.shape[axis]
    size = effective_sample_size(log_w, axis)
    # Var(w)/mean² = (K/ESS − 1)·K/(K−1); dividing by K gives the squared error.
    relative = (count / jnp.where(size == 0, 1.0, size) - 1.0) / (count - 1)
    return jnp.where(size == 0, jnp.inf, jnp.sqrt(jnp.maximum(relative, 0.0)))


def standard_error(values: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Standard error of a mean, s / √N with the N − 1 divisor.

    Args:
        values: Independent values; N ≥ 2.
        axis: The axis of the N values.

    Returns:
        The standard error, in the unit of ``values``.

    Example:
        >>> float(standard_error(jnp.array([1.0, 3.0])))
        1.0
    """
    return jnp.std(values, axis=axis, ddof=1) / jnp.sqrt(float(values.shape[axis]))


class Compensated(NamedTuple):
    """A running sum and the rounding error it has left behind; a carry for `jax.lax.scan`.

    Attributes:
        sum: The rounded sum.
        error: What rounding has lost so far; ``sum + error`` is the better value.
    """

    sum: Float[Array, "..."]
    error: Float[Array, "..."]

    def add(self, term: Float[Array, "..."]) -> Compensated:
        """Add one finite term without losing its low bits (Knuth's two-sum)."""
        total = self.sum + term
        back = total - self.sum
        lost = (self.sum - (total - back)) + (term - back)
        return Compensated(total, self.error + lost)

    @property
    def value(self) -> Float[Array, "..."]:
        """The compensated sum."""
        return self.sum + self.error


def compensated(like: Float[Array, "..."]) -> Compensated:
    """An empty compensated sum of the shape and type of ``like``."""
    return Compensated(jnp.zeros_like(like), jnp.zeros_like(like))


def compensated_sum(values: Float[Array, "n ..."]) -> Float[Array, "..."]:
    """Sum over the first axis with an error that does not grow with n.

    Args:
        values: Finite numbers.

    Returns:
        Their sum, correct to about one rounding of the result.

    Example:
        >>> x = jnp.concatenate([jnp.array([1e8]), jnp.ones(1000), jnp.array([-1e8])])
        >>> float(compensated_sum(x))
        1000.0
    """
    total, _ = jax.lax.scan(lambda carry, x: (carry.add(x), None), compensated(values[0]), values)
    return total.value
