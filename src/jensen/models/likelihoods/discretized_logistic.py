"""Codes 0..L−1 as rounded measurements."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import DiscretizedLogisticRow
from jensen.families import bounded_exp
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.moments import check_levels
from jensen.models.likelihoods.support import refuse_codes
from jensen.nets import Frame
from jensen.typing import Array, Float


class DiscretizedLogistic(AbstractLikelihood):
    """p(x | z) = Π P(a logistic variable rounds to xᵢ), for codes 0..L−1 such as 8-bit grey levels.

    One learned scale a column; the first and the last code hold the tails. No noise floor is needed: a code
    cannot have more mass than 1.

    Scores are log-masses of whole codes, so at most 0: comparable with those of other laws of the same codes
    (``BetaBinomial``, ``Categorical``), not with densities of x/255. Integrating over the bin
    is what uniform noise on the codes (dequantization) bounds: with u within ½ of zero, E_u log p(x + u) is
    at most the log-mass that p gives code x. Per pixel scaled to [0, 1], add log L to a log-mass.

    Args:
        data_dim: Number of columns.
        levels: L.

    Raises:
        InputError: If there are fewer than 2 levels, or more than 65,536.

    Example:
        >>> law = DiscretizedLogistic(1)(jnp.asarray([128.0]))
        >>> law.mode.tolist()
        [128.0]
    """

    data_dim: int
    levels: int
    log_scale: Float[Array, "d"]
    frame: Frame

    def __init__(self, data_dim: int, levels: int = 256):
        check_levels("discretized_logistic", levels)
        self.data_dim = data_dim
        self.levels = levels
        self.log_scale = jnp.zeros(data_dim)
        self.frame = Frame.identity(data_dim)

    @property
    def num_params(self) -> int:
        """One location a column."""
        return self.data_dim

    @property
    def scale(self) -> Float[Array, "d"]:
        """Logistic scales, in codes; the standard deviation is scale π/√3."""
        spread = jax.lax.stop_gradient(self.frame.scale) * (np.sqrt(3) / np.pi)
        return spread * bounded_exp(self.log_scale)

    def __call__(self, params: Float[Array, "p"]) -> DiscretizedLogisticRow:
        """Read the output as locations in standardized coordinates."""
        return DiscretizedLogisticRow(self.frame.leave(params), self.scale, self.levels)

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but codes 0..L−1."""
        refuse_codes("discretized_logistic", x, mask, self.levels)

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[DiscretizedLogistic, Float[Array, "p"]]:
        """Standardize, and start at the columns' means and standard deviations."""
        frame = Frame.standardizing(x, mask, weight)
        return eqx.tree_at(lambda law: law.frame, self, frame), jnp.zeros(self.data_dim)
