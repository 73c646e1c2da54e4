"""Laws of counts whose spread is learned: of a row of counts, and of a row of codes 0..L−1."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.algorithms.gamma import excess, remainder
from jensen.dist.levels import likeliest_level
from jensen.dist.observation import AbstractObservation
from jensen.typing import Array, Float, PRNGKey


def negative_binomial_log_prob(
    x: Float[Array, "..."], log_mean: Float[Array, "..."], log_concentration: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return log NB(x; μ, r), of variance μ + μ²/r, in nats; large counts and large r keep their digits.

    With n = x + r and p = r/(r + μ) it is the saddle-point form
    −log(1 + x/r) + R(r) + R(x) − R(n) − r log(r/np) − x log(x/nq), R being the Stirling remainder.

    Args:
        x: Counts, as floats.
        log_mean: log μ.
        log_concentration: log r.
    """
    mean, r = jnp.exp(log_mean), jnp.exp(log_concentration)
    some = jnp.where(x > 0, x, 1.0)
    off = x - mean
    share = jax.nn.sigmoid(log_concentration - log_mean)  # r/(r + μ)
    u, v = off / (r + mean), -off * share / some  # relative errors of the two expected parts
    log_u = _log1p(u, jnp.log((r + x) / (r + mean)))
    log_v = _log1p(v, jnp.log1p(r / some) - jax.nn.softplus(log_concentration - log_mean))
    # r u + x v = 0: far from the mean the linear terms are left out of both
    near = (jnp.abs(u) < 0.25) & (jnp.abs(v) < 0.25)
    close = r * excess(u, log_u) + some * excess(v, log_v)
    deviance = jnp.where(near, close, -r * log_u - some * log_v)
    spread = remainder(r) + remainder(x) - remainder(x + r)
    positive = spread - jax.nn.softplus(jnp.log(some) - log_concentration) - deviance
    none = -r * jax.nn.softplus(log_mean - log_concentration)
    return jnp.where(x > 0, positive, none)


def _log1p(u: Float[Array, "..."], otherwise: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log(1 + u), taken from elsewhere where 1 + u has lost digits."""
    return jnp.where(u > -0.5, jnp.log1p(jnp.maximum(u, -0.5)), otherwise)


def beta_binomial_log_prob(
    x: Float[Array, "..."], n: Float[Array, "..."], logit: Float[Array, "..."], log_total: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Return log of the beta-binomial probability of x out of n, in nats.

    Two negative binomial counts of one success probability, given their sum: each has many digits, where
    differences of log B(α, β) have few.

    Args:
        x: Numbers of successes 0..n, as floats.
        n: Numbers of trials.
        logit: Log-odds of the mean share m = α/(α + β).
        log_total: log(α + β).
    """
    log_m, log_rest = jax.nn.log_sigmoid(logit), jax.nn.log_sigmoid(-logit)
    log_n = jnp.log(n)
    return (
        negative_binomial_log_prob(x, log_n + log_m, log_total + log_m)
        + negative_binomial_log_prob(n - x, log_n + log_rest, log_total + log_rest)
        - negative_binomial_log_prob(n, log_n, log_total)
    )


class NegativeBinomialRow(AbstractObservation):
    """Counts of mean μ and variance μ + μ²/r: Poisson counts whose rates are Gamma(r) about μ.

    Attributes:
        log_mean: log μ.
        log_concentration: log r; the Poisson law as r grows.
    """

    log_mean: Float[Array, "*b d"]
    log_concentration: Float[Array, "*b d"]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return log Γ(x + r) − log Γ(r) − log x! + r log(r/(r + μ)) + x log(μ/(r + μ))."""
        return negative_binomial_log_prob(x, self.log_mean, self.log_concentration)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """μ."""
        return jnp.exp(self.log_mean)

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The largest whole number not above μ(r − 1)/r, and 0 for r ≤ 1."""
        peak = jnp.exp(self.log_mean) * -jnp.expm1(-self.log_concentration)
        return jnp.floor(jnp.maximum(peak, 0.0))

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw rates, then counts, as floats."""
        to_rate, to_count = jax.random.split(key)
        r = jnp.exp(self.log_concentration)
        # in logs: a gamma draw of small r underflows
        log_rate = jax.random.loggamma(to_rate, r) + self.log_mean - self.log_concentration
        return jax.random.poisson(to_count, jnp.exp(log_rate)).astype(self.log_mean.dtype)


class BetaBinomialRow(AbstractObservation):
    """Codes 0..L−1: successes in L − 1 trials, of a probability that is Beta(α, β).

    Attributes:
        logits: Log-odds of the mean share m = α/(α + β).
        log_total: log(α + β); the binomial law as it grows, below log 2 hollow in the middle.
        levels: L.
    """

    logits: Float[Array, "*b d"]
    log_total: Float[Array, "*b d"]
    levels: int = eqx.field(static=True)

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return log C(n, x) + log B(x + α, n − x + β) − log B(α, β) with n = L − 1."""
        return beta_binomial_log_prob(x, jnp.full_like(x, self.levels - 1), self.logits, self.log_total)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """(L − 1) m."""
        return (self.levels - 1) * jax.nn.sigmoid(self.logits)

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The most probable code."""
        return likeliest_level(self._table())

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw codes, as floats."""
        return jax.random.categorical(key, self._table()).astype(self.logits.dtype)

    def _table(self) -> Float[Array, "*b d l"]:
        codes = jnp.arange(self.levels, dtype=self.logits.dtype)
        n = jnp.full_like(codes, self.levels - 1)
        return beta_binomial_log_prob(codes, n, self.logits[..., None], self.log_total[..., None])
