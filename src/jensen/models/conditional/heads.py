"""K Gaussians of one row as a network's output: densities and conditionals without a matrix factorization.

A row is drawn entry by entry, y_j = μ_j + Σ_{i<j} B_ji (y_i − μ_i) + s_j ε_j: any covariance is of this form
(its modified Cholesky factor, Pourahmadi 1999). The network gives B and s themselves, so that the
density needs no triangular solve, and s_j, the deviation of y_j given those before it, has a floor, which
bounds the density. Matrix products vectorize over rows and components where LAPACK would loop.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.families import bounded_exp
from jensen.models.static.covariance import LOG_2PI
from jensen.typing import Array, Bool, Float


class Heads(eqx.Module):
    """K Gaussians.

    Attributes:
        means: μ.
        scale: s.
        coupling: B, strictly lower triangular; ``None`` for independent entries.
    """

    means: Float[Array, "*b k d"]
    scale: Float[Array, "*b k d"]
    coupling: Float[Array, "*b k d d"] | None

    @classmethod
    def of(cls, params: Float[Array, "k p"], floor: Float[Array, "d"]) -> Heads:
        """Read K means, K log-scales above a floor and, if there are more numbers, the couplings."""
        num, d = len(params), len(floor)
        means, raw, below = jnp.split(params, (d, 2 * d), -1)
        scale = floor + bounded_exp(raw)
        if not below.shape[-1]:
            return cls(means, scale, None)
        rows, columns = np.tril_indices(d, -1)
        return cls(means, scale, jnp.zeros((num, d, d), params.dtype).at[:, rows, columns].set(below))

    @property
    def tril(self) -> Float[Array, "k d d"]:
        """Factors L with covariance L Lᵀ."""
        noise = self.scale[:, :, None] * jnp.eye(self.means.shape[1], dtype=self.scale.dtype)
        return noise if self.coupling is None else _unrolled(self.coupling, noise)

    def log_prob(self, y: Float[Array, "d"], mask: Bool[Array, "d"] | None) -> Float[Array, "k"]:
        """Return log N(y; μ_k, Σ_k), hidden entries integrated out, in nats."""
        if mask is not None and self.coupling is not None:
            return self._conditioned(y, mask)[0]
        away = y - self.means if mask is None else jnp.where(mask, y - self.means, 0.0)
        if self.coupling is not None:
            away = away - jnp.einsum("kij,kj->ki", self.coupling, away)
        each = -0.5 * (away / self.scale) ** 2 - jnp.log(self.scale) - 0.5 * LOG_2PI
        return (each if mask is None else jnp.where(mask, each, 0.0)).sum(-1)

    def conditional_means(self, y: Float[Array, "d"], mask: Bool[Array, "d"]) -> Float[Array, "k d"]:
        """Return E[y | observed entries] under every component."""
        if self.coupling is None:
            return jnp.where(mask, y, self.means)
        return self._conditioned(y, mask)[1]

    def _conditioned(
        self, y: Float[Array, "d"], mask: Bool[Array, "d"]
    ) -> tuple[Float[Array, "k"], Float[Array, "k d"]]:
        """Run the recursion that B stands for, a Kalman filter of what is hidden.

        The state is every entry less its mean, with the covariance of the hidden ones so far, zero elsewhere:
        the variance of y_j given what was seen before it is s_j² plus something positive, so that nothing
        cancels where entries almost determine each other.
        """
        coupling = self.coupling if self.coupling is not None else jnp.zeros((*self.scale.shape, y.shape[0]))
        noise = self.scale**2

        def take(state: tuple[Array, Array, Array], j: Array) -> tuple[tuple[Array, Array, Array], None]:
            log_p, away, covariance = state
            b, seen = coupling[:, j], mask[j]
            foreseen = jnp.einsum("ki,ki->k", b, away)
            shared = jnp.einsum("kim,km->ki", covariance, b)
            variance = noise[:, j] + jnp.maximum(jnp.einsum("ki,ki->k", b, shared), 0.0)
            error = jnp.where(seen, y[j] - self.means[:, j] - foreseen, 0.0)
            new = -0.5 * (error**2 / variance + jnp.log(variance) + LOG_2PI)
            gain = shared / variance[:, None]
            known = covariance - gain[:, :, None] * shared[:, None, :]
            grown = covariance.at[:, j].set(shared).at[:, :, j].set(shared).at[:, j, j].set(variance)
            return (
                log_p + jnp.where(seen, new, 0.0),
                (away + gain * error[:, None]).at[:, j].set(foreseen + error),
                jnp.where(seen, known, grown),
            ), None

        k, d = self.means.shape
        start = jnp.zeros(k, y.dtype), jnp.zeros((k, d), y.dtype), jnp.zeros((k, d, d), y.dtype)
        (log_p, away, _), _ = jax.lax.scan(take, start, jnp.arange(d))
        return log_p, self.means + away


def _unrolled(coupling: Float[Array, "k d d"], noise: Float[Array, "k d n"]) -> Float[Array, "k d n"]:
    """Return (I − B)⁻¹ noise, by running the recursion that B stands for."""

    def take(drawn: Array, j: Array) -> tuple[Array, None]:
        own = noise[:, j] + jnp.einsum("ki,kin->kn", coupling[:, j], drawn)
        return drawn.at[:, j].set(own), None

    return jax.lax.scan(take, jnp.zeros_like(noise), jnp.arange(noise.shape[1]))[0]
