"""20,000 steps of a tiny Bayesian regression: what a library adds around a step that takes microseconds.

y ~ N(x·w + b, exp(s)²), standard normal priors on the D weights, b and s; a mean-field Gaussian q over all
D + 2; full batch, one draw a step, Adam(1e-2). First calls (compilation included) and later calls are timed
in fresh processes; a later call repeats the fit on new data of the same shape. Progress bars are on.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from harness import Benchmark, Run, main

N, D, STEPS, RATE, CHUNK = 100, 3, 20_000, 1e-2, 1_000


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32) + 0.3 + 0.5 * rng.normal(size=N).astype(np.float32)
    return x, y


def log_joint(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Log p(y, θ | x) for each row of draws θ = (b, s, w), in float64."""
    b, s, w = theta[:, 0], theta[:, 1], theta[:, 2:]
    residual = (y - (w @ x.T + b[:, None])) / np.exp(s)[:, None]
    log_likelihood = -0.5 * np.sum(residual**2, axis=1) - N * (s + 0.5 * np.log(2 * np.pi))
    return log_likelihood - 0.5 * np.sum(theta**2 + np.log(2 * np.pi), axis=1)


def elbo(mean: np.ndarray, scale: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """ELBO of a mean-field q by 20,000 draws, the same for everyone."""
    draws = mean + scale * np.random.default_rng(0).normal(size=(20_000, D + 2))
    entropy = np.sum(np.log(scale) + 0.5 * np.log(2 * np.pi * np.e))
    return float(np.mean(log_joint(draws, x, y)) + entropy)


def _numpyro_model(x, y):
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    b = numpyro.sample("b", dist.Normal(0.0, 1.0))
    s = numpyro.sample("s", dist.Normal(0.0, 1.0))
    w = numpyro.sample("w", dist.Normal(jnp.zeros(D), 1.0).to_event(1))
    with numpyro.plate("rows", N):
        numpyro.sample("y", dist.Normal(x @ w + b, jnp.exp(s)), obs=y)


def numpyro_run() -> Run:
    """As documented: AutoDiagonalNormal and `SVI.run` with its progress bar (the default)."""
    import jax
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.infer.autoguide import AutoDiagonalNormal

    calls = iter(range(1_000))
    guide = AutoDiagonalNormal(_numpyro_model)
    svi = SVI(_numpyro_model, guide, numpyro.optim.Adam(RATE), Trace_ELBO())

    def run():
        call = next(calls)
        x, y = data(call)
        result = svi.run(jax.random.key(call), STEPS, x, y)
        q = guide.get_posterior(result.params)
        return lambda: {"elbo": elbo(np.asarray(q.loc), np.asarray(q.scale), x, y)}

    return run


def jax_chunked() -> Run:
    """By hand: one compiled loop of at most CHUNK steps (the number is an argument); host between chunks."""
    import jax
    import jax.numpy as jnp
    import optax

    adam = optax.adam(RATE)

    def loss(q, x, y, key):
        theta = q[0] + jnp.exp(q[1]) * jax.random.normal(key, q[0].shape)
        b, s, w = theta[0], theta[1], theta[2:]
        misfit = 0.5 * jnp.sum(((y - x @ w - b) * jnp.exp(-s)) ** 2) + N * s
        return misfit + 0.5 * jnp.sum(theta**2) - jnp.sum(q[1])

    @partial(jax.jit, donate_argnums=(0, 1))
    def advance(q, state, steps, start, key, x, y):
        def body(i, carry):
            q, state, losses = carry
            value, grad = jax.value_and_grad(loss)(q, x, y, jax.random.fold_in(key, start + i))
            update, state = adam.update(grad, state)
            return optax.apply_updates(q, update), state, losses.at[i].set(value)

        return jax.lax.fori_loop(0, steps, body, (q, state, jnp.zeros(CHUNK)))

    calls = iter(range(1_000))

    def run():
        call = next(calls)
        x, y = data(call)
        q = (jnp.zeros(D + 2), jnp.full(D + 2, jnp.log(0.1)))
        state, history = adam.init(q), []
        for start in range(0, STEPS, CHUNK):
            steps = min(CHUNK, STEPS - start)
            q, state, losses = advance(q, state, steps, start, jax.random.key(call), x, y)
            history.append(np.asarray(losses)[:steps])  # the host sees every chunk: a bar, a stopping rule
        return lambda: {"elbo": elbo(np.asarray(q[0]), np.exp(np.asarray(q[1])), x, y)}

    return run


def jensen_gradient() -> Run:
    """A user's own model, one global q, `fit.gradient` with its progress bar."""
    import warnings

    import jax
    import optax
    from tiny_model import Regression

    import jensen as jn
    from jensen import families, fit, gradients, objectives, posteriors

    adam = optax.adam(RATE)
    calls = iter(range(1_000))
    warnings.simplefilter("ignore", jn.errors.JensenWarning)  # "not jensen's own": true, and known

    def run():
        call = next(calls)
        x, y = data(call)
        posterior = posteriors.Global(families.DiagGaussian(D + 2), key=jax.random.key(0))
        inference = jn.Inference(Regression(D), posterior, objectives.ELBO(), gradients.Reparam())
        rows = fit.Data(y[:, None], cond=x)
        fitted = fit.gradient(
            inference, rows, key=jax.random.key(call), optimizer=adam, steps=STEPS, batch_size=None,
        )  # fmt: skip
        posterior = fitted.inference.posterior
        q = posterior.family(posterior.params)
        return lambda: {"elbo": elbo(np.asarray(q.loc), np.asarray(q.scale), x, y)}

    return run


SETUPS = {"jensen": jensen_gradient, "jax chunked by hand": jax_chunked, "numpyro run": numpyro_run}

if __name__ == "__main__":
    settings = {"rows": N, "latents": D + 2, "steps": STEPS, "Adam": RATE, "progress bars": "on"}
    main(Benchmark("tiny_svi", SETUPS, unit="s", settings=settings, fresh=True, calls=2, rounds=5), __file__)
