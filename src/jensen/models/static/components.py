"""K components: densities of rows, expected statistics, and the M-step."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.models.static.covariance import LOG_2PI, AbstractCovariance
from jensen.typing import Array, Bool, Float, PRNGKey

EMPTY = 1e-6
"""Share of the data below which a component keeps the parameters it has."""


class Seen(NamedTuple):
    """Rows as the components see them.

    Attributes:
        y: E[y_k | observed entries], whitened.
        log_p: Gaussian log-density of the observed entries, in nats.
        hidden: What missing entries add to the second moments of y, rows leading; ``None`` where none are.
        peak: The log-density at the means, of which ½|y|² is taken for ``log_p``; (K, 1) where all rows
            share it.
    """

    y: Float[Array, "k d n"]
    log_p: Float[Array, "k n"]
    hidden: Float[Array, "..."] | None
    peak: Float[Array, "k ..."]


class AbstractComponents(eqx.Module):
    """K components about means μ_k with the shapes of Gaussians, in standardized coordinates.

    Attributes:
        means: μ.
        covariance: The structure that holds Σ.
    """

    means: eqx.AbstractVar[Float[Array, "k d"]]
    covariance: eqx.AbstractVar[AbstractCovariance]

    @abstractmethod
    def log_density(self, seen: Seen, mask: Bool[Array, "n d"] | None) -> Float[Array, "k n"]:
        """Return the log-density of the observed entries under each component, in nats."""

    @abstractmethod
    def gathered(
        self, seen: Seen, mask: Bool[Array, "n d"] | None, r: Float[Array, "k n"]
    ) -> dict[str, Array]:
        """Sum what ``maximized`` takes over rows, responsibilities ``r`` as ``count`` among it."""

    @abstractmethod
    def maximized(self, statistics: dict[str, Array], free: Any) -> "AbstractComponents":
        """Return the components that maximize the expected log-density, held parts conditioned on.

        Covariances are about the new means, or about the old ones where means are held. A component with
        next to no data keeps what it has.

        Args:
            statistics: What ``expectation`` summed.
            free: A tree like ``self`` of booleans: what may change.
        """

    @abstractmethod
    def draw(self, *, key: PRNGKey) -> Float[Array, "k d"]:
        """Draw a row from every component."""

    def log_prob(self, x: Float[Array, "d"], mask: Bool[Array, "d"] | None) -> Float[Array, "k"]:
        """Return log p(x | k) of one row, missing entries integrated out, in nats."""
        mask = None if mask is None else mask[None]
        return self.log_density(self.see(x[None], mask), mask)[:, 0]

    def conditional_mean(
        self, log_weights: Float[Array, "k"], x: Float[Array, "d"], mask: Bool[Array, "d"]
    ) -> Float[Array, "d"]:
        """Return E[x | observed entries] of one row."""
        seen = self.see(x[None], mask[None])
        means = self.means + self.covariance.color(seen.y[..., 0])
        return jax.nn.softmax(log_weights + self.log_density(seen, mask[None])[:, 0]) @ means

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
            Sums of row weights and of log p(x), and what ``gathered`` sums.
        """
        seen = self.see(x, mask)
        joint = log_weights[:, None] + self.log_density(seen, mask)
        top = jax.lax.stop_gradient(joint.max(0))
        r = jnp.exp(joint - top)
        total = r.sum(0)
        r = r * (weight / total)
        return {
            "log_evidence": (weight * (top + jnp.log(total))).sum(),
            "weight": weight.sum(),
            **self.gathered(seen, mask, r),
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
            return Seen(jnp.moveaxis(got.y, 0, -1), got.log_p.T, got.hidden, got.peak.T)
        y = self.covariance.whiten(x.T, self.means)
        if drift is not None:
            k, d = self.means.shape
            inverse = self.covariance.whiten(jnp.eye(d, dtype=x.dtype), jnp.zeros((k, d), x.dtype))
            y = y - inverse @ drift
        peak = -self.covariance.log_det()[:, None] - 0.5 * LOG_2PI * y.shape[1]
        return Seen(y, peak - 0.5 * (y * y).sum(1), None, peak)

    def moments(self, seen: Seen, r: Float[Array, "k n"]) -> dict[str, Array]:
        """Sum rows weighted by ``r``: weights (``count``), y (``first``), its second moments (``second``)."""
        second = self.covariance.second(r, seen.y)
        if seen.hidden is not None:
            second = second + self.covariance.second_hidden(r, seen.hidden)
        return {"count": r.sum(1), "first": (r[:, None] * seen.y).sum(-1), "second": second}

    def about(
        self, statistics: dict[str, Array], count: Float[Array, "k"], free: Any
    ) -> tuple[Array, AbstractCovariance]:
        """Return the means and covariances of moments summed with weights ``count``."""
        count = jnp.where(count > EMPTY * statistics["weight"], count, 0.0)
        safe = jnp.where(count > 0, count, 1.0)
        first = jnp.where(count[:, None] > 0, statistics["first"] / safe[:, None], 0.0)
        second = statistics["second"]
        lead = (-1,) + (1,) * (second.ndim - 1)
        second = second / safe.reshape(lead)
        shift = first if free.means else jnp.zeros_like(first)
        spread = self.covariance.spread(first, second, shift)
        means = self.means + self.covariance.color(shift) if free.means else self.means
        return means, self.covariance.maximized(count, spread, free.covariance)


class Components(AbstractComponents):
    """Gaussians N(μ_k, Σ_k).

    Attributes:
        means: μ.
        covariance: The structure that holds Σ.
    """

    means: Float[Array, "k d"]
    covariance: AbstractCovariance

    def log_density(self, seen: Seen, mask: Bool[Array, "n d"] | None) -> Float[Array, "k n"]:
        """Return log N(x; μ_k, Σ_k)."""
        return seen.log_p

    def gathered(
        self, seen: Seen, mask: Bool[Array, "n d"] | None, r: Float[Array, "k n"]
    ) -> dict[str, Array]:
        """Sum the moments."""
        return self.moments(seen, r)

    def maximized(self, statistics: dict[str, Array], free: Any) -> "Components":
        """Return the weighted means and covariances."""
        return Components(*self.about(statistics, statistics["count"], free))

    def draw(self, *, key: PRNGKey) -> Float[Array, "k d"]:
        """Draw a row from every component."""
        noise = jax.random.normal(key, self.means.shape)
        return self.means + self.covariance.color(noise)
