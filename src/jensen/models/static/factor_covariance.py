"""Covariances W Wᵀ + Ψ of factor models: one component, few directions, independent noise."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import eigh, inverse, qr
from jensen.families import bounded_exp
from jensen.models.static.covariance import AbstractTriangular
from jensen.models.static.raw import floored, is_floor
from jensen.typing import Array, Bool, Float


class AbstractFactorCovariance(AbstractTriangular):
    """Σ = W Wᵀ + Ψ with W of shape (D, R) and Ψ diagonal.

    The M-step raises the Gaussian likelihood of the expected second moments S directly, the latents
    integrated out: W given Ψ is exact by one eigendecomposition of Ψ^(−½) S Ψ^(−½) (Jöreskog 1967), and Ψ
    given W is one EM step of its own. Far fewer steps than EM over the latents take (Rubin & Thayer 1982).
    """

    loadings: eqx.AbstractVar[Float[Array, "d r"]]
    raw: eqx.AbstractVar[Float[Array, "..."]]

    @classmethod
    @abstractmethod
    def start(cls, covariance: np.ndarray, rank: int) -> "AbstractFactorCovariance":
        """Return where a fit to this covariance, (D, D), starts. Host code."""

    @property
    @abstractmethod
    def noise_scale(self) -> Float[Array, "d"]:
        """Standard deviations of the noise."""

    @property
    def tril(self) -> Float[Array, "1 d d"]:
        """The Cholesky factor of W Wᵀ + Ψ, from a QR decomposition, which forms no squares."""
        root = jnp.concatenate([jnp.diag(self.noise_scale), self.loadings.T])
        _, upper = qr(root)
        sign = jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)
        return (sign[:, None] * upper).T[None]

    @property
    def posterior_map(self) -> tuple[Float[Array, "r d"], Float[Array, "r r"]]:
        """E[z | x] = β(x − μ), and Cov[z | x]."""
        scaled = self.loadings / self.noise_scale[:, None]
        precision = jnp.eye(scaled.shape[1]) + scaled.T @ scaled
        covariance = inverse(precision)
        return covariance @ (scaled / self.noise_scale[:, None]).T, covariance

    def moments(self, spread: Float[Array, "1 d d"]) -> Float[Array, "d d"]:
        """Return the expected second moments S about the mean, out of whitened coordinates."""
        tril = self.tril[0]
        return tril @ spread[0] @ tril.T

    def best_loadings(self, s: Float[Array, "d d"]) -> Float[Array, "d r"]:
        """Return the W that maximizes the likelihood of S given Ψ: top eigenvectors of S in noise units."""
        noise = self.noise_scale
        values, vectors = eigh(s / noise[:, None] / noise)
        rank = self.loadings.shape[1]
        values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
        return noise[:, None] * vectors * jnp.sqrt(jnp.maximum(values - 1, 0.0))

    def noise_moments(self, s: Float[Array, "d d"]) -> Float[Array, "d"]:
        """Return E[(x − μ − W z)²] by column, W held: sums of squares only, nothing cancels."""
        beta, covariance = self.posterior_map
        left = jnp.eye(len(s)) - self.loadings @ beta
        residual = jnp.einsum("ij,jk,ik->i", left, s, left)
        return residual + jnp.einsum("ij,jk,ik->i", self.loadings, covariance, self.loadings)

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which noise variances sit at the floor."""
        return is_floor(self.raw)


class FactorCovariance(AbstractFactorCovariance):
    """W Wᵀ + diag(ψ): factor analysis."""

    isotropic: ClassVar[bool] = False
    loadings: Float[Array, "d r"]
    raw: Float[Array, "d"]

    @property
    def noise_scale(self) -> Float[Array, "d"]:
        """Standard deviations √ψ."""
        return bounded_exp(self.raw)

    def maximized(
        self, count: Float[Array, "1"], spread: Float[Array, "1 d d"], free: Any
    ) -> "FactorCovariance":
        """Return W given ψ, then ψ given W."""
        s = self.moments(spread)
        new = self
        if free.loadings:
            new = type(self)(self.best_loadings(s), self.raw)
        if free.raw:
            new = type(self)(new.loadings, floored(jnp.sqrt(new.noise_moments(s))))
        return new

    @classmethod
    def start(cls, covariance: np.ndarray, rank: int) -> "FactorCovariance":
        """Return the structure with the best W for noise as large as the columns. Host code."""
        root = np.sqrt(np.diagonal(covariance))
        values, vectors = np.linalg.eigh(covariance / np.outer(root, root))
        top = np.sqrt(np.maximum(values[::-1][:rank] - 1, 1e-2))
        real = jnp.result_type(float)
        loadings = root[:, None] * vectors[:, ::-1][:, :rank] * top
        return cls(jnp.asarray(loadings, real), floored(jnp.asarray(root, real)))


class IsotropicFactorCovariance(AbstractFactorCovariance):
    """W Wᵀ + σ²I: probabilistic principal components."""

    isotropic: ClassVar[bool] = True
    loadings: Float[Array, "d r"]
    raw: Float[Array, ""]

    @property
    def noise_scale(self) -> Float[Array, "d"]:
        """σ, repeated."""
        return jnp.full(self.loadings.shape[0], bounded_exp(self.raw))

    def maximized(
        self, count: Float[Array, "1"], spread: Float[Array, "1 d d"], free: Any
    ) -> "IsotropicFactorCovariance":
        """Return the closed form: σ² is the mean of the eigenvalues W leaves out (Tipping & Bishop 1999)."""
        s = self.moments(spread)
        new = self
        if free.raw and free.loadings:
            rest = eigh(s)[0][: s.shape[0] - self.loadings.shape[1]]
            new = type(self)(self.loadings, floored(jnp.sqrt(jnp.maximum(rest.mean(), 0.0))))
        if free.loadings:
            return type(self)(new.best_loadings(s), new.raw)
        if free.raw:
            return type(self)(self.loadings, floored(jnp.sqrt(self.noise_moments(s).mean())))
        return self

    @classmethod
    def start(cls, covariance: np.ndarray, rank: int) -> "IsotropicFactorCovariance":
        """Return the principal components. Host code."""
        values, vectors = np.linalg.eigh(covariance)
        noise = max(values[: len(values) - rank].mean(), 1e-12)
        top = np.sqrt(np.maximum(values[::-1][:rank] - noise, 0.0))
        real = jnp.result_type(float)
        loadings = vectors[:, ::-1][:, :rank] * top
        return cls(jnp.asarray(loadings, real), floored(jnp.asarray(np.sqrt(noise), real)))
