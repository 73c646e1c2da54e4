"""What a covariance structure must be able to do, and the two ways to compute: by triangles, by columns.

Components have means μ_k and covariances Σ_k = L_k L_kᵀ. Everything goes through whitened coordinates
y_k = L_k⁻¹(x − μ_k): densities are −½|y|² − log|L|, and expected statistics gathered there are near the
identity, so that no covariance is ever formed from a difference of large numbers.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import cholesky, solve_lower
from jensen.typing import Array, Bool, Float

VARIANCE_FLOOR = 1e-6
"""Smallest variance the M-step returns, relative to that of the columns; in a mixture, to the clusters'."""

LOG_2PI = float(np.log(2 * np.pi))


class Whitened(NamedTuple):
    """One partly observed row as the components see it.

    Attributes:
        y: E[y_k | observed entries], (K, D).
        log_p: Log-density of the observed entries under each component, (K,), in nats.
        hidden: What missing entries add to the second moments of y.
        peak: Log-density at the component's mean, (K,): log_p is peak − ½|y|².
    """

    y: Float[Array, "k d"]
    log_p: Float[Array, "k"]
    hidden: Float[Array, "..."]
    peak: Float[Array, "k"]


class AbstractCovariance(eqx.Module):
    """The covariances of K components in D dimensions, up to shared parameters.

    Attributes:
        isotropic: Whether it treats all columns alike, so that one unit must serve them all.
    """

    isotropic: ClassVar[bool]

    @abstractmethod
    def whiten(self, x: Float[Array, "d n"], means: Float[Array, "k d"]) -> Float[Array, "k d n"]:
        """Return y_k = L_k⁻¹(x − μ_k) of columns x."""

    @abstractmethod
    def color(self, y: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Return L_k y_k."""

    @abstractmethod
    def log_det(self) -> Float[Array, "..."]:
        """Return log|L_k|, (K,), or (1,) where all components share it."""

    @abstractmethod
    def observe(self, x: Float[Array, "d"], mask: Bool[Array, "d"], means: Float[Array, "k d"]) -> Whitened:
        """Condition one row on its observed entries, the missing ones integrated out exactly."""

    @abstractmethod
    def second(self, r: Float[Array, "k n"], y: Float[Array, "k d n"]) -> Float[Array, "..."]:
        """Sum the second moments of y_k with weights r."""

    @abstractmethod
    def second_hidden(self, r: Float[Array, "k n"], hidden: Float[Array, "..."]) -> Float[Array, "..."]:
        """Sum what missing entries add to the second moments, axes of ``hidden`` led by rows."""

    @abstractmethod
    def spread(
        self, first: Float[Array, "k d"], second: Float[Array, "..."], shift: Float[Array, "k d"]
    ) -> Float[Array, "..."]:
        """Turn means of y and of its second moments into second moments about ``shift``."""

    @abstractmethod
    def maximized(
        self, count: Float[Array, "k"], spread: Float[Array, "..."], free: Any
    ) -> AbstractCovariance:
        """Return the structure that maximizes the expected log-density.

        Args:
            count: Weight of each component; zero for one to leave alone.
            spread: Second moments of y about the new means.
            free: A tree like ``self`` of booleans: what may change.
        """

    @abstractmethod
    def at_floor(self) -> Bool[Array, "..."]:
        """Say which of its variances sit at the floor."""

    @abstractmethod
    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return the covariances in units of ``scale``, shaped as scikit-learn's ``covariances_``."""


class AnyCovariance(AbstractCovariance):
    """A structure that can be told its covariances, as those of mixtures can."""

    @classmethod
    @abstractmethod
    def pooled(cls, covariance: np.ndarray, num_components: int) -> AnyCovariance:
        """Return the structure in which every component has nearly this covariance, (D, D). Host code."""

    @classmethod
    @abstractmethod
    def variances(cls, values: Any, num_components: int, data_dim: int) -> np.ndarray:
        """Return the marginal variances, (K, D), of covariances in the structure's shape. Host code."""

    @classmethod
    @abstractmethod
    def in_frame(cls, values: Any, scale: np.ndarray, num_components: int) -> AnyCovariance:
        """Return the structure of covariances given in the data's units, in units of ``scale``. Host code.

        Raises:
            InputError: If their shape is not the structure's, or one is not positive definite.
        """


def rounding(first: Float[Array, "k d"]) -> Float[Array, "k 1"]:
    """Return the rounding error of a second moment about a mean this far away, relative to one."""
    return 8 * jnp.finfo(first.dtype).eps * (1 + (first**2).sum(-1, keepdims=True))


class AbstractTriangular(AbstractCovariance):
    """Structures with correlations, through the lower Cholesky factor L."""

    @property
    @abstractmethod
    def tril(self) -> Float[Array, "j d d"]:
        """The factors L; J is K, or 1 where all components share one."""

    def whiten(self, x: Float[Array, "d n"], means: Float[Array, "k d"]) -> Float[Array, "k d n"]:
        """Return L_k⁻¹ x − L_k⁻¹ μ_k, by one matrix product for all components."""
        tril = self.tril
        j, d, _ = tril.shape
        inverse = jax.vmap(solve_lower, in_axes=(0, None))(tril, jnp.eye(d, dtype=tril.dtype))
        y = (inverse.reshape(j * d, d) @ x).reshape(j, d, -1)
        return y - (inverse @ means[..., None])

    def color(self, y: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Return L_k y_k."""
        return (self.tril @ y[..., None])[..., 0]

    def log_det(self) -> Float[Array, "j"]:
        """Return Σ log of the diagonal."""
        return jnp.log(jnp.diagonal(self.tril, axis1=1, axis2=2)).sum(-1)

    def observe(self, x: Float[Array, "d"], mask: Bool[Array, "d"], means: Float[Array, "k d"]) -> Whitened:
        """Factor the observed block, the rows and columns of missing entries replaced by the identity.

        With C that factor, G = C⁻¹ L without its missing rows and u = C⁻¹(x − μ): E[y] = Gᵀu and
        Cov[y] = I − GᵀG.
        """
        tril, d = self.tril, x.shape[0]
        eye = jnp.eye(d, dtype=tril.dtype)
        seen = tril * mask[:, None]
        block = jnp.where(mask[:, None] & mask, tril @ tril.swapaxes(1, 2), eye)
        factor = jax.vmap(cholesky)(block)
        centred = jnp.where(mask, x - means, 0.0)
        g = jax.vmap(solve_lower)(factor, seen)
        each = jnp.broadcast_to(factor, (means.shape[0], d, d))
        u = jax.vmap(solve_lower)(each, centred[..., None])
        y = (g.swapaxes(1, 2) @ u)[..., 0]
        log_det = jnp.log(jnp.diagonal(factor, axis1=1, axis2=2)).sum(-1)
        peak = -log_det - 0.5 * LOG_2PI * mask.sum()
        return Whitened(y, peak - 0.5 * (u**2).sum((1, 2)), eye - g.swapaxes(1, 2) @ g, peak)

    def second(self, r: Float[Array, "k n"], y: Float[Array, "k d n"]) -> Float[Array, "k d d"]:
        """Return Σ r y yᵀ."""
        return jnp.einsum("kin,kjn->kij", r[:, None] * y, y)

    def second_hidden(self, r: Float[Array, "k n"], hidden: Float[Array, "n j d d"]) -> Float[Array, "k d d"]:
        """Return Σ r Cov[y]."""
        n, _, d, _ = hidden.shape
        hidden = jnp.broadcast_to(hidden, (n, r.shape[0], d, d))
        return jnp.einsum("kn,nkab->kab", r, hidden)

    def spread(
        self, first: Float[Array, "k d"], second: Float[Array, "k d d"], shift: Float[Array, "k d"]
    ) -> Float[Array, "k d d"]:
        """Return E[(y − s)(y − s)ᵀ], lifted by its own rounding error so that it has a Cholesky factor."""
        cross = shift[:, :, None] * first[:, None, :]
        about = second - cross - cross.swapaxes(1, 2) + shift[:, :, None] * shift[:, None, :]
        eye = jnp.eye(first.shape[-1], dtype=first.dtype)
        return about + rounding(first)[..., None] * eye

    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return diag(scale) L Lᵀ diag(scale), in float64."""
        tril = scale[:, None] * np.asarray(self.tril, np.float64)
        return tril @ tril.swapaxes(1, 2)


class AbstractAxisAligned(AbstractCovariance):
    """Structures without correlations: columns are independent, and missing ones drop out."""

    @property
    @abstractmethod
    def scale(self) -> Float[Array, "k d"]:
        """Standard deviations."""

    def whiten(self, x: Float[Array, "d n"], means: Float[Array, "k d"]) -> Float[Array, "k d n"]:
        """Return (x − μ_k)/σ_k."""
        return (x - means[..., None]) / self.scale[..., None]

    def color(self, y: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Return σ_k y_k."""
        return self.scale * y

    def log_det(self) -> Float[Array, "k"]:
        """Return Σ log σ_k."""
        return jnp.log(self.scale).sum(-1)

    def observe(self, x: Float[Array, "d"], mask: Bool[Array, "d"], means: Float[Array, "k d"]) -> Whitened:
        """Zero the missing columns; each has variance one there."""
        y = jnp.where(mask, (x - means) / self.scale, 0.0)
        log_det = jnp.where(mask, jnp.log(self.scale), 0.0).sum(-1)
        peak = -log_det - 0.5 * LOG_2PI * mask.sum()
        return Whitened(y, peak - 0.5 * (y**2).sum(-1), 1.0 - mask, peak)

    def second(self, r: Float[Array, "k n"], y: Float[Array, "k d n"]) -> Float[Array, "k d"]:
        """Return Σ r y²."""
        return (r[:, None] * y * y).sum(-1)

    def second_hidden(self, r: Float[Array, "k n"], hidden: Float[Array, "n d"]) -> Float[Array, "k d"]:
        """Return the weight of rows in which a column is missing."""
        return r @ hidden

    def spread(
        self, first: Float[Array, "k d"], second: Float[Array, "k d"], shift: Float[Array, "k d"]
    ) -> Float[Array, "k d"]:
        """Return E[(y − s)²], not below its own rounding error."""
        return jnp.maximum(second - 2 * shift * first + shift**2, rounding(first))
