"""Gaussians in R^d with diagonal, low-rank-plus-diagonal and full covariance."""

from __future__ import annotations

from abc import abstractmethod

import jax
import jax.numpy as jnp
import numpyro.distributions as nd

from jensen.algorithms.linalg import qr, solve_lower
from jensen.dist.protocol import AbstractMoments, AbstractTransport, Reparameterized
from jensen.typing import Array, Float, PRNGKey, Scalar


class AbstractGaussian(AbstractTransport, AbstractMoments, Reparameterized):
    """Any Gaussian: what the closed-form divergences need."""

    @property
    @abstractmethod
    def scale_tril(self) -> Float[Array, "d d"]:
        """Lower-triangular L with covariance L Lᵀ."""


class DiagGaussian(AbstractGaussian):
    """N(loc, diag(scale²)).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> q = DiagGaussian(jnp.zeros(2), jnp.ones(2))
        >>> float(q.log_prob(jnp.zeros(2))).__round__(4)
        -1.8379
    """

    loc: Float[Array, "*b d"]
    scale: Float[Array, "*b d"]

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """The squared scales."""
        return self.scale**2

    @property
    def scale_tril(self) -> Float[Array, "d d"]:
        """The scales on a diagonal."""
        return jnp.diag(self.scale)

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return Σᵢ log N(zᵢ; locᵢ, scaleᵢ²), in nats."""
        return nd.Normal(self.loc, self.scale).log_prob(z).sum()

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw z = loc + scale·ε, ε standard normal."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw ε."""
        return jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return loc + scale·ε."""
        return self.loc + self.scale * noise


class FullGaussian(AbstractGaussian):
    """N(loc, L Lᵀ) with L lower triangular."""

    loc: Float[Array, "*b d"]
    tril: Float[Array, "*b d d"]

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """The diagonal of L Lᵀ."""
        return (self.tril**2).sum(-1)

    @property
    def scale_tril(self) -> Float[Array, "d d"]:
        """The factor L."""
        return self.tril

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return log N(z; loc, L Lᵀ), in nats."""
        white = solve_lower(self.tril, (z - self.loc)[:, None])
        log_det = jnp.log(jnp.abs(jnp.diagonal(self.tril))).sum()
        return -0.5 * (white**2).sum() - log_det - 0.5 * len(self.loc) * jnp.log(2 * jnp.pi)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw z = loc + L ε, ε standard normal."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw ε."""
        return jax.random.normal(key, self.loc.shape, self.loc.dtype)

    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return loc + L ε."""
        return self.loc + self.tril @ noise


class LowRankGaussian(AbstractGaussian):
    """N(loc, W Wᵀ + diag(scale²)) with W of shape (d, r)."""

    loc: Float[Array, "*b d"]
    factor: Float[Array, "*b d r"]
    scale: Float[Array, "*b d"]

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The location."""
        return self.loc

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """The diagonal of W Wᵀ + diag(scale²)."""
        return (self.factor**2).sum(-1) + self.scale**2

    @property
    def scale_tril(self) -> Float[Array, "d d"]:
        """Cholesky factor of the covariance, by a QR decomposition of its root [Wᵀ; diag(scale)]."""
        _, upper = qr(jnp.concatenate([self.factor.T, jnp.diag(self.scale)]))
        return (upper * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[:, None]).T

    @property
    def log_det_scale(self) -> Scalar:
        """Half the log-determinant of the covariance."""
        _, upper = self._whitened()
        return jnp.log(self.scale).sum() + jnp.log(jnp.abs(jnp.diagonal(upper))).sum()

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return log N(z; loc, W Wᵀ + diag(scale²)), in nats.

        With F = diag(scale)⁻¹ W and y = diag(scale)⁻¹ (z − loc), the Mahalanobis distance is
        min_u |y − F u|² + |u|²: the residual of a least-squares problem, which, unlike the
        matrix-inversion lemma, never squares the condition number.
        """
        basis, upper = self._whitened()
        d, r = self.factor.shape
        y = jnp.concatenate([(z - self.loc) / self.scale, jnp.zeros(r, self.loc.dtype)])
        residual = y - basis @ (basis.T @ y)
        log_det = jnp.log(self.scale).sum() + jnp.log(jnp.abs(jnp.diagonal(upper))).sum()
        return -0.5 * (residual**2).sum() - log_det - 0.5 * d * jnp.log(2 * jnp.pi)

    def _whitened(self) -> tuple[Float[Array, "dr r"], Float[Array, "r r"]]:
        """Return the QR decomposition of [F; I]."""
        own = jnp.eye(self.factor.shape[-1], dtype=self.factor.dtype)
        return qr(jnp.concatenate([self.factor / self.scale[:, None], own]))

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw z = loc + W ε₁ + scale·ε₂."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> tuple[Float[Array, "r"], Float[Array, "d"]]:
        """Draw ε₁ and ε₂."""
        wide, own = jax.random.split(key)
        rank = jax.random.normal(wide, self.factor.shape[-1:], self.loc.dtype)
        return rank, jax.random.normal(own, self.loc.shape, self.loc.dtype)

    def from_noise(self, noise: tuple[Float[Array, "r"], Float[Array, "d"]]) -> Float[Array, "d"]:
        """Return loc + W ε₁ + scale·ε₂."""
        return self.loc + self.factor @ noise[0] + self.scale * noise[1]
