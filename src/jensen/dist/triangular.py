"""An affine map with a triangular matrix."""

from __future__ import annotations

import jax.numpy as jnp

from jensen.algorithms.linalg import solve_lower
from jensen.dist.bijections import AbstractBijection
from jensen.typing import Array, Float, Scalar


class Triangular(AbstractBijection):
    """z = loc + L u, L lower triangular with a positive diagonal."""

    loc: Float[Array, "*b d"]
    tril: Float[Array, "*b d d"]

    def forward(self, u: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Mix and shift."""
        return self.loc + self.tril @ u, self._log_det()

    def inverse(self, z: Float[Array, "d"]) -> tuple[Float[Array, "d"], Scalar]:
        """Shift back and solve."""
        return solve_lower(self.tril, (z - self.loc)[:, None])[:, 0], self._log_det()

    def _log_det(self) -> Scalar:
        return jnp.log(jnp.diagonal(self.tril)).sum()
