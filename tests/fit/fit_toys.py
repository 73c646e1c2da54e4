"""Tiny models with known answers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import jensen as jn
from jensen.core import AbstractLatentModel, Datum
from jensen.dist import DiagGaussian


class Location(AbstractLatentModel):
    """z ~ N(0, 1), x | z ~ N(a + z, 1): every quantity is known."""

    prior_law = DiagGaussian
    a: jax.Array

    def prior_of(self, cond):
        return DiagGaussian(jnp.zeros(1), jnp.ones(1))

    def log_likelihood(self, z, datum):
        return jnp.sum(-0.5 * (datum.x - self.a - z) ** 2 - 0.5 * jnp.log(2 * jnp.pi))

    def log_joint(self, z, datum):
        return self.prior_of(None).log_prob(z).sum() + self.log_likelihood(z, datum)


class Fragile(Location):
    """A location whose likelihood is NaN once its parameter passes a wall."""

    wall: float = 2.0

    def log_likelihood(self, z, datum):
        inside = jnp.sum(-0.5 * (datum.x - self.a - z) ** 2)
        return inside + 0.0 * jnp.sqrt(self.wall - self.a.sum())


def rows(num: int = 24, seed: int = 0, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num, dim)) + np.arange(dim)


def gaussian(dim: int = 3) -> jn.Inference:
    model = jn.models.Gaussian(dim, covariance="diag")
    return jn.Inference(model, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())


def vae(seed: int = 0, dim: int = 3) -> jn.Inference:
    p, q = jax.random.split(jax.random.key(seed))
    model = jn.models.Decoder(dim, 2, likelihood="gaussian", widths=(4,), key=p)
    posterior = jn.posteriors.Amortized(jn.families.DiagGaussian(2), data_dim=dim, widths=(4,), key=q)
    return jn.Inference(model, posterior, jn.objectives.ELBO(), jn.gradients.Reparam())


def shared(model: AbstractLatentModel) -> jn.Inference:
    q = jn.posteriors.Global(jn.families.DiagGaussian(1), key=jax.random.key(0))
    return jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())


def same(a, b) -> bool:
    """Whether two trees hold the same bits."""
    pairs = zip(arrays(a), arrays(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)


def arrays(tree) -> list[jax.Array | np.ndarray]:
    return [leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array | np.ndarray)]


__all__ = ["Datum", "Fragile", "Location", "arrays", "gaussian", "rows", "same", "shared", "vae"]
