"""Gamma laws: latents that are positive."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp

from jensen import dist
from jensen.errors import at_least
from jensen.families.base import AbstractFamily, bounded_exp
from jensen.typing import Array, Float

LEAST = 0.2
"""Smallest concentration: below, float32 loses samples to zero."""


class Gamma(AbstractFamily):
    """Independent gamma variables: d log-means, then d numbers for concentrations above 0.2.

    For latents that are rates, intensities or loadings: positive, skewed, many of them near zero. Its partner
    is ``models.priors.Gamma``.

    Args:
        latent_dim: Length d of z.

    References:
        Figurnov, Mohamed & Mnih 2018 (the gradient through a sample); Ranganath et al. 2015 (sparse gamma
        latents).

    Example:
        >>> family = Gamma(3)
        >>> family(family.initial_params()).mean.tolist()
        [1.0, 1.0, 1.0]
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Gamma
    latent_dim: int

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim)

    @property
    def num_params(self) -> int:
        """2d."""
        return 2 * self.latent_dim

    def __call__(self, params: Float[Array, "p"]) -> dist.Gamma:
        """Split into means and concentrations."""
        mean, raw = jnp.split(params, 2)
        concentration = LEAST + (1 - LEAST) * bounded_exp(raw)
        return dist.Gamma(concentration, concentration / bounded_exp(mean))

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: mean and concentration one, the exponential law."""
        return jnp.zeros(self.num_params)
