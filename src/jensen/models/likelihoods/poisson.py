"""Counts without dispersion of their own."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.dist import PoissonRow
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.moments import Origin, log_rates
from jensen.models.likelihoods.support import refuse_counts
from jensen.typing import Array, Float


class Poisson(AbstractLikelihood):
    """p(x | z) = Π Poisson(xᵢ; rateᵢ), for counts.

    An output is the logarithm of a rate over its column's mean, bent so that rates stay within e^±10 of it:
    a network that strays can make no infinity.

    Args:
        data_dim: Number of columns.
    """

    data_dim: int
    origin: Origin

    def __init__(self, data_dim: int):
        self.data_dim = data_dim
        self.origin = Origin.zero(data_dim)

    @property
    def num_params(self) -> int:
        """One log-rate a column."""
        return self.data_dim

    def __call__(self, params: Float[Array, "p"]) -> PoissonRow:
        """Read the output as log-rates about the columns' means."""
        return PoissonRow(self.origin.at(params))

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but counts."""
        refuse_counts("poisson", x, mask)

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[Poisson, Float[Array, "p"]]:
        """Start at the column means."""
        rates = jnp.asarray(log_rates(x, mask, weight), jnp.float32)
        origin = Origin(rates, jnp.zeros(self.data_dim))
        return eqx.tree_at(lambda law: law.origin, self, origin), jnp.zeros(self.data_dim)
