"""Counts that spread more than Poisson's."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.dist import NegativeBinomialRow
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.moments import Origin, log_concentration, log_rates
from jensen.models.likelihoods.support import refuse_counts
from jensen.typing import Array, Float


class NegativeBinomial(AbstractLikelihood):
    """p(x | z) = Π NB(xᵢ; meanᵢ, rᵢ), of variance mean + mean²/r, with one learned r a column.

    Means stay within e^±10 of the column's, and r within e^±10 of where it starts.

    Args:
        data_dim: Number of columns.
    """

    data_dim: int
    log_offset: Float[Array, "d"]
    origin: Origin

    def __init__(self, data_dim: int):
        self.data_dim = data_dim
        self.log_offset = jnp.zeros(data_dim)
        self.origin = Origin.zero(data_dim)

    @property
    def num_params(self) -> int:
        """One log-mean a column."""
        return self.data_dim

    @property
    def concentration(self) -> Float[Array, "d"]:
        """Concentrations r, one a column."""
        return jnp.exp(self.origin.dispersion(self.log_offset))

    def __call__(self, params: Float[Array, "p"]) -> NegativeBinomialRow:
        """Read the output as log-means about the columns' means."""
        return NegativeBinomialRow(self.origin.at(params), self.origin.dispersion(self.log_offset))

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but counts."""
        refuse_counts("negative_binomial", x, mask)

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[NegativeBinomial, Float[Array, "p"]]:
        """Start at the columns' means and variances."""
        rates = log_rates(x, mask, weight)
        spread = log_concentration(x, mask, weight, rates)
        origin = Origin(jnp.asarray(rates, jnp.float32), jnp.asarray(spread, jnp.float32))
        return eqx.tree_at(lambda law: law.origin, self, origin), jnp.zeros(self.data_dim)
