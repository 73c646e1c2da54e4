"""K components with heavy tails: densities of rows, expected statistics, and the M-step."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.algorithms.gamma import log_half_ratio
from jensen.models.static.components import EMPTY, AbstractComponents, Seen
from jensen.models.static.covariance import AbstractCovariance
from jensen.models.static.raw import together
from jensen.typing import Array, Bool, Float, PRNGKey

LEAST_DF, MOST_DF = 0.5, 200.0
"""Degrees of freedom stay between: below, no digit is left in the tails; above, it is a Gaussian."""

_HALVINGS = 40
"""Of an interval that is log(400) long: more than float32 can tell."""


class StudentComponents(AbstractComponents):
    """Multivariate t laws t_ν(μ_k, Σ_k): N(μ_k, Σ_k/u) with u ~ Gamma(ν_k/2, ν_k/2) behind every row.

    Attributes:
        means: μ.
        covariance: The structure that holds the scale matrices Σ; covariances are ν/(ν − 2) times them.
        log_df: log ν.
    """

    means: Float[Array, "k d"]
    covariance: AbstractCovariance
    log_df: Float[Array, "k"]

    @property
    def df(self) -> Float[Array, "k"]:
        """ν, within its bounds."""
        return jnp.exp(jnp.clip(self.log_df, jnp.log(LEAST_DF), jnp.log(MOST_DF)))

    def log_density(self, seen: Seen, mask: Bool[Array, "n d"] | None) -> Float[Array, "k n"]:
        r"""Return log t_ν(x; μ_k, Σ_k).

        With a = ν/2 and m observed entries at the distance δ = |y|²: the Gaussian's peak, plus
        log Γ(a + m/2) − log Γ(a) − m/2 log a − (a + m/2) log(1 + δ/2a).
        """
        a = 0.5 * self.df[:, None]
        m = self._observed(seen, mask)
        half = 0.5 * jnp.arange(seen.y.shape[1])
        steps = log_half_ratio(a + half) + 0.5 * jnp.log1p(half / a)
        ratios = jnp.concatenate([jnp.zeros_like(a), jnp.cumsum(steps, 1)], 1)
        return seen.peak + ratios[:, m] - (a + 0.5 * m) * jnp.log1p(self._distance(seen) / (2 * a))

    def gathered(
        self, seen: Seen, mask: Bool[Array, "n d"] | None, r: Float[Array, "k n"]
    ) -> dict[str, Array]:
        """Sum moments weighted by E[u] (``load``), and E[log u] (``log_u``).

        What missing entries add to second moments, Cov[y | u]/u, needs no E[u].
        """
        a, m = 0.5 * self.df[:, None], self._observed(seen, mask)
        shape, rate = a + 0.5 * m, a + 0.5 * self._distance(seen)
        sums = self.moments(seen._replace(hidden=None), r * shape / rate)
        if seen.hidden is not None:
            sums["second"] = sums["second"] + self.covariance.second_hidden(r, seen.hidden)
        log_u = jax.lax.digamma(shape) - jnp.log(rate)
        return sums | {"load": sums["count"], "count": r.sum(1), "log_u": (r * log_u).sum(1)}

    def maximized(self, statistics: dict[str, Array], free: Any) -> StudentComponents:
        """Return the moments over E[u], and the ν at which log(ν/2) − ψ(ν/2) = log mean E[u] − mean E[log u].

        Second moments are divided by the sum of E[u], not by that of the rows (Kent, Tyler & Vardi 1994):
        the expansion u → αu, which climbs the same density in fewer steps.
        """
        count, load = statistics["count"], statistics["load"]
        means, covariance = self.about(statistics, load, free)
        if not free.log_df:
            return StudentComponents(means, covariance, self.log_df)
        kept = count > EMPTY * statistics["weight"]
        safe = jnp.where(kept, count, 1.0)
        # where covariances are held there is no α to choose
        expanded = together(self.covariance, free.covariance)
        mean_u = jnp.where(kept, load, 1.0) / safe
        target = (jnp.log(mean_u) if expanded else mean_u - 1) - statistics["log_u"] / safe
        return StudentComponents(means, covariance, jnp.where(kept, _log_df(target), self.log_df))

    def draw(self, *, key: PRNGKey) -> Float[Array, "k d"]:
        """Draw a row from every component."""
        to_noise, to_u = jax.random.split(key)
        noise = jax.random.normal(to_noise, self.means.shape)
        a = 0.5 * self.df
        u = jnp.exp(jax.random.loggamma(to_u, a)) / a
        return self.means + self.covariance.color(noise / jnp.sqrt(u)[:, None])

    def _observed(self, seen: Seen, mask: Bool[Array, "n d"] | None) -> Array:
        """Return how many entries of each row are observed."""
        return jnp.full(1, seen.y.shape[1]) if mask is None else mask.sum(1)

    def _distance(self, seen: Seen) -> Float[Array, "k n"]:
        return (seen.y * seen.y).sum(1)


def _log_df(target: Float[Array, "k"]) -> Float[Array, "k"]:
    """Solve log(ν/2) − ψ(ν/2) = target for log ν within its bounds; the left side falls from ∞ to 0."""
    low = jnp.full_like(target, jnp.log(LEAST_DF))
    high = jnp.full_like(target, jnp.log(MOST_DF))

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        mid = 0.5 * (low + high)
        a = 0.5 * jnp.exp(mid)
        above = jnp.log(a) - jax.lax.digamma(a) > target
        return jnp.where(above, mid, low), jnp.where(above, high, mid)

    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (low, high))
    return 0.5 * (low + high)
