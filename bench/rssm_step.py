"""A training step of a recurrent state-space model, 200 deterministic and 30 stochastic units: jensen, torch.

    python bench/rssm_step.py             # KL balance 0.8 and a free nat a step
    python bench/rssm_step.py --plain     # neither: the plain bound

Everyone has the same networks: a relu layer of 200 on each of 64 columns' rows, a posterior head of one tanh
layer of 200 on that and the core's state, a gated recurrent unit of 200, prior and decoder with one relu
layer of 200, a Gaussian likelihood with one learned scale a column, Adam(1e-3), float32, batches drawn
without replacement from 512 sequences. Everyone keeps only the core, the posterior's head and the sample
inside the loop over time; encoder, prior, decoder and KL take all steps at once. A run takes CALLS steps from
a fresh start; seconds are per step. What is reached is the bound of the last steps in nats per time step.
"""

from __future__ import annotations

import os
import sys

import numpy as np
from harness import Benchmark, Run, main

N, T, BATCH, COLUMNS, ACTIONS, DETER, STOCH, WIDTH, RATE = 512, 50, 32, 64, 6, 200, 30, 200, 1e-3
BALANCE, FREE = 0.8, 1.0
PLAIN = "--plain" in sys.argv or os.environ.get("RSSM_PLAIN") == "1"
CALLS = int(os.environ.get("RSSM_CALLS", "60"))
LAST = 10


def sequences() -> tuple[np.ndarray, np.ndarray]:
    """Driven oscillators seen through a random map, (N, T, 64), and what drives them, (N, T − 1, 6)."""
    rng = np.random.default_rng(0)
    actions = rng.normal(size=(N, T - 1, ACTIONS)).astype(np.float32)
    turn = 0.97 * np.linalg.qr(rng.normal(size=(12, 12)))[0]
    push, show = 0.3 * rng.normal(size=(ACTIONS, 12)), rng.normal(size=(12, COLUMNS))
    z, x = rng.normal(size=(N, 12)), np.empty((N, T, COLUMNS), np.float32)
    for t in range(T):
        x[:, t] = np.tanh(z @ show / 3) + 0.1 * rng.normal(size=(N, COLUMNS))
        if t < T - 1:
            z = z @ turn + actions[:, t] @ push
    return x, actions


def jensen_step() -> Run:
    import jax
    import optax

    import jensen as jn
    from jensen import families, fit, gradients, models, objectives, posteriors

    x, actions = sequences()
    data, adam, key = fit.Data(x, cond=actions), optax.adam(RATE), jax.random.key(0)
    family = families.DiagGaussian(STOCH)
    objective = objectives.ELBO() if PLAIN else objectives.ELBO(free_bits=FREE, kl_balance=BALANCE)
    world = models.RSSM(COLUMNS, ACTIONS, deter_dim=DETER, latent=family, decoder=(WIDTH,), key=key)
    q = posteriors.Filtering(family, like=world, widths=(WIDTH,), encoder=(WIDTH,), key=key)
    inference = jn.Inference(world, q, objective, gradients.Reparam())

    def run():
        fitted = fit.gradient(inference, data, key=key, optimizer=adam, steps=CALLS, batch_size=BATCH)
        return lambda: {"nats a step": float(fitted.history.bound[-LAST:].mean()) / T}

    return run


def _torch(*, fused: bool, compiled: bool) -> Run:
    import torch
    from rssm_torch import World

    torch.set_num_threads(torch.get_num_threads())  # all cores
    x, actions = (torch.from_numpy(a) for a in sequences())
    balance = None if PLAIN else (BALANCE, FREE)
    torch.manual_seed(0)
    world = World(x, actions, balance)
    start = {name: value.clone() for name, value in world.state_dict().items()}
    step = torch.compile(world) if compiled else world

    def run():
        torch.manual_seed(0)
        world.load_state_dict(start)
        adam = torch.optim.Adam(world.parameters(), lr=RATE, fused=fused)
        bounds, order = [], torch.randperm(N)
        for index in range(CALLS):
            place = index % (N // BATCH)
            order = torch.randperm(N) if place == 0 else order
            rows = order[place * BATCH : (place + 1) * BATCH]
            adam.zero_grad()
            loss, bound = step(x[rows], actions[rows])
            loss.backward()
            adam.step()
            bounds.append(bound)
        last = float(torch.stack(bounds[-LAST:]).mean()) / T
        return lambda: {"nats a step": last}

    return run


def torch_plain() -> Run:
    """The loop of every tutorial."""
    return _torch(fused=False, compiled=False)


def torch_fused() -> Run:
    """One fused Adam kernel."""
    return _torch(fused=True, compiled=False)


def torch_compiled() -> Run:
    """Fused Adam, and the whole loss compiled, its loop over time unrolled."""
    return _torch(fused=True, compiled=True)


SETUPS = {
    "jensen": jensen_step,
    "torch": torch_plain,
    "torch, fused Adam": torch_fused,
    "torch, fused and compiled": torch_compiled,
}

if __name__ == "__main__":
    if PLAIN:  # for the workers, which are started with other arguments
        os.environ["RSSM_PLAIN"] = "1"
        sys.argv = [a for a in sys.argv if a != "--plain"]
    settings = {"T": T, "batch": BATCH, "columns": COLUMNS, "deterministic": DETER, "stochastic": STOCH,
                "width": WIDTH, "steps per run": CALLS}  # fmt: skip
    settings |= {} if PLAIN else {"KL balance": BALANCE, "free nats": FREE}
    name = "rssm_step_plain" if PLAIN else "rssm_step"
    main(Benchmark(name, SETUPS, per=CALLS, unit="s per step", settings=settings), __file__)
