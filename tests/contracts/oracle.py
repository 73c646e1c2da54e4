"""Losses written out by hand, as functions of the same parameters: sums, closed forms, quadrature."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen import dist
from jensen.core import Datum, Inference


def discrete_loss(inference: Inference, datum: Datum, num_data: int) -> Any:
    """−bound of a Bernoulli decoder with a linear net, summed over every (tuple of) latent value."""
    model, objective = inference.model, inference.objective
    q = inference.posterior(model, datum, key=jax.random.key(0))
    p = model.prior(None)
    layer = model.net.layers[0]
    values, log_q, log_p = [], [], []
    if isinstance(q, dist.Bernoulli):
        for bits in itertools.product((0, 1), repeat=q.logits.shape[-1]):
            sign = 2.0 * np.array(bits) - 1
            values.append(np.array(bits, float))
            log_q.append(-jnp.log1p(jnp.exp(-sign * q.logits)).sum())
            log_p.append(-jnp.log1p(jnp.exp(-sign * p.logits)).sum())
    else:
        odds_q, odds_p = q.logits.reshape(-1), p.logits.reshape(-1)
        for k in range(len(odds_q)):
            values.append(np.eye(len(odds_q))[k])
            log_q.append(odds_q[k] - jnp.log(jnp.exp(odds_q).sum()))
            log_p.append(odds_p[k] - jnp.log(jnp.exp(odds_p).sum()))
    share = 1 / num_data if type(inference.posterior).__name__ == "Global" else 1.0
    log_lik = []
    for z in values:
        logits = layer.weight @ z + layer.bias
        log_lik.append((datum.x * logits - jnp.log1p(jnp.exp(logits))).sum())
    if type(objective).__name__ == "ELBO":
        free = 0.0 if callable(objective.free_bits) else objective.free_bits
        kl = sum(jnp.exp(a) * (a - b) for a, b in zip(log_q, log_p, strict=True))
        fit = sum(jnp.exp(a) * ll for a, ll in zip(log_q, log_lik, strict=True))
        return objective.beta * share * jnp.maximum(kl, free) - fit
    total = 0.0
    for draws in itertools.product(range(len(values)), repeat=objective.num_samples):
        probability = jnp.exp(sum(log_q[i] for i in draws))
        weights = [jnp.exp(log_lik[i] + log_p[i] - log_q[i]) for i in draws]
        total += probability * jnp.log(sum(weights) / len(draws))
    return -total


def mean_and_covariance(q: Any) -> tuple[Any, Any]:
    """The moments of a Gaussian law from its fields."""
    if isinstance(q, dist.DiagGaussian):
        return q.loc, jnp.diag(q.scale**2)
    if isinstance(q, dist.FullGaussian):
        return q.loc, q.tril @ q.tril.T
    return q.loc, q.factor @ q.factor.T + jnp.diag(q.scale**2)


def gaussian_loss(inference: Inference, datum: Datum, num_data: int) -> Any:
    """−bound of a linear-Gaussian decoder: closed form for the ELBO, quadrature for IWAE in one dimension."""
    if type(inference.objective).__name__ == "IWAE":
        return _iwae_by_quadrature(inference, datum)
    model, objective = inference.model, inference.objective
    m, s = mean_and_covariance(inference.posterior(model, datum, key=jax.random.key(0)))
    layer, noise = model.net.layers[0], model.likelihood_family.scale
    p = model.prior(None)
    misfit = (datum.x - layer.weight @ m - layer.bias) ** 2 + jnp.diagonal(layer.weight @ s @ layer.weight.T)
    fit = (-0.5 * misfit / noise**2 - jnp.log(noise) - 0.5 * jnp.log(2 * jnp.pi)).sum()
    kl = 0.5 * (
        ((jnp.diagonal(s) + (m - p.loc) ** 2) / p.scale**2).sum()
        - len(m)
        + 2 * jnp.log(p.scale).sum()
        - jnp.log(jnp.linalg.det(s))
    )
    share = 1 / num_data if type(inference.posterior).__name__ == "Global" else 1.0
    return objective.beta * share * jnp.maximum(kl, objective.free_bits) - fit


def _iwae_by_quadrature(inference: Inference, datum: Datum, nodes: int = 501) -> Any:
    model = inference.model
    m, s = mean_and_covariance(inference.posterior(model, datum, key=jax.random.key(0)))
    mean, scale = m[0], jnp.sqrt(s[0, 0])
    # an even grid: the ridge where two weights are equal is too sharp for Gauss–Hermite nodes
    at = np.linspace(-8, 8, nodes)
    weight = np.exp(-0.5 * at**2)
    weight = weight / weight.sum()
    layer, noise = model.net.layers[0], model.likelihood_family.scale
    p = model.prior(None)

    def log_normal(x: Any, loc: Any, sd: Any) -> Any:
        return -0.5 * ((x - loc) / sd) ** 2 - jnp.log(sd) - 0.5 * jnp.log(2 * jnp.pi)

    def log_w(eps: Any) -> Any:
        z = mean + scale * eps
        log_lik = log_normal(datum.x, layer.weight[:, 0] * z + layer.bias, noise).sum()
        return log_lik + log_normal(z, p.loc[0], p.scale[0]) - log_normal(z, mean, scale)

    each = jax.vmap(log_w)(jnp.asarray(at))
    assert inference.objective.num_samples == 2
    pair = jnp.logaddexp(each[:, None], each[None, :]) - jnp.log(2.0)
    return -(weight @ pair @ weight)
