"""Real entries with a learned noise scale."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import GaussianRow
from jensen.errors import InputError
from jensen.families import bounded_exp
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.models.likelihoods.resolution import resolution
from jensen.nets import Fixed, Frame
from jensen.typing import Array, Float

MIN_LOG_SCALE = -6.0
"""Noise stays above e^−6 of a column's standard deviation: a decoder that interpolates would send it to 0."""


class Floor(Fixed):
    """Noise scales that are never undercut, in standardized coordinates."""

    value: Float[Array, "d"]


class Gaussian(AbstractLikelihood):
    """p(x | z) = Π N(xᵢ; meanᵢ, scaleᵢ²) with one learned scale a column.

    Mean and scale are held in standardized coordinates; densities are in the data's own units. The scale
    stays above e⁻⁶ of the column's standard deviation, and above δ/√12 for a column recorded in steps of δ,
    the spread of the rounding itself: a pixel that is hardly ever lit cannot buy density without end.

    Args:
        data_dim: Number of columns.
    """

    data_dim: int
    log_scale: Float[Array, "d"]
    frame: Frame
    floor: Floor

    def __init__(self, data_dim: int):
        self.data_dim = data_dim
        self.log_scale = jnp.zeros(data_dim)
        self.frame = Frame.identity(data_dim)
        self.floor = Floor(jnp.full(data_dim, np.exp(MIN_LOG_SCALE)))

    @property
    def num_params(self) -> int:
        """One mean a column."""
        return self.data_dim

    @property
    def scale(self) -> Float[Array, "d"]:
        """Noise scales in the data's own units."""
        unit, floor = jax.lax.stop_gradient((self.frame.scale, self.floor.value))
        return unit * (floor + bounded_exp(self.log_scale))

    def __call__(self, params: Float[Array, "p"]) -> GaussianRow:
        """Read the output as means in standardized coordinates."""
        unit, origin = jax.lax.stop_gradient((self.frame.scale, self.frame.shift))
        return GaussianRow(unit * params, self.scale, origin)

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse columns too large for float32."""
        seen = x if mask is None else x[mask]
        if seen.size and np.abs(seen.astype(np.float64)).max() > 1e18:
            raise InputError("gaussian likelihood: x holds values beyond 1e18; rescale the columns first")

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[Gaussian, Float[Array, "p"]]:
        """Standardize, and start at the column means."""
        frame = Frame.standardizing(x, mask, weight)
        floor = Floor(noise_floor(x, mask, frame))
        started = eqx.tree_at(lambda g: (g.frame, g.floor), self, (frame, floor))
        return started, jnp.zeros(self.data_dim)


def noise_floor(x: np.ndarray, mask: np.ndarray | None, frame: Frame) -> Float[Array, "d"]:
    """Return the least noise scale of every column, in the frame's units: its rounding's, or e⁻⁶. Host code.

    Args:
        x: Rows, (N, D).
        mask: True where observed, (N, D).
        frame: Coordinates in which the columns are of order one.
    """
    rounding = resolution(x, mask) / np.sqrt(12) / np.asarray(frame.scale)
    return jnp.asarray(np.maximum(rounding, np.exp(MIN_LOG_SCALE)), jnp.float32)
