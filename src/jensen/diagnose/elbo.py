"""The plain bound E_q[log p(x, z) − log q(z)] of one datum, as precisely as its law allows. Traced code."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import Datum, score
from jensen.diagnose.bounds import MAX_VALUES
from jensen.dist import AbstractEnumerable, draw
from jensen.typing import Array, PRNGKey


def plain_elbo(model: Any, q: Any, datum: Datum, num: int, *, key: PRNGKey) -> tuple[Array, Array]:
    """Return the bound at β = 1 and K = 1 and its standard error, in nats.

    A sum over z where z has few values. Otherwise a mean of ``num`` draws of log p(x, z) − log q(z), with the
    difference between the sampled and the closed-form KL, whose mean is zero, as a control variate; so it is
    noise-free at q = p and never noisier than the closed-form KL.
    """
    if isinstance(q, AbstractEnumerable) and q.support_size <= MAX_VALUES:
        values = q.support()
        log_q = jax.vmap(lambda z: q.log_prob(z).sum())(values)
        log_p = jax.vmap(lambda z: model.log_joint(z, datum))(values)
        probability = jnp.exp(log_q)
        return jnp.where(probability > 0, probability * (log_p - log_q), 0.0).sum(), jnp.zeros(())

    def chunk(key: Array) -> tuple[Array, Array]:
        def one(key: Array) -> tuple[Array, Array]:
            terms = score(model, q, draw(q, key=key), datum)
            kl = terms.log_ratio if terms.kl is None else terms.kl
            return terms.log_w, (terms.log_ratio - kl).sum()

        return jax.vmap(one)(jax.random.split(key, size))

    chunks = -(-num // 250)
    size = -(-num // chunks)
    log_w, control = jax.tree.map(
        lambda leaf: leaf.reshape(-1), jax.lax.map(chunk, jax.random.split(key, chunks))
    )
    controlled = log_w - _slope(log_w, control) * control
    return controlled.mean(), controlled.std(ddof=1) / (size * chunks) ** 0.5


def _slope(log_w: Array, control: Array) -> Array:
    """Return the best factor of the control for each draw, fitted to the draws of the other half.

    Fitted to all of them it would see the draw it corrects, and bias the mean.
    """
    odd = jnp.arange(len(log_w)) % 2

    def fitted(half: int) -> Array:
        w = (odd == half).astype(log_w.dtype)
        w = w / jnp.maximum(w.sum(), 1.0)
        centred = control - w @ control
        variance, covariance = w @ centred**2, w @ ((log_w - w @ log_w) * centred)
        return jnp.where(variance > 1e-12, covariance / jnp.maximum(variance, 1e-12), 0.0)

    return jnp.where(odd == 0, fitted(1), fitted(0))
