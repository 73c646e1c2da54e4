"""Coordinate ascent on the mean-field bound, as a case of expectation maximization."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum, HasCoordinateAscent
from jensen.dist import kl_divergence
from jensen.typing import PyTree, Scalar


class MeanField(eqx.Module):
    """A conjugate model and its q(θ), as the EM loop sees a model and its parameters.

    The E-step sets every q(z_i), the M-step q(θ); in place of log p(x_i) stands what row i adds to the bound.

    Attributes:
        model: The model; it does not change.
        factors: q(θ).
        total: Sum of all row weights, over which KL(q(θ) ‖ p(θ)) is shared out.
    """

    model: HasCoordinateAscent
    factors: Any
    total: Scalar

    def expectation(self, rows: Datum) -> dict[str, Any]:
        """Sum a block's bounds, less its share of the KL, and its statistics."""
        sums = self.model.local_step(self.factors, rows)
        kl: Any = kl_divergence(self.factors, self.model.prior_of(None), None)
        return {**sums, "log_evidence": sums["bound"] - kl.sum() * sums["weight"] / self.total}

    def maximization(self, statistics: PyTree, trainable: PyTree = None) -> MeanField:
        """Return the best q(θ) given every q(z_i)."""
        factors = self.model.global_step(self.factors, statistics)
        return MeanField(self.model, factors, self.total)

    @property
    def free(self) -> PyTree:
        """Everything may change: what is held comes out of the M-step as it went in."""
        return jax.tree.map(lambda _: True, self)

    @classmethod
    def of(cls, model: Any, factors: Any, total: float) -> MeanField:
        """Begin."""
        return cls(model, factors, jnp.asarray(total, jnp.result_type(float)))
