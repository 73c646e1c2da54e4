"""A standard normal carried through an invertible map."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.dist.bijections import AbstractBijection, Autoregressive
from jensen.dist.protocol import (
    AbstractDensity,
    AbstractDistribution,
    AbstractTransport,
    Reparameterized,
)
from jensen.typing import Array, Float, PRNGKey, Scalar


class Flow(AbstractTransport, Reparameterized):
    """The law of z = f(u), u standard normal: log q(z) = log N(u; 0, I) − log |det df/du|.

    A draw costs one pass and knows its own density; the density elsewhere costs the inverse of f.

    Args:
        bijection: f.
        dim: Length of z.

    Example:
        >>> import jax.numpy as jnp
        >>> from jensen.dist import Affine
        >>> q = Flow(Affine(jnp.zeros(2), jnp.ones(2)), 2)
        >>> float(q.log_prob(jnp.zeros(2))).__round__(4)
        -1.8379
    """

    bijection: AbstractBijection
    dim: int = eqx.field(static=True)

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return the log-density at any z, in nats."""
        u, log_det = self.bijection.inverse(z)
        return _standard(u) - log_det

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw u and carry it through; the log-density comes on the way."""
        u = self.noise(key=key)
        z, log_det = self.bijection.forward(u)
        return z, _standard(u) - log_det

    def noise(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw u."""
        return jax.random.normal(key, (self.dim,))

    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return f(u)."""
        return self.bijection.forward(noise)[0]


def scored_in_one_pass(law: AbstractDistribution) -> bool:
    """Whether a law's log-density at any z is known, and takes no pass for each coordinate."""
    parts = jax.tree.leaves(law, is_leaf=lambda part: isinstance(part, Autoregressive))
    return isinstance(law, AbstractDensity) and not any(isinstance(part, Autoregressive) for part in parts)


def _standard(u: Float[Array, "d"]) -> Scalar:
    return -0.5 * jnp.sum(u**2) - 0.5 * len(u) * jnp.log(2 * jnp.pi)
