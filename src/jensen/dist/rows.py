"""Two more laws of one observed row: counts, and a Gaussian with correlations."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.algorithms.gamma import excess, remainder
from jensen.algorithms.linalg import solve_lower
from jensen.dist.observation import AbstractObservation
from jensen.typing import Array, Float, PRNGKey


def poisson_log_prob(x: Float[Array, "..."], log_rate: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log Poisson(x; λ) in nats, as a deviance and a remainder so that large counts keep their digits.

    Args:
        x: Counts, as floats.
        log_rate: log λ.
    """
    rate = jnp.exp(log_rate)
    some = jnp.where(x > 0, x, 1.0)
    # x log(x/λ) − (x − λ): its parts are nearly equal where x is near λ
    off = (rate - some) / some
    near = jnp.abs(off) < 0.25
    close = some * excess(jnp.where(near, off, 0.0), jnp.zeros_like(off))
    far = some * (jnp.log(some) - log_rate) - some + rate
    return jnp.where(x > 0, remainder(x) - jnp.where(near, close, far), -rate)


class PoissonRow(AbstractObservation):
    """Counts with the given log-rates."""

    log_rate: Float[Array, "*b d"]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return x log λ − λ − log x!."""
        return poisson_log_prob(x, self.log_rate)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The rates λ."""
        return jnp.exp(self.log_rate)

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The largest whole number not above λ."""
        return jnp.floor(jnp.exp(self.log_rate))

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw counts, as floats."""
        return jax.random.poisson(key, jnp.exp(self.log_rate)).astype(self.log_rate.dtype)


class JointGaussianRow(AbstractObservation):
    """A row N(loc, L Lᵀ). Its entries are not independent: missing ones are integrated out by the model.

    Attributes:
        loc: The mean.
        tril: L, lower triangular.
    """

    loc: Float[Array, "*b d"]
    tril: Float[Array, "*b d d"]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the log-density of every entry given those before it; they sum to that of the row."""
        y = solve_lower(self.tril, (x - self.loc)[:, None])[:, 0]
        return -0.5 * y**2 - jnp.log(jnp.diagonal(self.tril)) - 0.5 * jnp.log(2 * jnp.pi)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The location."""
        return self.loc

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The location."""
        return self.loc

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw a row."""
        return self.loc + self.tril @ jax.random.normal(key, self.loc.shape, self.loc.dtype)
