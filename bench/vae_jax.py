"""The JAX contestants of `vae_epoch`: a hand-written scan, and NumPyro as documented and scanned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from harness import Run
from numpyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from vae_epoch import BATCH, DATA, EPOCHS, HIDDEN, LATENT, RATE, N, Weights, elbo, images


def _init(key: jax.Array) -> Weights:
    """Uniform on ±1/√fan-in, as torch starts its linear layers."""

    def layer(key, rows, columns):
        bound = rows**-0.5
        w, b = jax.random.split(key)
        return (
            jax.random.uniform(w, (rows, columns), minval=-bound, maxval=bound),
            jax.random.uniform(b, (columns,), minval=-bound, maxval=bound),
        )

    shapes = ((DATA, HIDDEN), (HIDDEN, LATENT), (HIDDEN, LATENT), (LATENT, HIDDEN), (HIDDEN, DATA))
    keys = jax.random.split(key, len(shapes))
    return Weights(*(layer(k, *shape) for k, shape in zip(keys, shapes, strict=True)))


def _encode(w: Weights, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    h = jax.nn.relu(x @ w.hidden[0] + w.hidden[1])
    return h @ w.mean[0] + w.mean[1], h @ w.log_var[0] + w.log_var[1]


def _decode(w: Weights, z: jax.Array) -> jax.Array:
    return jax.nn.relu(z @ w.expand[0] + w.expand[1]) @ w.logits[0] + w.logits[1]


def _loss(w: Weights, x: jax.Array, key: jax.Array) -> jax.Array:
    mean, log_var = _encode(w, x)
    z = mean + jnp.exp(0.5 * log_var) * jax.random.normal(key, mean.shape)
    logits = _decode(w, z)
    log_likelihood = jnp.sum(x * logits - jax.nn.softplus(logits))
    kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_var) - log_var - 1)
    return (kl - log_likelihood) / len(x)


def _quality(w: Weights, loss: float):
    return lambda: {"elbo": elbo(w, images()), "last epoch": -float(loss)}


def scan() -> Run:
    adam = optax.adam(RATE)
    x = jnp.asarray(images())

    def step(carry, inputs):
        w, state, x = carry
        rows, key = inputs
        loss, grad = jax.value_and_grad(_loss)(w, x[rows], key)
        update, state = adam.update(grad, state)
        return (optax.apply_updates(w, update), state, x), loss

    @partial(jax.jit, donate_argnums=(0, 1))
    def epoch(w, state, x, key):
        shuffle, noise = jax.random.split(key)
        rows = jax.random.permutation(shuffle, N).reshape(-1, BATCH)
        (w, state, _), losses = jax.lax.scan(step, (w, state, x), (rows, jax.random.split(noise, len(rows))))
        return w, state, losses.mean()

    start = jax.jit(lambda key: (w := _init(key), adam.init(w)))

    def run():
        w, state = start(jax.random.key(0))
        for index in range(EPOCHS):
            w, state, loss = epoch(w, state, x, jax.random.key(index + 1))
            float(loss)  # the host looks at every epoch, as anyone with a progress bar does
        jax.block_until_ready(w)
        return _quality(w, loss)

    return run


def _numpyro_model(x: jax.Array) -> None:
    w = numpyro.param("decoder", lambda key: tuple(_init(key)[3:]))
    with numpyro.plate("rows", len(x)):
        z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT), 1.0).to_event(1))
        numpyro.sample("x", dist.Bernoulli(logits=_decode(Weights(*[()] * 3, *w), z)).to_event(1), obs=x)


def _numpyro_guide(x: jax.Array) -> None:
    w = numpyro.param("encoder", lambda key: tuple(_init(key)[:3]))
    mean, log_var = _encode(Weights(*w, *[()] * 2), x)
    with numpyro.plate("rows", len(x)):
        numpyro.sample("z", dist.Normal(mean, jnp.exp(0.5 * log_var)).to_event(1))


def _numpyro(objective: Trace_ELBO | TraceMeanField_ELBO, make_epoch: Callable) -> Run:
    svi = SVI(_numpyro_model, _numpyro_guide, numpyro.optim.Adam(RATE), objective)
    x = jnp.asarray(images())
    start, epoch = jax.jit(svi.init), make_epoch(svi)

    def run():
        state = start(jax.random.key(0), x[:BATCH])
        for index in range(EPOCHS):
            state, loss = epoch(state, x, jax.random.key(index + 1))
            float(loss)
        p = jax.block_until_ready(svi.get_params(state))
        return _quality(Weights(*p["encoder"], *p["decoder"]), loss)

    return run


def numpyro_stepwise() -> Run:
    """As documented for `SVI.update`: one jitted update per Python step, sampled KL."""

    def make_epoch(svi):
        update = jax.jit(svi.update)

        def epoch(state, x, key):
            total = 0.0
            for rows in np.asarray(jax.random.permutation(key, N)).reshape(-1, BATCH):
                state, loss = update(state, x[rows])
                total += loss
            return state, total / N

        return epoch

    return _numpyro(Trace_ELBO(), make_epoch)


def numpyro_scan() -> Run:
    """At its best: one jitted epoch (as in its VAE example), scanned, with the closed-form KL."""

    def make_epoch(svi):
        @jax.jit
        def epoch(state, x, key):
            rows = jax.random.permutation(key, N).reshape(-1, BATCH)
            state, losses = jax.lax.scan(lambda s, r: svi.update(s, x[r]), state, rows)
            return state, losses.sum() / N

        return epoch

    return _numpyro(TraceMeanField_ELBO(), make_epoch)
