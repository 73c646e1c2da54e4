"""A gamma prior: latents that are positive, and sparse if one wants."""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp

from jensen import dist
from jensen.errors import InputError, at_least, positive
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float


class Gamma(AbstractPrior):
    """d independent gamma variables of one concentration a and rate b; not trained.

    Below a = 1 the density peaks at zero, and few latents of many are large at once. For one that is trained,
    ``priors.Learned(families.Gamma(d))``.

    Args:
        latent_dim: d.
        concentration: a, at least 0.2.
        rate: b; the mean is a/b.

    Raises:
        InputError: If a number is not positive, or the concentration below 0.2.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Gamma
    latent_dim: int
    concentration: float = 1.0
    rate: float = 1.0

    def __check_init__(self):
        at_least("prior", 1, latent_dim=self.latent_dim)
        positive("prior", concentration=self.concentration, rate=self.rate)
        if self.concentration < 0.2:
            raise InputError(
                f"prior: concentration is {self.concentration}; below 0.2 float32 loses a gamma draw to "
                "zero: give at least 0.2"
            )

    def __call__(self, cond: Any) -> dist.Gamma:
        """Return the law."""
        return dist.Gamma(jnp.full(self.latent_dim, self.concentration), jnp.full(self.latent_dim, self.rate))

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
