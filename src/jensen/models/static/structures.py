"""The four covariance structures of mixtures: full, tied, diagonal, spherical."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import cholesky
from jensen.errors import InputError, nearest
from jensen.families.base import bounded_exp
from jensen.models.static.covariance import (
    AbstractAxisAligned,
    AbstractCovariance,
    AbstractTriangular,
    AnyCovariance,
)
from jensen.models.static.raw import (
    exactly,
    factor,
    floored,
    given_triangle,
    is_floor,
    positive,
    shaped,
    together,
    triangle,
    untriangle,
)
from jensen.typing import Array, Bool, Float


class FullCovariance(AbstractTriangular, AnyCovariance):
    """Every component its own covariance: Σ_k = L_k L_kᵀ, L_k = U_k diag(s_k) with ones on U's diagonal.

    s_j is the deviation of column j given the columns before it, so that a floor on it is a floor on a
    variance and clamping it is the exact constrained maximum.
    """

    isotropic: ClassVar[bool] = False
    raw: Float[Array, "k d"]
    below: Float[Array, "k m"]

    @property
    def tril(self) -> Float[Array, "k d d"]:
        """The factors L_k."""
        return triangle(self.raw, self.below)

    def maximized(self, count: Float[Array, "k"], spread: Float[Array, "k d d"], free: Any) -> FullCovariance:
        """Return factors L_k chol(spread_k)."""
        if not together(self, free):
            return self
        tril = self.tril @ jax.vmap(cholesky)(spread)
        scale, below = untriangle(tril)
        kept = (count > 0)[:, None]
        return type(self)(jnp.where(kept, floored(scale), self.raw), jnp.where(kept, below, self.below))

    def at_floor(self) -> Bool[Array, "k d"]:
        """Say which conditional variances sit at the floor."""
        return is_floor(self.raw)

    @classmethod
    def variances(cls, values: Any, num_components: int, data_dim: int) -> np.ndarray:
        """Return marginal variances (K, D) of covariances (K, D, D)."""
        values = shaped(values, (num_components, data_dim, data_dim))
        return positive(np.diagonal(values, axis1=1, axis2=2))

    @classmethod
    def pooled(cls, covariance: np.ndarray, num_components: int) -> FullCovariance:
        """Repeat the covariance."""
        tril = np.broadcast_to(np.linalg.cholesky(covariance), (num_components, *covariance.shape))
        return cls(*given_triangle(tril))

    @classmethod
    def in_frame(cls, values: Any, scale: np.ndarray, num_components: int) -> FullCovariance:
        """Read covariances (K, D, D)."""
        d = len(scale)
        values = shaped(values, (num_components, d, d)) / np.outer(scale, scale)
        return cls(*given_triangle(factor(values)))


class TiedCovariance(AbstractTriangular, AnyCovariance):
    """One covariance for all components."""

    isotropic: ClassVar[bool] = False
    raw: Float[Array, "d"]
    below: Float[Array, "m"]

    @property
    def tril(self) -> Float[Array, "1 d d"]:
        """The factor L."""
        return triangle(self.raw[None], self.below[None])

    def maximized(self, count: Float[Array, "k"], spread: Float[Array, "k d d"], free: Any) -> TiedCovariance:
        """Return the factor L chol of the mean spread."""
        if not together(self, free):
            return self
        mean = jnp.tensordot(count / count.sum(), spread, 1)
        scale, below = untriangle(self.tril @ cholesky(mean))
        return type(self)(floored(scale[0]), below[0])

    def at_floor(self) -> Bool[Array, "d"]:
        """Say which conditional variances sit at the floor."""
        return is_floor(self.raw)

    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return the covariance, (D, D), in float64."""
        tril = scale[:, None] * np.asarray(self.tril[0], np.float64)
        return tril @ tril.T

    @classmethod
    def variances(cls, values: Any, num_components: int, data_dim: int) -> np.ndarray:
        """Return marginal variances (K, D) of covariances (D, D)."""
        values = positive(np.diagonal(shaped(values, (data_dim, data_dim))))
        return np.broadcast_to(values, (num_components, data_dim))

    @classmethod
    def pooled(cls, covariance: np.ndarray, num_components: int) -> TiedCovariance:
        """Take the covariance."""
        return cls.in_frame(covariance, np.ones(len(covariance)), num_components)

    @classmethod
    def in_frame(cls, values: Any, scale: np.ndarray, num_components: int) -> TiedCovariance:
        """Read one covariance (D, D)."""
        d = len(scale)
        values = shaped(values, (d, d)) / np.outer(scale, scale)
        return cls(*given_triangle(factor(values)))


class DiagonalCovariance(AbstractAxisAligned, AnyCovariance):
    """Every component its own variances, no correlations."""

    isotropic: ClassVar[bool] = False
    raw: Float[Array, "k d"]

    @property
    def scale(self) -> Float[Array, "k d"]:
        """Standard deviations."""
        return bounded_exp(self.raw)

    def maximized(
        self, count: Float[Array, "k"], spread: Float[Array, "k d"], free: Any
    ) -> DiagonalCovariance:
        """Return scales σ·√spread."""
        if not together(self, free):
            return self
        raw = floored(self.scale * jnp.sqrt(spread))
        return type(self)(jnp.where((count > 0)[:, None], raw, self.raw))

    def at_floor(self) -> Bool[Array, "k d"]:
        """Say which variances sit at the floor."""
        return is_floor(self.raw)

    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return variances (K, D), in float64."""
        return (scale * np.asarray(self.scale, np.float64)) ** 2

    @classmethod
    def variances(cls, values: Any, num_components: int, data_dim: int) -> np.ndarray:
        """Return marginal variances (K, D) of covariances (K, D)."""
        return positive(shaped(values, (num_components, data_dim)))

    @classmethod
    def pooled(cls, covariance: np.ndarray, num_components: int) -> DiagonalCovariance:
        """Repeat its diagonal."""
        values = np.broadcast_to(np.diagonal(covariance), (num_components, len(covariance)))
        return cls.in_frame(values, np.ones(len(covariance)), num_components)

    @classmethod
    def in_frame(cls, values: Any, scale: np.ndarray, num_components: int) -> DiagonalCovariance:
        """Read variances (K, D)."""
        variance = positive(shaped(values, (num_components, len(scale)))) / scale**2
        return cls(exactly(np.sqrt(variance)))


class SphericalCovariance(AbstractAxisAligned, AnyCovariance):
    """Every component one variance, the same in all directions of the data's own units."""

    isotropic: ClassVar[bool] = True
    raw: Float[Array, "k"]
    data_dim: int

    @property
    def scale(self) -> Float[Array, "k d"]:
        """Standard deviations, repeated."""
        return jnp.broadcast_to(bounded_exp(self.raw)[:, None], (len(self.raw), self.data_dim))

    def maximized(
        self, count: Float[Array, "k"], spread: Float[Array, "k d"], free: Any
    ) -> SphericalCovariance:
        """Return the scale of the mean variance."""
        if not together(self, free):
            return self
        raw = floored(bounded_exp(self.raw) * jnp.sqrt(spread.mean(-1)))
        return type(self)(jnp.where(count > 0, raw, self.raw), self.data_dim)

    def at_floor(self) -> Bool[Array, "k"]:
        """Say which variances sit at the floor."""
        return is_floor(self.raw)

    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return variances (K,), in float64."""
        return (scale[0] * np.asarray(bounded_exp(self.raw), np.float64)) ** 2

    @classmethod
    def variances(cls, values: Any, num_components: int, data_dim: int) -> np.ndarray:
        """Return marginal variances (K, D) of covariances (K,)."""
        values = positive(shaped(values, (num_components,)))
        return np.broadcast_to(values[:, None], (num_components, data_dim))

    @classmethod
    def pooled(cls, covariance: np.ndarray, num_components: int) -> SphericalCovariance:
        """Repeat its mean variance."""
        mean = np.full(num_components, np.diagonal(covariance).mean())
        return cls.in_frame(mean, np.ones(len(covariance)), num_components)

    @classmethod
    def in_frame(cls, values: Any, scale: np.ndarray, num_components: int) -> SphericalCovariance:
        """Read variances (K,)."""
        variance = positive(shaped(values, (num_components,))) / scale[0] ** 2
        return cls(exactly(np.sqrt(variance)), len(scale))


STRUCTURES: dict[str, type[AnyCovariance]] = {
    "full": FullCovariance,
    "tied": TiedCovariance,
    "diag": DiagonalCovariance,
    "spherical": SphericalCovariance,
}
"""Covariance structures by the names scikit-learn uses."""


def named(name: str, known: tuple[str, ...] = tuple(STRUCTURES)) -> type[AnyCovariance]:
    """Look a structure up.

    Raises:
        InputError: If there is none of this name.
    """
    if name not in known:
        raise InputError(f"covariance {name!r} is unknown{nearest(name, known)}")
    return STRUCTURES[name]


def any_covariance(covariance: AbstractCovariance) -> type[AnyCovariance]:
    """Return the kind of a mixture's structure."""
    assert isinstance(covariance, AnyCovariance)
    return type(covariance)
