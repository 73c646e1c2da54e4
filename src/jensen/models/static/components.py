"""K Gaussian components: densities of rows, expected statistics, and the M-step."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.models.static.covariance import LOG_2PI, AbstractCovariance, Whitened
from jensen.typing import Array, Bool, Float

EMPTY = 1e-6
"""Share of the data below which a component keeps the parameters it has."""


class Components(eqx.Module):
    """Gaussians N(μ_k, Σ_k) in standardized coordinates.

    Attributes:
        means: μ.
        covariance: The structure that holds Σ.
    """

    means: Float[Array, "k d"]
    covariance: AbstractCovariance

    def log_prob(self, x: Float[Array, "d"], mask: Bool[Array, "d"] | None) -> Float[Array, "k"]:
        """Return log N(x; μ_k, Σ_k) of one row, missing entries integrated out, in nats."""
        if mask is not None:
            return self.covariance.observe(x, mask, self.means).log_p
        return self._log_prob(self.covariance.whiten(x[:, None], self.means))[:, 0]

    def conditional_mean(
        self, log_weights: Float[Array, "k"], x: Float[Array, "d"], mask: Bool[Array, "d"]
    ) -> Float[Array, "d"]:
        """Return E[x | observed entries] of one row."""
        seen = self.covariance.observe(x, mask, self.means)
        means = self.means + self.covariance.color(seen.y)
        return jax.nn.softmax(log_weights + seen.log_p) @ means

    def expectation(
        self,
        log_weights: Float[Array, "k"],
        x: Float[Array, "n d"],
        mask: Bool[Array, "n d"] | None,
        weight: Float[Array, "n"],
    ) -> dict[str, Array]:
        """Sum expected statistics over rows, in every component's own whitened coordinates.

        Args:
            log_weights: log p(z = k).
            x: Rows.
            mask: True where observed.
            weight: Row weights.

        Returns:
            Sums of responsibilities (``count``), of y (``first``) and its second moments (``second``), of
            row weights, and of log p(x).
        """
        seen = None if mask is None else self._observe(x, mask)
        if seen is None:
            y = self.covariance.whiten(x.T, self.means)
            log_p = self._log_prob(y)
        else:
            y, log_p = jnp.moveaxis(seen.y, 0, -1), seen.log_p.T
        joint = log_weights[:, None] + log_p
        top = jax.lax.stop_gradient(joint.max(0))
        r = jnp.exp(joint - top)
        total = r.sum(0)
        r = r * (weight / total)
        second = self.covariance.second(r, y)
        if seen is not None:
            second = second + self.covariance.second_hidden(r, seen.hidden)
        return {
            "log_evidence": (weight * (top + jnp.log(total))).sum(),
            "weight": weight.sum(),
            "count": r.sum(1),
            "first": (r[:, None] * y).sum(-1),
            "second": second,
        }

    def maximized(self, statistics: dict[str, Array], free: Any) -> Components:
        """Return the components that maximize the expected log-density, held parts conditioned on.

        Covariances are about the new means, or about the old ones where means are held. A component with
        next to no data keeps what it has.

        Args:
            statistics: What ``expectation`` summed.
            free: A tree like ``self`` of booleans: what may change.
        """
        count = statistics["count"]
        count = jnp.where(count > EMPTY * statistics["weight"], count, 0.0)
        safe = jnp.where(count > 0, count, 1.0)
        first = jnp.where(count[:, None] > 0, statistics["first"] / safe[:, None], 0.0)
        second = statistics["second"]
        lead = (-1,) + (1,) * (second.ndim - 1)
        second = second / safe.reshape(lead)
        shift = first if free.means else jnp.zeros_like(first)
        spread = self.covariance.spread(first, second, shift)
        means = self.means + self.covariance.color(shift) if free.means else self.means
        return Components(means, self.covariance.maximized(count, spread, free.covariance))

    def _log_prob(self, y: Float[Array, "k d n"]) -> Float[Array, "k n"]:
        log_det = self.covariance.log_det()[:, None]
        return -0.5 * (y * y).sum(1) - log_det - 0.5 * LOG_2PI * y.shape[1]

    def _observe(self, x: Float[Array, "n d"], mask: Bool[Array, "n d"]) -> Whitened:
        return jax.vmap(lambda row, seen: self.covariance.observe(row, seen, self.means))(x, mask)
