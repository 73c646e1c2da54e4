"""A learned mixture of Gaussians."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.errors import at_least, check_key
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float, PRNGKey

_SCALE = 0.7
"""Of components at the start; their centres take up the rest of a unit variance."""


class MixtureOfGaussians(AbstractPrior):
    """p(z) = Σₖ πₖ N(z; locₖ, diag scaleₖ²), everything learned; it starts spread like the standard normal.

    There is no closed-form KL to it, so bounds take the sampled one.

    Args:
        latent_dim: d.
        num_components: K.
        key: Randomness of the centres.

    Raises:
        InputError: If a number is not positive.

    References:
        Dilokthanakul et al. 2016; Jiang et al. 2017.

    Example:
        >>> import jax
        >>> prior = MixtureOfGaussians(2, 5, key=jax.random.key(0))
        >>> prior(None).params.shape
        (5, 4)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Mixture
    latent_dim: int
    logits: Float[Array, "k"]
    params: Float[Array, "k p"]

    def __init__(self, latent_dim: int, num_components: int, *, key: PRNGKey):
        check_key(key)
        at_least("prior", 1, latent_dim=latent_dim, num_components=num_components)
        centres = jax.random.normal(key, (num_components, latent_dim)) * jnp.sqrt(1 - _SCALE**2)
        scales = jnp.full((num_components, latent_dim), jnp.log(_SCALE))
        self.latent_dim = latent_dim
        self.logits = jnp.zeros(num_components)
        self.params = jnp.concatenate([centres, scales], axis=1)

    def __call__(self, cond: Any) -> dist.Mixture:
        """Return the learned mixture."""
        return dist.Mixture(self.logits, self.params, families.DiagGaussian(self.latent_dim))

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
