"""Learning in imagination, an RSSM of 200 deterministic and 30 stochastic units: jensen beside torch.

    python bench/imagine_speed.py             # updates of actor and critic
    python bench/imagine_speed.py --forward   # imagined steps alone, no gradient

Everyone has the same untrained world (a gated recurrent unit of 200, prior and reward head of one relu layer
of 200), actor and critic of two layers of 128, 128 start states and 15 steps, λ-returns ended by a slow
critic, running spread of returns, clipped gradients and Adam for each of the two, float32. Actions are
numbers: gradients go through the dynamics. Seconds are per update, or per 1,000 imagined steps.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from harness import Benchmark, Run, main

STATES, BATCH, HORIZON, ACTIONS, DETER, STOCH, HEAD, WIDTH = 4096, 128, 15, 6, 200, 30, 200, 128
SEEN = 64
DISCOUNT, DECAY, TEMPERATURE, SLOW, CLIP, RATES = 0.99, 0.95, 1e-3, 0.05, 10.0, (1e-3, 2e-3)
FORWARD = "--forward" in sys.argv or os.environ.get("IMAGINE_FORWARD") == "1"
CALLS = int(os.environ.get("IMAGINE_CALLS", "20"))


def states() -> tuple[np.ndarray, np.ndarray]:
    """Return (h, z) of every start."""
    rng = np.random.default_rng(0)
    h = np.tanh(rng.normal(size=(STATES, DETER)))
    return h.astype(np.float32), rng.normal(size=(STATES, STOCH)).astype(np.float32)


def jensen_world(**how: Any) -> Any:
    """Return the untrained world."""
    import jax

    import jensen as jn
    from jensen.control import ModelWorld

    key, gaussian = jax.random.key(0), jn.families.DiagGaussian(STOCH)
    reward = jn.models.likelihoods.Gaussian(1)
    model = jn.models.RSSM(
        SEEN, ACTIONS, deter_dim=DETER, latent=gaussian, heads=(reward,), decoder=(HEAD,), key=key
    )
    q = jn.posteriors.Filtering(gaussian, like=model, widths=(HEAD,), key=key)
    return ModelWorld(jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam()), **how)


def jensen_run() -> Run:
    import jax

    from jensen.control import BoxActions
    from jensen.control.imagine.climb import climb
    from jensen.control.imagine.loss import Learner, Settings, imagined
    from jensen.control.imagine.start import begun
    from jensen.control.worlds.base import Latent

    key = jax.random.key(0)
    space = BoxActions(-np.ones(ACTIONS), np.ones(ACTIONS), (ACTIONS,), np.dtype("float32"), "squash")
    starts = Latent(*(jax.numpy.asarray(part) for part in states()))
    how = Settings(steps=CALLS, batch_size=BATCH, horizon=HORIZON, widths=(WIDTH, WIDTH), slow_rate=SLOW)
    learner, unit = begun(Learner(None, jensen_world(), None), starts, space, how, key=key)

    if not FORWARD:

        def run():
            outcome = climb(learner, starts, space, how, unit, run=None, key=key).run()
            return lambda: {"imagined return": float(outcome.state.memory.course[-1, 0])}

        return run

    @jax.jit
    def forward(rows: Latent, key: jax.Array) -> jax.Array:
        def follow(start: Latent, key: jax.Array) -> jax.Array:
            return imagined(learner, space, start, HORIZON, key=key).rewards

        return jax.vmap(follow)(rows, jax.random.split(key, BATCH)).mean()

    some = jax.tree.map(lambda leaf: leaf[:BATCH], starts)

    def ahead():
        means = [forward(some, jax.random.fold_in(key, i)) for i in range(CALLS)]
        last = float(means[-1])
        return lambda: {"mean reward": last}

    return ahead


def _torch(*, fused: bool, compiled: bool) -> Run:
    import torch
    from imagine_torch import learner

    torch.set_num_threads(torch.get_num_threads())  # all cores
    h, z = (torch.from_numpy(part) for part in states())
    model, learn = learner(fused=fused, compiled=compiled)
    paths = torch.compile(model.paths) if compiled else model.paths

    def run():
        last = learn(h, z, CALLS)
        return lambda: {"imagined return": last}

    def ahead():
        mean = 0.0
        with torch.no_grad():
            for _ in range(CALLS):
                features, _ = paths(h[:BATCH], z[:BATCH])
                mean = float(model.world.reward(features[1:]).mean())
        return lambda: {"mean reward": mean}

    return ahead if FORWARD else run


def torch_plain() -> Run:
    """The loop of every tutorial."""
    return _torch(fused=False, compiled=False)


def torch_compiled() -> Run:
    """Fused Adam, and the whole loss compiled, its loop over time unrolled."""
    return _torch(fused=True, compiled=True)


SETUPS = {"jensen": jensen_run, "torch": torch_plain, "torch, fused and compiled": torch_compiled}

if __name__ == "__main__":
    if FORWARD:  # for the workers, which are started with other arguments
        os.environ["IMAGINE_FORWARD"] = "1"
        sys.argv = [a for a in sys.argv if a != "--forward"]
    settings = {"starts": BATCH, "horizon": HORIZON, "deterministic": DETER, "stochastic": STOCH,
                "actor and critic": f"2 x {WIDTH}", "calls per run": CALLS}  # fmt: skip
    per = CALLS * BATCH * HORIZON / 1000 if FORWARD else CALLS
    unit = "s per 1,000 imagined steps" if FORWARD else "s per update"
    name = "imagine_steps" if FORWARD else "imagine_speed"
    main(Benchmark(name, SETUPS, per=per, unit=unit, settings=settings), __file__)
