"""A row of real entries with heavy tails."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.algorithms.gamma import log_half_ratio
from jensen.dist.observation import AbstractObservation
from jensen.typing import Array, Float, PRNGKey


class StudentTRow(AbstractObservation):
    """Entries origin + loc + scale·t, t of Student's law with ν degrees of freedom.

    Attributes:
        loc: The location, counted from the origin.
        scale: The scale; the standard deviation is scale √(ν/(ν − 2)), infinite for ν ≤ 2.
        df: ν.
        origin: A point near the data, for digits far from zero; ``None`` for zero.
    """

    loc: Float[Array, "*b d"]
    scale: Float[Array, "*b d"]
    df: Float[Array, "*b d"]
    origin: Float[Array, "d"] | None = None

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return log Γ((ν+1)/2) − log Γ(ν/2) − ½ log(πν) − log scale − ½(ν+1) log(1 + y²/ν)."""
        about = x if self.origin is None else x - self.origin
        y = (about - self.loc) / self.scale
        constant = log_half_ratio(0.5 * self.df) - 0.5 * jnp.log(2 * jnp.pi) - jnp.log(self.scale)
        return constant - 0.5 * (self.df + 1) * jnp.log1p(y * (y / self.df))

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The centre, counted from zero: the mean, and for ν ≤ 1, where there is none, the median."""
        return self.loc if self.origin is None else self.origin + self.loc

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The centre."""
        return self.mean

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw a row."""
        return self.mean + self.scale * jax.random.t(key, self.df, self.loc.shape, self.loc.dtype)
