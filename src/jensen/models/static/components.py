"""K Gaussian components: densities of rows, expected statistics, and the M-step."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.models.static.covariance import LOG_2PI, AbstractCovariance
from jensen.typing import Array, Bool, Float

EMPTY = 1e-6
"""Share of the data below which a component keeps the parameters it has."""


class Seen(NamedTuple):
    """Rows as the components see them.

    Attributes:
        y: E[y_k | observed entries], whitened.
        log_p: log-density of the observed entries, in nats.
        hidden: What missing entries add to the second moments of y, rows leading; ``None`` where none are.
    """

    y: Float[Array, "k d n"]
    log_p: Float[Array, "k n"]
    hidden: Float[Array, "..."] | None


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
            Sums of row weights and of log p(x), and what ``moments`` sums.
        """
        seen = self.see(x, mask)
        joint = log_weights[:, None] + seen.log_p
        top = jax.lax.stop_gradient(joint.max(0))
        r = jnp.exp(joint - top)
        total = r.sum(0)
        r = r * (weight / total)
        return {
            "log_evidence": (weight * (top + jnp.log(total))).sum(),
            "weight": weight.sum(),
            **self.moments(seen, r),
        }

    def see(
        self,
        x: Float[Array, "n d"],
        mask: Bool[Array, "n d"] | None,
        drift: Float[Array, "k d n"] | None = None,
    ) -> Seen:
        """Return rows in every component's whitened coordinates, missing entries by their expectations.

        Args:
            x: Rows.
            mask: True where observed.
            drift: What to add to the means, row by row.
        """
        if mask is not None:
            means = self.means if drift is None else self.means + jnp.moveaxis(drift, -1, 0)
            axis = None if drift is None else 0
            got = jax.vmap(self.covariance.observe, in_axes=(0, 0, axis))(x, mask, means)
            return Seen(jnp.moveaxis(got.y, 0, -1), got.log_p.T, got.hidden)
        y = self.covariance.whiten(x.T, self.means)
        if drift is not None:
            k, d = self.means.shape
            inverse = self.covariance.whiten(jnp.eye(d, dtype=x.dtype), jnp.zeros((k, d), x.dtype))
            y = y - inverse @ drift
        return Seen(y, self._log_prob(y), None)

    def moments(self, seen: Seen, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum rows weighted by ``r``: weights (``count``), y (``first``), its second moments (``second``)."""
        second = self.covariance.second(r, seen.y)
        if seen.hidden is not None:
            second = second + self.covariance.second_hidden(r, seen.hidden)
        return {"count": r.sum(1), "first": (r[:, None] * seen.y).sum(-1), "second": second}

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
