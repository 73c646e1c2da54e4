"""Families of laws over whole paths."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen import dist
from jensen.errors import at_least
from jensen.families.base import AbstractFamily, bounded_exp
from jensen.typing import Array, Float


class AbstractPathFamily(AbstractFamily):
    """A family over the paths of short sequences.

    Attributes:
        num_steps: Number of steps of a path.
    """

    num_steps: eqx.AbstractVar[int]


class GaussianMarkov(AbstractPathFamily):
    """Gaussian Markov chains z_t = m_t + A_t (z_{t−1} − m_{t−1}) + L_t ε_t, everything free at every step.

    The exact posterior of a linear-Gaussian state-space model is one of them. For ``posteriors.PerDatum`` on
    short sequences: it holds T·(3n² + 3n)/2 numbers for each.

    Args:
        num_steps: Number T of steps, that of the padded sequences.
        latent_dim: Length n of z_t.

    Example:
        >>> GaussianMarkov(20, 2).num_params
        180
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.GaussianMarkov
    num_steps: int
    latent_dim: int

    def __check_init__(self):
        at_least("family", 1, num_steps=self.num_steps, latent_dim=self.latent_dim)

    @property
    def num_params(self) -> int:
        """T (n means, n² of A, n log-diagonals of L, n(n−1)/2 below)."""
        n = self.latent_dim
        return self.num_steps * (2 * n + n * n + n * (n - 1) // 2)

    def __call__(self, params: Float[Array, "p"]) -> dist.GaussianMarkov:
        """Split; rows of L scale with its diagonal so that all entries are of order one."""
        n = self.latent_dim
        loc, raw, pull, below = jnp.split(
            params.reshape(self.num_steps, -1), (n, 2 * n, 2 * n + n * n), axis=-1
        )
        rows, columns = np.tril_indices(n, -1)
        unit = jnp.broadcast_to(jnp.eye(n, dtype=params.dtype), (self.num_steps, n, n))
        tril = bounded_exp(raw)[..., None] * unit.at[:, rows, columns].set(below)
        return dist.GaussianMarkov(loc, pull.reshape(-1, n, n), tril)

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: independent standard normals."""
        return jnp.zeros(self.num_params)
