"""p(y | x) as a sum of laws given z: exact where z can be summed over, otherwise over draws of z."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp, ndtr

from jensen.core import HasObservation
from jensen.dist import AbstractObservation, Categorical, Empty, GaussianRow, JointGaussianRow
from jensen.typing import Array, Float, PRNGKey

BISECTIONS = 50
"""Halvings of the interval in which a quantile lies."""

REACH = 9.0
"""Standard deviations about each mean within which it is looked for."""

_HALF_LOG_2PI = 0.9189385332046727


class Mixture(eqx.Module):
    """Laws of y given each of several z, and how much each counts.

    Attributes:
        weights: They sum to one.
        laws: One law of a row a z, stacked on a leading axis.
    """

    weights: Float[Array, "z"]
    laws: AbstractObservation

    @property
    def means(self) -> Float[Array, "z d *categories"]:
        """E[y | z, x]."""
        return self.laws.mean

    @property
    def mean(self) -> Float[Array, "d *categories"]:
        """E[y | x]."""
        return jnp.tensordot(self.weights, self.means, axes=1)

    @property
    def scales(self) -> Float[Array, "z d"] | None:
        """Standard deviation of each entry given z, for Gaussian laws; ``None`` for others."""
        if isinstance(self.laws, GaussianRow):
            return jnp.broadcast_to(self.laws.scale, self.laws.loc.shape)
        if isinstance(self.laws, JointGaussianRow):
            return jnp.sqrt((self.laws.tril**2).sum(-1))
        return None

    def std(self, scales: Float[Array, "z d"]) -> Float[Array, "d"]:
        """Return the standard deviation of every entry: noise, and what z moves."""
        away = self.means - self.mean
        return jnp.sqrt(self.weights @ (scales**2 + away**2))

    def quantiles(self, scales: Float[Array, "z d"], levels: Float[Array, "l"]) -> Float[Array, "l d"]:
        """Return where the distribution function of every entry reaches the levels, by bisection."""
        means, level = self.means, levels[:, None]
        low = jnp.broadcast_to((means - REACH * scales).min(0), (len(levels), means.shape[1]))
        high = jnp.broadcast_to((means + REACH * scales).max(0), low.shape)

        def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            below = jnp.tensordot(self.weights, ndtr((middle - means[:, None]) / scales[:, None]), axes=1)
            return jnp.where(below < level, middle, ends[0]), jnp.where(below < level, ends[1], middle)

        low, high = jax.lax.fori_loop(0, BISECTIONS, halve, (low, high))
        return 0.5 * (low + high)

    def log_density(self, values: Float[Array, "g"], column: int) -> Float[Array, "g"]:
        """Return the log-density of one entry at each of several values, in nats."""
        if (scales := self.scales) is not None:
            standard = (values - self.means[:, column, None]) / scales[:, column, None]
            each = -0.5 * standard**2 - jnp.log(scales[:, column, None]) - _HALF_LOG_2PI
        else:
            dim = self.means.shape[1]

            def at(law: AbstractObservation, value: Array) -> Array:
                return law.log_prob_entries(jnp.full(dim, value))[column]

            each = jax.vmap(lambda law: jax.vmap(lambda value: at(law, value))(values))(self.laws)
        return logsumexp(each, axis=0, b=self.weights[:, None])


def given_latents(model: HasObservation, cond: Any, num: int, *, key: PRNGKey) -> Mixture:
    """Return p(y | x) as a mixture over z.

    No latent is one law; a category is summed over; of any other z, ``num`` are drawn from p(z | x), and each
    counts the same.

    Args:
        model: The model.
        cond: x, one condition.
        num: Draws of z where they are needed.
        key: Their randomness.
    """
    prior: Any = model.prior_of(cond)
    if isinstance(prior, Empty):
        weights, z = jnp.ones(1), jnp.zeros((1, 0))
    elif isinstance(prior, Categorical):
        weights, z = prior.probs, jnp.arange(prior.support_size)
    else:
        weights = jnp.full(num, 1.0 / num)
        z = jax.vmap(lambda k: prior.sample_and_log_prob(key=k)[0])(jax.random.split(key, num))
    return Mixture(weights, jax.vmap(lambda each: model.likelihood(each, cond))(z))
