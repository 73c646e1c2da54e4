"""Gaussian emissions: any covariance structure of the mixtures, and means that may be linear in inputs."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import inverse
from jensen.core import Datum
from jensen.dist import JointGaussianRow
from jensen.models.sequence.emissions import EMPTY, AbstractEmission, Steps
from jensen.models.static.components import Components
from jensen.models.static.framed import frame_of, in_units, standardized
from jensen.models.static.start import k_means, pooled_covariance, weights_of
from jensen.models.static.structures import any_covariance, named
from jensen.nets import Frame
from jensen.typing import Array, Bool, Float, PRNGKey

RIDGE = 1e-6
"""Added to the second moments of inputs, relative to their own, that a regression divides by."""


class GaussianEmission(AbstractEmission):
    """x_t ~ N(μ_k + B_k u_t, Σ_k), parameters in standardized coordinates.

    Attributes:
        components: μ and Σ.
        weights: B.
        input_frame: Coordinates of the inputs.
    """

    kind: ClassVar[str] = "gaussian"
    components: Components
    weights: Float[Array, "k d u"]
    input_frame: Frame
    data_dim: int
    input_dim: int

    @classmethod
    def new(
        cls, num_states: int, data_dim: int, input_dim: int, covariance: str, *, key: PRNGKey
    ) -> GaussianEmission:
        """Return random means and unit covariances."""
        means = jax.random.normal(key, (num_states, data_dim))
        components = Components(means, named(covariance).pooled(np.eye(data_dim), num_states))
        weights = jnp.zeros((num_states, data_dim, input_dim))
        frame = Frame.identity(input_dim)
        return cls(
            components=components, weights=weights, input_frame=frame, data_dim=data_dim, input_dim=input_dim
        )

    def see(
        self, x: Float[Array, "n d"], mask: Bool[Array, "n d"] | None, inputs: Float[Array, "n u"] | None
    ) -> Steps:
        """Whiten every step; missing entries enter by their expectations."""
        u = None if inputs is None else self.input_frame.enter(inputs)
        seen = self.components.see(x, mask, self._drift(u))
        return Steps(seen.log_p, (seen, u))

    def moments(self, steps: Steps, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum whitened moments, and their products with the inputs."""
        seen, u = steps.detail
        sums = self.components.moments(seen, r)
        if u is None:
            return sums
        return sums | {
            "inputs": r @ u,
            "cross": jnp.einsum("kn,kdn,nu->kdu", r, seen.y, u),
            "gram": jnp.einsum("kn,nu,nv->kuv", r, u, u),
        }

    def maximized(self, statistics: dict[str, Array], free: Any) -> GaussianEmission:
        """Return the closed-form maximum: moments, or a regression on the inputs where there are any."""
        if self.input_dim == 0 or not free.weights:
            components = self.components.maximized(statistics, free.components)
            return eqx.tree_at(lambda e: e.components, self, components)
        return self._regressed(statistics, free)

    def expected(self, steps: Steps, r: Float[Array, "k n"]) -> Float[Array, "n d"]:
        """Mix the states' conditional means, in standardized coordinates."""
        seen, u = steps.detail
        away = jax.vmap(self.components.covariance.color, in_axes=-1, out_axes=-1)(seen.y)
        means = self.components.means[..., None] + away
        drift = self._drift(u)
        return jnp.einsum("kn,kdn->nd", r, means if drift is None else means + drift)

    def observation(self, state: Any, inputs: Float[Array, "u"] | None, frame: Frame) -> JointGaussianRow:
        """Return N(μ_k + B_k u, Σ_k)."""
        loc = self.components.means[state]
        if inputs is not None:
            loc = loc + self.weights[state] @ self.input_frame.enter(inputs)
        k, d = self.components.means.shape
        unit = jnp.broadcast_to(jnp.eye(d, dtype=loc.dtype), (k, d, d))
        tril = jax.vmap(self.components.covariance.color, in_axes=-1, out_axes=-1)(unit)[state]
        return JointGaussianRow(frame.leave(loc), jax.lax.stop_gradient(frame.scale)[:, None] * tril)

    def at_floor(self) -> Bool[Array, "..."]:
        """Say which variances sit at the floor."""
        return self.components.covariance.at_floor()

    def check(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Any real number will do."""

    def start(
        self, rows: Datum, rng: np.random.Generator
    ) -> tuple[GaussianEmission, Frame, np.ndarray | None]:
        """Start at k-means centres of the steps, or of what a regression on the inputs leaves of them."""
        k, structure = len(self.components.means), any_covariance(self.components.covariance)
        frame, real = frame_of(rows, structure.isotropic), jnp.result_type(float)
        y, weight = standardized(frame, rows), weights_of(rows)
        slope, inputs = np.zeros((self.data_dim, self.input_dim)), self.input_frame
        if self.input_dim:
            inputs = Frame.standardizing(np.asarray(rows.cond), None, weight)
            u = standardized(inputs, Datum(rows.cond))
            gram = (weight[:, None] * u).T @ u
            gram += RIDGE * (np.trace(gram) + 1.0) * np.eye(self.input_dim)
            slope = np.linalg.solve(gram, (weight[:, None] * u).T @ y).T
            y = y - u @ slope.T
        centres, label = k_means(y, weight, k, rng)
        pooled = pooled_covariance(y - centres[label], weight)
        components = Components(jnp.asarray(centres, real), structure.pooled(pooled, k))
        weights = jnp.asarray(np.broadcast_to(slope, self.weights.shape), real)
        new = eqx.tree_at(
            lambda e: (e.components, e.weights, e.input_frame), self, (components, weights, inputs)
        )
        return new, frame, label

    def parameters(self, frame: Frame) -> dict[str, np.ndarray]:
        """Return means (at u = 0), covariances and, where there are inputs, their weights."""
        scale = np.asarray(frame.scale, np.float64)
        covariances = self.components.covariance.in_units(scale)
        if not self.input_dim:
            return {"means": in_units(frame, self.components.means), "covariances": covariances}
        unit = np.asarray(self.input_frame.scale, np.float64)
        weights = np.asarray(self.weights, np.float64) / unit
        means = np.asarray(self.components.means, np.float64)
        means = means - weights @ np.asarray(self.input_frame.shift, np.float64)
        means = np.asarray(frame.shift, np.float64) + scale * means
        return {"means": means, "covariances": covariances, "input_weights": scale[:, None] * weights}

    def _drift(self, u: Float[Array, "n u"] | None) -> Float[Array, "k d n"] | None:
        return None if u is None else jnp.einsum("kdu,nu->kdn", self.weights, u)

    def _regressed(self, statistics: dict[str, Array], free: Any) -> GaussianEmission:
        """Regress y on u about their weighted means (about zero where the intercept is held).

        What the regression explains leaves the second moments, and the rest is the M-step without inputs.
        """
        count = statistics["count"]
        enough = (count > EMPTY * statistics["weight"])[:, None, None]
        safe = jnp.where(enough, count[:, None, None], 1.0)
        first, u = statistics["first"][..., None] / safe, statistics["inputs"][:, None] / safe
        u = u if free.components.means else jnp.zeros_like(u)
        cross = statistics["cross"] / safe - first * u
        gram = statistics["gram"] / safe - u.swapaxes(1, 2) * u
        ridge = RIDGE * (1.0 + jnp.trace(statistics["gram"] / safe, axis1=1, axis2=2))[:, None, None]
        slope = jnp.where(enough, cross @ jax.vmap(inverse)(gram + ridge * jnp.eye(self.input_dim)), 0.0)
        both = slope @ cross.swapaxes(1, 2)
        explained = both + both.swapaxes(1, 2) - slope @ gram @ slope.swapaxes(1, 2)
        if statistics["second"].ndim == 2:
            explained, safe = jnp.diagonal(explained, axis1=1, axis2=2), safe[..., 0]
        statistics = statistics | {"second": statistics["second"] - safe * explained}
        components = self.components.maximized(statistics, free.components)
        color = self.components.covariance.color
        means = components.means - color((slope * u).sum(-1))
        weights = self.weights + jax.vmap(color, in_axes=-1, out_axes=-1)(slope)
        components = eqx.tree_at(lambda c: c.means, components, means)
        return eqx.tree_at(lambda e: (e.components, e.weights), self, (components, weights))
