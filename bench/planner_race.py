"""Planning in an RSSM of 200 deterministic and 30 stochastic units: jensen's CEM beside torch's.

    benchvenv/bin/python bench/planner_race.py

Everyone sees an observation of 64 numbers, believes (a gated recurrent unit of 200, a posterior head of one
relu layer of 200), and plans six actions by the cross-entropy method: 128 candidates, 4 iterations, horizon
15, 16 elites, means of the prior, a reward head of one relu layer of 200. 32 actions are planned in each run:
one environment 32 times, or 32 environments at once. Seconds are per action. Worlds are untrained and each
framework draws its own, so that what is imagined says only that returns are of one order.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from harness import Benchmark, Run, main
from imagine_speed import ACTIONS, DETER, HEAD, HORIZON, SEEN, STOCH, jensen_world

CANDIDATES, ITERATIONS, ELITES, FLOOR = 128, 4, 16, 0.05
PLANNED = 32


def observations(num: int) -> np.ndarray:
    """Return what is seen."""
    return np.random.default_rng(0).normal(size=(num, SEEN)).astype(np.float32)


def jensen_run(num: int) -> Run:
    """Plan by ``control.CEM``."""
    import jax
    import jax.numpy as jnp

    from jensen.control import CEM, BoxActions
    from jensen.control.plan import FromMean, sequences_in
    from jensen.control.plan.policy import Settings, begun, planned

    world = jensen_world(latent="mean")
    box = BoxActions(-np.ones(ACTIONS), np.ones(ACTIONS), (ACTIONS,), np.dtype("float32"))
    search = CEM(HORIZON, candidates=CANDIDATES, iterations=ITERATIONS, elites=ELITES, floor=FLOOR)
    settings, seen = Settings(search, sequences_in(box), FromMean()), jnp.asarray(observations(num))
    first = begun(world, settings, jax.random.key(0), num)

    def run():
        courses, plans = first, None
        for _ in range(PLANNED // num):
            courses, plans = planned(world, None, settings, courses, seen)
        jax.block_until_ready(plans.value)
        return lambda: {"imagined return": float(plans.value.mean())}

    return run


def torch_run(num: int, compiled: bool) -> Run:
    """Plan by the same method in torch, candidates of all environments in one batch."""
    import torch
    from imagine_torch import World, net
    from torch import Tensor, nn

    torch.manual_seed(0)

    class Planner(World):
        """The world of the imagination races, with a belief and a plan in it."""

        def __init__(self):
            super().__init__()
            self.posterior = net(DETER + SEEN, 2 * STOCH, HEAD, activation=nn.ReLU)

        def worth(self, h: Tensor, z: Tensor, actions: Tensor) -> Tensor:
            """Return the imagined return of each row's actions, (R, H, A)."""
            total = torch.zeros(len(h))
            for t in range(HORIZON):
                h, z = self.expected(h, z, actions[:, t])
                total = total + self.reward(torch.cat([h, z], -1))[:, 0]
            return total

        def forward(self, h: Tensor, z: Tensor, done: Tensor, mean: Tensor, seen: Tensor):
            """Believe, plan, and shift the plan."""
            h = self.cell(torch.cat([z, done], -1), h)
            z = self.posterior(torch.cat([h, seen], -1))[:, :STOCH]
            std = torch.ones_like(mean)
            wide = h.repeat_interleave(CANDIDATES, 0), z.repeat_interleave(CANDIDATES, 0)
            for _ in range(ITERATIONS):
                noise = torch.randn(num, CANDIDATES - 1, HORIZON, ACTIONS)
                drawn = torch.clamp(mean[:, None] + std[:, None] * noise, -1.0, 1.0)
                drawn = torch.cat([mean[:, None], drawn], 1)
                returns = self.worth(*wide, drawn.flatten(0, 1)).view(num, CANDIDATES)
                best = returns.topk(ELITES, 1).indices
                elites = drawn[torch.arange(num)[:, None], best]
                mean = elites.mean(1)
                std = torch.clamp(elites.std(1, unbiased=False), min=FLOOR)
            value = self.worth(h, z, mean)
            after = torch.cat([mean[:, 1:], torch.zeros(num, 1, ACTIONS)], 1)
            return h, z, mean[:, 0], after, value

    world = Planner().requires_grad_(False)
    plan = torch.compile(world) if compiled else world
    seen = torch.from_numpy(observations(num))

    def run():
        h, z, done = torch.zeros(num, DETER), torch.zeros(num, STOCH), torch.zeros(num, ACTIONS)
        mean, value = torch.zeros(num, HORIZON, ACTIONS), torch.zeros(num)
        with torch.no_grad():
            for _ in range(PLANNED // num):
                h, z, done, mean, value = plan(h, z, done, mean, seen)
        return lambda: {"imagined return": float(value.mean())}

    return run


SETUPS = {
    "jensen, 1": partial(jensen_run, 1),
    "torch, 1": partial(torch_run, 1, False),
    "torch, compiled, 1": partial(torch_run, 1, True),
    "jensen, 32": partial(jensen_run, 32),
    "torch, 32": partial(torch_run, 32, False),
    "torch, compiled, 32": partial(torch_run, 32, True),
}

if __name__ == "__main__":
    settings = {"candidates": CANDIDATES, "iterations": ITERATIONS, "horizon": HORIZON,
                "deterministic": DETER, "stochastic": STOCH, "actions": ACTIONS}  # fmt: skip
    unit = "s per planned action"
    main(Benchmark("planner_race", SETUPS, "jensen, 1", per=PLANNED, unit=unit, settings=settings), __file__)
