"""Gaussian families: diagonal, low-rank plus diagonal, full covariance."""

from __future__ import annotations

from typing import ClassVar

import jax.numpy as jnp
import numpy as np

from jensen import dist
from jensen.errors import at_least
from jensen.families.base import AbstractFamily, bounded_exp
from jensen.typing import Array, Float


class DiagGaussian(AbstractFamily):
    """Independent Gaussians: d means, then d log-scales.

    Args:
        latent_dim: Length d of z.

    Example:
        >>> import jax.numpy as jnp
        >>> family = DiagGaussian(3)
        >>> family(family.initial_params()).scale.tolist()
        [1.0, 1.0, 1.0]
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    latent_dim: int

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim)

    @property
    def num_params(self) -> int:
        """2d."""
        return 2 * self.latent_dim

    def __call__(self, params: Float[Array, "p"]) -> dist.DiagGaussian:
        """Split into mean and log-scale."""
        loc, raw = jnp.split(params, 2)
        return dist.DiagGaussian(loc, bounded_exp(raw))

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: the standard normal."""
        return jnp.zeros(self.num_params)


class FullGaussian(AbstractFamily):
    """A Gaussian with any covariance L Lᵀ: d means, d log-diagonals of L, d(d−1)/2 entries below.

    Args:
        latent_dim: Length d of z.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.FullGaussian
    latent_dim: int

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim)

    @property
    def num_params(self) -> int:
        """2d + d(d−1)/2."""
        return 2 * self.latent_dim + self.latent_dim * (self.latent_dim - 1) // 2

    def __call__(self, params: Float[Array, "p"]) -> dist.FullGaussian:
        """Fill the triangle; its rows scale with the diagonal so that all entries are of order one."""
        d = self.latent_dim
        loc, raw, below = jnp.split(params, (d, 2 * d))
        unit = jnp.eye(d, dtype=params.dtype).at[np.tril_indices(d, -1)].set(below)
        return dist.FullGaussian(loc, bounded_exp(raw)[:, None] * unit)

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: the standard normal."""
        return jnp.zeros(self.num_params)


class LowRankGaussian(AbstractFamily):
    """A Gaussian with covariance W Wᵀ + diag(scale²): d means, d log-scales, d·r entries of W.

    Args:
        latent_dim: Length d of z.
        rank: Number r of columns of W.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.LowRankGaussian
    latent_dim: int
    rank: int

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim, rank=self.rank)

    @property
    def num_params(self) -> int:
        """2d + d·r."""
        return self.latent_dim * (2 + self.rank)

    def __call__(self, params: Float[Array, "p"]) -> dist.LowRankGaussian:
        """Split into mean, log-scale and factor."""
        d = self.latent_dim
        loc, raw, factor = jnp.split(params, (d, 2 * d))
        return dist.LowRankGaussian(loc, factor.reshape(d, self.rank), bounded_exp(raw))

    def initial_params(self) -> Float[Array, "p"]:
        """Nearly the standard normal; W starts small but not at zero, which is a saddle."""
        d, r = self.latent_dim, self.rank
        wave = 0.05 * jnp.cos(jnp.outer(jnp.arange(d) + 0.5, jnp.arange(r) + 1) * jnp.pi / max(d, 1))
        return jnp.concatenate([jnp.zeros(2 * d), wave.reshape(-1)])
