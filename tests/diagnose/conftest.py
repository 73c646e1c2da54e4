"""Linear-Gaussian decoders, whose evidence and posterior are known."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors


class Linear(NamedTuple):
    """x = W z + s e, with the encoder's affine map at the exact posterior mean and the best diagonal scale."""

    inference: jn.Inference
    loading: np.ndarray
    noise: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        w = self.loading / self.noise[:, None]
        return np.eye(w.shape[1]) + w.T @ w

    @property
    def family_loss(self) -> float:
        """KL of the best diagonal Gaussian: ½(Σ log P_ii − log det P)."""
        p = self.precision
        return 0.5 * (np.log(np.diag(p)).sum() - np.linalg.slogdet(p)[1])

    def draw(self, num: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        d, k = self.loading.shape
        x = rng.normal(size=(num, k)) @ self.loading.T + rng.normal(size=(num, d)) * self.noise
        return x.astype(np.float32)

    def log_evidence(self, x: np.ndarray) -> np.ndarray:
        c = self.loading @ self.loading.T + np.diag(self.noise**2)
        x = np.asarray(x, np.float64)
        quadratic = (x * np.linalg.solve(c, x.T).T).sum(1)
        return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * c)[1])


def make(
    seed, data_dim, latent_dim, *, family="diagonal", narrow=1.0, objective=None, gradient=None
) -> Linear:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(data_dim, latent_dim)) * rng.uniform(0.2, 0.5)
    key = jax.random.key(seed)
    model = models.Decoder(data_dim, latent_dim, likelihood="gaussian", widths=(), key=key)
    model = eqx.tree_at(
        lambda m: (m.net.layers[0].weight, m.likelihood_family.log_scale),
        model,
        (jnp.asarray(w, jnp.float32), jnp.full(data_dim, np.log(rng.uniform(0.5, 1.0)), jnp.float32)),
    )
    loading = np.asarray(model.net.layers[0].weight, np.float64)
    noise = np.asarray(model.likelihood_family.scale, np.float64)
    law = {"diagonal": families.DiagGaussian, "full": families.FullGaussian}[family](latent_dim)
    q = posteriors.Amortized(law, data_dim=data_dim, widths=(), key=key)
    linear = Linear(
        jn.Inference(model, q, objective or objectives.ELBO(), gradient or gradients.Reparam()),
        loading,
        noise,
    )
    p = linear.precision
    weight = np.zeros((law.num_params, data_dim))
    bias = np.zeros(law.num_params)
    weight[:latent_dim] = np.linalg.solve(p, (loading / noise[:, None] ** 2).T)
    # the encoder's scales: exp(10 tanh(raw / 10))
    bias[latent_dim : 2 * latent_dim] = 10 * np.arctanh(np.log(narrow * np.diag(p) ** -0.5) / 10)
    inference = eqx.tree_at(
        lambda i: (i.posterior.net.layers[0].weight, i.posterior.net.layers[0].bias),
        linear.inference,
        (jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32)),
    )
    return linear._replace(inference=inference)


@pytest.fixture(scope="session")
def linear():
    """The maker: ``linear(seed, data_dim, latent_dim, family=, narrow=, objective=, gradient=)``."""
    return make
