"""Running mean and variance."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from jensen.typing import Array, Float, Scalar


class Moments(eqx.Module):
    """Of all rows so far (Chan, Golub & LeVeque 1983: nothing cancels).

    Attributes:
        mean: Mean.
        spread: Sum of squared distances from it.
        count: Rows.

    Example:
        >>> seen = Moments.none(()).updated(jnp.array([1.0, 3.0]), jnp.ones(2))
        >>> float(seen.mean), float(seen.scale())
        (2.0, 1.0)
    """

    mean: Float[Array, "*d"]
    spread: Float[Array, "*d"]
    count: Scalar

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Moments:
        """Return the moments of no rows."""
        return cls(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(()))

    def updated(self, rows: Float[Array, "n *d"], weight: Float[Array, "n"]) -> Moments:
        """Return the moments with rows of weight 1 added; of weight 0, or not finite, they are left out."""
        real = (weight > 0) & jnp.isfinite(rows).all(tuple(range(1, rows.ndim)))
        weight = jnp.where(real, weight, 0.0)
        more = weight.sum()
        safe = jnp.maximum(more, 1.0)
        w = weight.reshape(-1, *[1] * self.mean.ndim)
        rows = jnp.where(w > 0, rows, 0.0)
        mean = (w * rows).sum(0) / safe
        spread = (w * (rows - mean) ** 2).sum(0)
        total = self.count + more
        gap = jnp.where(more > 0, mean - self.mean, 0.0)
        share = more / jnp.maximum(total, 1.0)
        return Moments(self.mean + share * gap, self.spread + spread + self.count * share * gap**2, total)

    def scale(self) -> Float[Array, "*d"]:
        """Return the standard deviation; 1 where nothing has varied yet."""
        variance = self.spread / jnp.maximum(self.count, 1.0)
        return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1.0)), 1.0)
