"""A row of codes 0..L−1 that are rounded measurements, as grey levels are."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.dist.observation import AbstractObservation
from jensen.typing import Array, Float, PRNGKey


def expected_level(table: Float[Array, "*b d l"]) -> Float[Array, "*b d"]:
    """Return E[x] from the log-probabilities of all codes."""
    return jnp.exp(table) @ jnp.arange(table.shape[-1], dtype=table.dtype)


def likeliest_level(table: Float[Array, "*b d l"]) -> Float[Array, "*b d"]:
    """Return the most probable code, as a float."""
    return jnp.argmax(table, -1).astype(table.dtype)


class DiscretizedLogisticRow(AbstractObservation):
    """Codes 0..L−1: a logistic variable rounded to the nearest code, its tails in the first and the last.

    P(k) = σ((k + ½ − loc)/s) − σ((k − ½ − loc)/s), the outer bins reaching to infinity (Salimans et al. 2017,
    *PixelCNN++*).

    Attributes:
        loc: The location, in codes.
        scale: s, in codes.
        levels: L.
    """

    loc: Float[Array, "*b d"]
    scale: Float[Array, "*b d"]
    levels: int = eqx.field(static=True)

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the log-mass of each code's bin, also where it is far below the smallest float."""
        return self._log_mass(x, self.loc, self.scale)

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """E[x], the codes' own: inside the range, whatever the location."""
        return expected_level(self._table())

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The most probable code: the outer ones hold the tails."""
        return likeliest_level(self._table())

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw, round and clip."""
        real = self.loc + self.scale * jax.random.logistic(key, self.loc.shape, self.loc.dtype)
        return jnp.clip(jnp.round(real), 0.0, self.levels - 1.0)

    def _log_mass(
        self, x: Float[Array, "..."], loc: Float[Array, "..."], scale: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        width = 1 / scale
        low, high = (x - loc - 0.5) * width, (x - loc + 0.5) * width
        # σ(b) − σ(a) = σ(b) σ(−a) (1 − e^(a−b)): a product, so its logarithm cancels nowhere
        below = jnp.where(x > 0, jax.nn.softplus(low), 0.0)
        above = jnp.where(x < self.levels - 1, jax.nn.softplus(-high), 0.0)
        inner = (x > 0) & (x < self.levels - 1)
        return jnp.where(inner, _log1mexp(width), 0.0) - below - above

    def _table(self) -> Float[Array, "*b d l"]:
        codes = jnp.arange(self.levels, dtype=self.loc.dtype)
        return self._log_mass(codes, self.loc[..., None], self.scale[..., None])


def _log1mexp(h: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return log(1 − e^−h) for h > 0."""
    wide = h > 0.6931472
    return jnp.where(
        wide,
        jnp.log1p(-jnp.exp(-jnp.where(wide, h, 1.0))),
        jnp.log(-jnp.expm1(-jnp.where(wide, 0.5, h))),
    )
