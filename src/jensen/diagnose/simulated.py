"""A certified interval for log p(x), on data drawn from the fitted model, where the latents are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.certificate import interval
from jensen.algorithms.weights import log_mean_exp
from jensen.core import Datum, HasFamily, IndexesData, Simulates
from jensen.diagnose import bounds
from jensen.diagnose.bounds import Method
from jensen.diagnose.estimate import Effort, finite
from jensen.diagnose.evidence import sandwiched, settings_of
from jensen.diagnose.optimum import optimize, tabled
from jensen.diagnose.particles import bracketed
from jensen.diagnose.progress import Progress
from jensen.diagnose.rows import count, first, per_row
from jensen.dist import AbstractDensity
from jensen.typing import PRNGKey


@dataclass(frozen=True)
class Bracket:
    """An interval that holds the mean of log p(x) over simulated rows with at least ``confidence``.

    Attributes:
        lower: Lower end, nats per datum.
        upper: Upper end, nats per datum.
        confidence: 0.95, or 1 where log p(x) is exact.
        num_data: Number of simulated rows.
        method: How log p(x) was bracketed.
        settings: Temperatures, chains and leapfrog steps, or particles, or samples.
        per_datum: ``lower`` and ``upper`` of each row, before the allowance for finitely many rows.
    """

    lower: float
    upper: float
    confidence: float
    num_data: int
    method: Method
    settings: dict[str, int] = field(default_factory=dict)
    per_datum: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def width(self) -> float:
        """Upper minus lower end, in nats."""
        return self.upper - self.lower

    def to_json(self) -> dict[str, Any]:
        """Return the interval."""
        return {name: finite(getattr(self, name)) for name in ("lower", "upper", "width", "confidence")}


def simulated(
    model: Any, posterior: Any, rows: Datum, effort: Effort, *, key: PRNGKey, progress: Progress
) -> Bracket | None:
    """Simulate as many rows as given (same conditions and missing entries) and bracket their log p(x).

    The latent that generated a row is an exact draw of its posterior: it starts the backward chain, or is the
    path that a second particle filter keeps, and nothing else sees it. Every row has noise of its own, so the
    two means, moved apart by log(2/α)/N, hold the truth with probability 1 − α.

    Args:
        model: The model as the draws see it.
        posterior: The posterior; one with parameters per training row is fitted afresh.
        rows: Stacked rows that lend their conditions and masks.
        effort: How much work.
        key: Randomness.
        progress: Told of the progress.

    Returns:
        The interval, or ``None`` where the model cannot be simulated, or the posterior has no density, or
        none at the latents of some row.
    """
    if not isinstance(model, Simulates):
        return None
    num = count(rows)
    to_data, to_q, to_run = jax.random.split(key, 3)
    latents, data = _simulate(model, rows, jax.random.split(to_data, num))
    if isinstance(posterior, HasFamily) and isinstance(posterior, IndexesData):
        found = optimize(model, posterior, data, effort, fresh=True, key=to_q, progress=progress)
        posterior, data = tabled(posterior, found.params, data, key=to_q)
    example = first(data)
    method = bounds.methods_for(model, posterior, example, key=to_q)[0]
    if method == "importance" and not isinstance(posterior(model, example, key=to_q), AbstractDensity):
        return None
    if method == "ais":
        known = (data, bounds.Given.exactly(latents))
        out = sandwiched(model, posterior, known, effort, key=to_run, progress=progress)
        low, high = out["lower"], out["upper"]
    elif method == "particle":
        out = bracketed(model, posterior, data, latents, effort, key=to_run, progress=progress)
        low, high = out["lower"], out["upper"]
    else:
        low, high = per_row(
            lambda rows, keys: _bracket(model, posterior, method, effort, rows, keys),
            (latents, data),
            key=to_run,
            progress=progress,
            label="simulated data",
        )
    seen = {"lower": np.asarray(low, np.float64), "upper": np.asarray(high, np.float64)}
    if method in ("exact", "enumerate"):
        mean = float(seen["lower"].mean())
        return Bracket(mean, mean, 1.0, num, method, {}, seen)
    if not np.isfinite(seen["upper"]).all():
        return None
    certified = interval(seen["lower"], seen["upper"])
    return Bracket(*certified, num, method, settings_of(method, effort), seen)


@eqx.filter_jit
def _simulate(model: Any, rows: Datum, keys: Any) -> tuple[Any, Datum]:
    def one(datum: Datum, key: Any) -> tuple[Any, Datum]:
        z, x = model.simulate(datum, key=key)
        return z, eqx.tree_at(lambda d: d.x, datum, x)

    return jax.vmap(one)(jax.tree.map(jnp.asarray, rows), keys)


@eqx.filter_jit
def _bracket(
    model: Any, posterior: Any, method: Method, effort: Effort, drawn: tuple[Any, Datum], keys: Any
) -> Any:
    def one(drawn: tuple[Any, Datum], key: Any) -> tuple[Any, Any]:
        z, datum = drawn
        to_q, draws = jax.random.split(key)
        if method == "exact":
            value = bounds.exact(model, datum, key=draws)
            return value, value
        q = posterior(model, datum, key=to_q)
        if method == "enumerate":
            value = bounds.enumerated(model, q, datum)
            return value, value
        # annealing in one step: one weight at the exact draw among K, as in algorithms.ais.upper
        log_w = bounds.log_weights(model, q, datum, effort.samples, key=draws)
        own = model.log_joint(z, datum) - q.log_prob(z).sum()
        return log_mean_exp(log_w), log_mean_exp(log_w.at[0].set(own))

    return jax.vmap(one)(drawn, keys)
