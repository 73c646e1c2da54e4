"""Codes 0..L−1 as successes of unequal trials."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.dist import BetaBinomialRow
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.moments import Origin, check_levels, share_and_total
from jensen.models.likelihoods.support import refuse_codes
from jensen.typing import Array, Float


class BetaBinomial(AbstractLikelihood):
    """p(x | z) = Π BetaBinomial(xᵢ; L − 1, αᵢ, βᵢ), for codes 0..L−1 such as 8-bit grey levels.

    The network gives the mean share α/(α + β), one α + β a column is learned. With α + β small, black and
    white are likelier than the greys between.

    Scores are log-masses of whole codes, so at most 0: comparable with those of other laws of the same codes
    (``DiscretizedLogistic``, ``Categorical``), not with densities of x/255. A density p fitted to codes with
    uniform noise u in [0, 1) added (dequantization) does compare: E_u log p(x + u) is at most the log-mass
    that p gives code x. Per pixel scaled to [0, 1], add log L to a log-mass.

    Args:
        data_dim: Number of columns.
        levels: L.

    Raises:
        InputError: If there are fewer than 2 levels, or more than 65,536.
    """

    data_dim: int
    levels: int
    log_offset: Float[Array, "d"]
    origin: Origin

    def __init__(self, data_dim: int, levels: int = 256):
        check_levels("beta_binomial", levels)
        self.data_dim = data_dim
        self.levels = levels
        self.log_offset = jnp.zeros(data_dim)
        self.origin = Origin.zero(data_dim)

    @property
    def num_params(self) -> int:
        """One logit a column."""
        return self.data_dim

    @property
    def concentration(self) -> Float[Array, "d"]:
        """Concentrations α + β, one a column."""
        return jnp.exp(self.origin.dispersion(self.log_offset))

    def __call__(self, params: Float[Array, "p"]) -> BetaBinomialRow:
        """Read the output as logits about those of the columns' means."""
        return BetaBinomialRow(self.origin.at(params), self.origin.dispersion(self.log_offset), self.levels)

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but codes 0..L−1."""
        refuse_codes("beta_binomial", x, mask, self.levels)

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[BetaBinomial, Float[Array, "p"]]:
        """Start at the columns' means and variances."""
        logit, total = share_and_total(x, mask, weight, self.levels)
        origin = Origin(jnp.asarray(logit, jnp.float32), jnp.asarray(total, jnp.float32))
        return eqx.tree_at(lambda law: law.origin, self, origin), jnp.zeros(self.data_dim)
