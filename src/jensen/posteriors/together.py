"""All rows of a data set as one datum, for a latent that they share."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import AbstractModel, Datum
from jensen.typing import Scalar


class Together(AbstractModel):
    """log p(x_1, …, x_N, z): one prior, every row's likelihood, weighted.

    Args:
        model: A model that parts its prior from its likelihood.
        latent_dim: Length of z.
    """

    model: Any
    latent_dim: int

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Sum over stacked rows, in nats."""
        each = eqx.filter_vmap(lambda row: self.model.log_likelihood(z, row))(datum)
        weight = 1.0 if datum.weight is None else datum.weight
        cond = jax.tree.map(lambda leaf: leaf[0], datum.cond)  # a z behind all rows has one prior
        return jnp.sum(weight * each) + self.model.prior_of(cond).log_prob(z).sum()
