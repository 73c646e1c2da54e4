"""Small instances of everything, with parameters moved off their starting values."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen import families, models, posteriors
from jensen.core import Datum
from jensen.nets import trainable

NUM_DATA = 3
BINARY = Datum(jnp.array([1.0, 0.0, 1.0]), index=jnp.asarray(1))
REAL = Datum(jnp.array([1.5, -0.6, 0.9]), index=jnp.asarray(1))


def moved(tree: Any, *, seed: int, by: float = 0.3) -> Any:
    """Add noise to every trainable number, so that nothing sits at a symmetric point."""
    params, static = eqx.partition(tree, trainable(tree))
    rng = np.random.default_rng(seed)
    moved = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(moved, static)


def decoder(prior: Any, likelihood: str) -> Any:
    made = models.Decoder(3, likelihood=likelihood, widths=(), prior=prior, key=jax.random.key(0))
    if likelihood == "gaussian":
        # a density near one keeps the plain score function's variance, which grows with |log p|, testable
        made = eqx.tree_at(lambda m: m.likelihood_family.log_scale, made, jnp.full(3, -0.7))
    return moved(made, seed=1, by=0.2)


DISCRETE = {
    "one-hot": (models.priors.OneHot(3), families.OneHot(3)),
    "categorical": (models.priors.Categorical(3), families.Categorical(3)),
    "bernoulli": (models.priors.Bernoulli(2), families.Bernoulli(2)),
}


def gaussian_family(name: str, dim: int) -> Any:
    return {
        "diag": lambda: families.DiagGaussian(dim),
        "low-rank": lambda: families.LowRankGaussian(dim, 1),
        "full": lambda: families.FullGaussian(dim),
    }[name]()


def posterior(name: str, family: Any) -> Any:
    key = jax.random.key(2)
    made = {
        "amortized": lambda: posteriors.Amortized(family, data_dim=3, widths=(), key=key),
        "per-datum": lambda: posteriors.PerDatum(family, num_data=NUM_DATA, key=key),
        "global": lambda: posteriors.Global(family, key=key),
    }[name]()
    return moved(made, seed=3)
