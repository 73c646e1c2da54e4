"""Gaussian priors: standard, and with learned mean and scale."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from jensen import dist
from jensen.errors import at_least
from jensen.families import bounded_exp
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float


class StandardNormal(AbstractPrior):
    """N(0, I) in d dimensions.

    Args:
        latent_dim: d.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    latent_dim: int

    def __check_init__(self):
        at_least("prior", 1, latent_dim=self.latent_dim)

    def __call__(self, cond: Any) -> dist.DiagGaussian:
        """Return N(0, I)."""
        return dist.DiagGaussian(jnp.zeros(self.latent_dim), jnp.ones(self.latent_dim))

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z


class LearnedGaussian(AbstractPrior):
    """N(loc, diag(scale²)) with learned location and log-scale.

    Args:
        latent_dim: d.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    latent_dim: int
    loc: Float[Array, "d"]
    log_scale: Float[Array, "d"]

    def __init__(self, latent_dim: int):
        at_least("prior", 1, latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.loc = jnp.zeros(latent_dim)
        self.log_scale = jnp.zeros(latent_dim)

    def __call__(self, cond: Any) -> dist.DiagGaussian:
        """Return the learned law."""
        return dist.DiagGaussian(self.loc, bounded_exp(self.log_scale))

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
