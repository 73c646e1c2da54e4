"""Independent gamma variables: latents that are positive."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma

from jensen.algorithms.gamma import excess, remainder
from jensen.dist.kl import register_kl
from jensen.dist.protocol import AbstractDensity, AbstractMoments, Reparameterized
from jensen.typing import Array, Float, PRNGKey, Scalar

LEAST_LOG = -80.0
"""Samples stay above e^−80, which float32 can still hold."""


class Gamma(AbstractDensity, AbstractMoments, Reparameterized):
    """d independent gamma variables, p(z) = bᵃ zᵃ⁻¹ e^(−bz) / Γ(a).

    A sample's gradient in a is implicit, through its distribution function: unbiased, and as quiet as a
    Gaussian's (Figurnov, Mohamed & Mnih 2018).

    Attributes:
        concentration: a.
        rate: b.
    """

    concentration: Float[Array, "*b d"]
    rate: Float[Array, "*b d"]

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """a/b."""
        return self.concentration / self.rate

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """a/b²."""
        return self.concentration / self.rate**2

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return the log-density, in nats; −∞ where an entry is not positive."""
        inside = z > 0
        some = jnp.where(inside, z, self.mean)
        a = self.concentration
        ratio = some / self.mean
        each = remainder(a) + jnp.log(a) - a * excess(ratio - 1, jnp.log(ratio)) - jnp.log(some)
        return jnp.where(inside, each, -jnp.inf).sum()

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw every entry."""
        log_z = jax.random.loggamma(key, self.concentration) - jnp.log(self.rate)
        z = jnp.exp(jnp.maximum(log_z, LEAST_LOG))
        return z, self.log_prob(z)


@register_kl(Gamma, Gamma)
def _gamma(q: Gamma, p: Gamma, z: Any) -> Scalar:
    """Sum a_p (r − 1 − log r) − (a_q − a_p)(log a_q − ψ(a_q)) + log a_q/a_p + R(a_q) − R(a_p).

    r is the ratio of the means, R the remainder of Stirling's formula: nothing large is left to cancel.
    """
    a, b = q.concentration, p.concentration
    ratio = q.mean / p.mean
    shape = jnp.log(a / b) + remainder(a) - remainder(b) - (a - b) * (jnp.log(a) - digamma(a))
    return (b * excess(ratio - 1, jnp.log(ratio)) + shape).sum()
