"""scikit-learn's ``reg_covar``: a covariance structure whose M-step adds a constant to every variance."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import cholesky
from jensen.families import bounded_exp
from jensen.models.static.covariance import AbstractCovariance, AnyCovariance, Whitened
from jensen.models.static.raw import LEAST_SCALE, raw_scale, together, untriangle
from jensen.models.static.structures import (
    DiagonalCovariance,
    FullCovariance,
    SphericalCovariance,
    TiedCovariance,
)
from jensen.typing import Array, Bool, Float


class Ridged(AbstractCovariance):
    """Σ_k = (maximum-likelihood estimate) + diag(ridge), and no other floor.

    Attributes:
        inner: The structure itself.
        ridge: What is added to the variances, in standardized coordinates.
    """

    isotropic: ClassVar[bool] = False
    inner: AnyCovariance
    ridge: Float[Array, "d"]

    def whiten(self, x: Float[Array, "d n"], means: Float[Array, "k d"]) -> Float[Array, "k d n"]:
        """Return y_k = L_k⁻¹(x − μ_k) of columns x."""
        return self.inner.whiten(x, means)

    def color(self, y: Float[Array, "k d"]) -> Float[Array, "k d"]:
        """Return L_k y_k."""
        return self.inner.color(y)

    def log_det(self) -> Float[Array, "..."]:
        """Return log|L_k|."""
        return self.inner.log_det()

    def observe(self, x: Float[Array, "d"], mask: Bool[Array, "d"], means: Float[Array, "k d"]) -> Whitened:
        """Condition one row on its observed entries."""
        return self.inner.observe(x, mask, means)

    def second(self, r: Float[Array, "k n"], y: Float[Array, "k d n"]) -> Float[Array, "..."]:
        """Sum the second moments of y_k with weights r."""
        return self.inner.second(r, y)

    def second_hidden(self, r: Float[Array, "k n"], hidden: Float[Array, "..."]) -> Float[Array, "..."]:
        """Sum what missing entries add to the second moments."""
        return self.inner.second_hidden(r, hidden)

    def spread(
        self, first: Float[Array, "k d"], second: Float[Array, "..."], shift: Float[Array, "k d"]
    ) -> Float[Array, "..."]:
        """Turn means of y and of its second moments into second moments about ``shift``."""
        return self.inner.spread(first, second, shift)

    def maximized(self, count: Float[Array, "k"], spread: Float[Array, "..."], free: Any) -> Ridged:
        """Return the maximum with the ridge added; whitened, that is L⁻¹ diag(ridge) L⁻ᵀ."""
        inner = self.inner
        if not together(inner, free.inner):
            return self
        d, kept = len(self.ridge), count > 0
        match inner:
            case FullCovariance():
                scale, below = untriangle(inner.tril @ jax.vmap(cholesky)(spread + self._whitened(spread)))
                raw = jnp.where(kept[:, None], raw_scale(scale), inner.raw)
                new = FullCovariance(raw, jnp.where(kept[:, None], below, inner.below))
            case TiedCovariance():
                mean = jnp.tensordot(count / count.sum(), spread + self._whitened(spread), 1)
                scale, below = untriangle(inner.tril @ cholesky(mean))
                new = TiedCovariance(raw_scale(scale[0]), below[0])
            case DiagonalCovariance():
                variance = inner.scale**2 * spread + self.ridge
                new = DiagonalCovariance(jnp.where(kept[:, None], raw_scale(jnp.sqrt(variance)), inner.raw))
            case SphericalCovariance():
                variance = bounded_exp(inner.raw) ** 2 * spread.mean(-1) + self.ridge.mean()
                new = SphericalCovariance(jnp.where(kept, raw_scale(jnp.sqrt(variance)), inner.raw), d)
            case _:
                raise TypeError(f"Ridged: {type(inner).__name__} is not one of the four structures")
        return Ridged(new, self.ridge)

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which deviations are as small as can be held: components that collapsed."""
        raw = jax.tree.leaves(self.inner)[0]
        return bounded_exp(raw) <= 1.01 * LEAST_SCALE

    def in_units(self, scale: np.ndarray) -> np.ndarray:
        """Return the covariances in units of ``scale``, shaped as scikit-learn's ``covariances_``."""
        return self.inner.in_units(scale)

    def _whitened(self, spread: Float[Array, "k d d"]) -> Float[Array, "k d d"]:
        eye = jnp.eye(len(self.ridge), dtype=spread.dtype)
        inverse = self.inner.whiten(eye, jnp.zeros(spread.shape[:2], spread.dtype))
        return (inverse * self.ridge) @ inverse.swapaxes(1, 2)
