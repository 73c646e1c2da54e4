"""Eight restarts of `tiny_svi`'s fit: side by side in one program, one after another, and by hand.

The same model, data, steps and optimizer as in `tiny_svi`; each restart begins at another mean of q. The best
of the eight is kept: by its bound on all data again (jensen), by its last chunk's mean bound (by hand); that
is part of the time. First calls (compilation included) and later calls are timed in fresh processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from harness import Benchmark, Run, main
from tiny_svi import CHUNK, RATE, STEPS, D, N, data, elbo

RESTARTS = 8


def _jensen(by: Callable[..., Any] | None) -> Run:
    import warnings

    import equinox as eqx
    import jax
    import optax
    from tiny_model import Regression

    import jensen as jn
    from jensen import families, fit, gradients, objectives, posteriors

    adam = optax.adam(RATE)
    calls = iter(range(1_000))
    warnings.simplefilter("ignore", jn.errors.JensenWarning)  # "not jensen's own": true, and known

    def make(key):
        posterior = posteriors.Global(families.DiagGaussian(D + 2), key=key)
        params = posterior.params.at[: D + 2].set(jax.random.normal(key, (D + 2,)))
        posterior = eqx.tree_at(lambda q: q.params, posterior, params)
        return jn.Inference(Regression(D), posterior, objectives.ELBO(), gradients.Reparam())

    def run():
        call = next(calls)
        x, y = data(call)
        best = fit.best_of(
            make, fit.Data(y[:, None], cond=x), restarts=RESTARTS, by=by or fit.gradient,
            key=jax.random.key(call), optimizer=adam, steps=STEPS,
        )  # fmt: skip
        posterior = best.inference.posterior
        q = posterior.family(posterior.params)
        return lambda: {"elbo": elbo(np.asarray(q.loc), np.asarray(q.scale), x, y)}

    return run


def side_by_side() -> Run:
    """As documented: `fit.best_of(..., by=fit.gradient)`."""
    return _jensen(None)


def one_by_one() -> Run:
    """The same through a function that is not `fit.gradient`: one after another."""
    from jensen import fit

    return _jensen(lambda *args, **options: fit.gradient(*args, **options))


def by_hand() -> Run:
    """One compiled loop over eight vmapped fits; host between chunks."""
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
    def advance(q, state, steps, start, keys, x, y):
        def body(i, carry):
            def one(q, state, key):
                value, grad = jax.value_and_grad(loss)(q, x, y, jax.random.fold_in(key, start + i))
                update, state = adam.update(grad, state)
                return optax.apply_updates(q, update), state, value

            q, state, losses = carry
            q, state, values = jax.vmap(one)(q, state, keys)
            return q, state, losses.at[:, i].set(values)

        return jax.lax.fori_loop(0, steps, body, (q, state, jnp.zeros((RESTARTS, CHUNK))))

    calls = iter(range(1_000))

    def run():
        call = next(calls)
        x, y = data(call)
        keys = jax.random.split(jax.random.key(call), RESTARTS)
        mean = jax.vmap(lambda key: jax.random.normal(key, (D + 2,)))(keys)
        q = (mean, jnp.full(mean.shape, jnp.log(0.1)))
        state, last = jax.vmap(adam.init)(q), np.zeros(RESTARTS)
        for start in range(0, STEPS, CHUNK):
            steps = min(CHUNK, STEPS - start)
            q, state, losses = advance(q, state, steps, start, keys, x, y)
            last = np.asarray(losses)[:, :steps].mean(1)
        best = int(np.argmin(last))
        return lambda: {"elbo": elbo(np.asarray(q[0][best]), np.exp(np.asarray(q[1][best])), x, y)}

    return run


SETUPS = {"jensen": side_by_side, "jensen one by one": one_by_one, "jax vmapped by hand": by_hand}

if __name__ == "__main__":
    settings = {"rows": N, "latents": D + 2, "steps": STEPS, "restarts": RESTARTS, "Adam": RATE}
    benchmark = Benchmark("tiny_restarts", SETUPS, unit="s", settings=settings, fresh=True, calls=2, rounds=3)
    main(benchmark, __file__)
