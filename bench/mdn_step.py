"""Training a mixture density network on the inverse of a two-link arm: jensen, a hand-written scan, torch.

Everyone has the same network: 2 inputs, hidden layers of 64 and 64 tanh units, 5 diagonal components of 2
targets, on 20,000 standardized rows, batches of 200 drawn without replacement, Adam(2e-3), float32. A run
takes CALLS steps from a fresh start; seconds are per step. What is reached is the mean log p(y | x) of the
training rows in nats, computed by each one's own code for the same density.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
from harness import Benchmark, Run, main

N, BATCH, WIDTH, COMPONENTS, RATE = 20_000, 200, 64, 5, 2e-3
CALLS = int(os.environ.get("MDN_CALLS", "2000"))


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Where the hand of an arm is, and its two angles, both of mean zero and variance one."""
    rng = np.random.default_rng(0)
    angles = np.column_stack([rng.uniform(0.3, 1.2, N), rng.uniform(np.pi / 2, 3 * np.pi / 2, N)])
    first, both = angles[:, 0], angles.sum(1)
    hand = np.column_stack(
        [0.8 * np.cos(first) - 0.2 * np.cos(both), 0.8 * np.sin(first) - 0.2 * np.sin(both)]
    )
    hand += 0.002 * rng.normal(size=hand.shape)
    return tuple(((a - a.mean(0)) / a.std(0)).astype(np.float32) for a in (hand, angles))  # type: ignore


def jensen_step() -> Run:
    import jax
    import optax

    import jensen as jn
    from jensen import fit, gradients, models, objectives, posteriors, use

    x, y = rows()
    data, key = fit.Data(y, cond=x), jax.random.key(0)
    model = models.MixtureDensity(2, 2, COMPONENTS, covariance="diag", widths=(WIDTH, WIDTH), key=key)
    inference = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    adam = optax.adam(RATE)

    def run():
        fitted = fit.gradient(inference, data, key=key, optimizer=adam, steps=CALLS, batch_size=BATCH)
        return lambda: {"log p": float(use.score(fitted, data).mean())}

    return run


def by_hand() -> Run:
    """What jax can do: the epoch scanned, nothing looked at."""
    import jax
    import jax.numpy as jnp
    import optax

    x, y = (jnp.asarray(a) for a in rows())
    sizes = [2, WIDTH, WIDTH, COMPONENTS * 5]
    adam = optax.adam(RATE)

    def start(key: jax.Array) -> list[Any]:
        keys = jax.random.split(key, 3)
        scale = [(2 / (i + o)) ** 0.5 for i, o in pairwise(sizes)]
        return [
            (s * jax.random.normal(k, (i, o)), jnp.zeros(o))
            for k, i, o, s in zip(keys, sizes, sizes[1:], scale, strict=False)
        ]

    def log_p(params: list[Any], x: jax.Array, y: jax.Array) -> jax.Array:
        for w, b in params[:-1]:
            x = jnp.tanh(x @ w + b)
        out = x @ params[-1][0] + params[-1][1]
        logits, mean, log_scale = jnp.split(out, [COMPONENTS, 3 * COMPONENTS], -1)
        mean, log_scale = (a.reshape(-1, COMPONENTS, 2) for a in (mean, log_scale))
        each = -0.5 * ((y[:, None] - mean) * jnp.exp(-log_scale)) ** 2 - log_scale - 0.5 * jnp.log(2 * jnp.pi)
        return jax.nn.logsumexp(jax.nn.log_softmax(logits) + each.sum(-1), -1)

    @jax.jit
    def train(key: jax.Array) -> Any:
        params = start(key)

        def step(carry: Any, which: jax.Array) -> Any:
            params, state = carry
            loss, grads = jax.value_and_grad(lambda p: -log_p(p, x[which], y[which]).mean())(params)
            updates, state = adam.update(grads, state)
            return (optax.apply_updates(params, updates), state), loss

        epochs = -(-CALLS // (N // BATCH))
        orders = jax.vmap(lambda k: jax.random.permutation(k, N))(jax.random.split(key, epochs))
        return jax.lax.scan(step, (params, adam.init(params)), orders.reshape(-1, BATCH)[:CALLS])[0][0]

    def run():
        params = jax.block_until_ready(train(jax.random.key(0)))
        return lambda: {"log p": float(log_p(params, x, y).mean())}

    return run


def _torch(*, fused: bool, compiled: bool) -> Run:
    import math

    import torch

    x, y = (torch.from_numpy(a) for a in rows())
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.Tanh(),
        torch.nn.Linear(WIDTH, COMPONENTS * 5),
    )  # fmt: skip
    start = {name: value.clone() for name, value in net.state_dict().items()}

    def log_p(x: Any, y: Any) -> Any:
        logits, mean, log_scale = net(x).split([COMPONENTS, 2 * COMPONENTS, 2 * COMPONENTS], -1)
        mean, log_scale = (a.reshape(-1, COMPONENTS, 2) for a in (mean, log_scale))
        each = (
            -0.5 * ((y[:, None] - mean) * torch.exp(-log_scale)) ** 2
            - log_scale
            - 0.5 * math.log(2 * math.pi)
        )
        return torch.logsumexp(torch.log_softmax(logits, -1) + each.sum(-1), -1)

    scored = torch.compile(log_p) if compiled else log_p

    def run():
        net.load_state_dict(start)
        torch.manual_seed(0)
        adam, order = torch.optim.Adam(net.parameters(), lr=RATE, fused=fused), torch.randperm(N)
        for index in range(CALLS):
            place = index % (N // BATCH)
            order = torch.randperm(N) if place == 0 else order
            which = order[place * BATCH : (place + 1) * BATCH]
            adam.zero_grad()
            (-scored(x[which], y[which]).mean()).backward()
            adam.step()
        return lambda: {"log p": float(log_p(x, y).mean())}

    return run


def torch_plain() -> Run:
    """The loop of every tutorial."""
    return _torch(fused=False, compiled=False)


def torch_fused() -> Run:
    """One fused Adam kernel."""
    return _torch(fused=True, compiled=False)


def torch_compiled() -> Run:
    """Fused Adam and a compiled density."""
    return _torch(fused=True, compiled=True)


SETUPS = {
    "jensen": jensen_step,
    "jax scan by hand": by_hand,
    "torch": torch_plain,
    "torch, fused Adam": torch_fused,
    "torch, fused and compiled": torch_compiled,
}

if __name__ == "__main__":
    settings = {"rows": N, "net": f"2-{WIDTH}-{WIDTH}, tanh", "components": COMPONENTS, "batch": BATCH,
                "Adam": RATE, "steps per run": CALLS}  # fmt: skip
    main(Benchmark("mdn_step", SETUPS, per=CALLS, unit="s per step", settings=settings), __file__)
