"""Steps per second of the simulated worlds: single, as copies in one call, and unrolled on the device.

    python bench/env_steps.py --out bench/results/env_steps.json

Two minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import gymnasium
import jax
import jax.numpy as jnp

from jensen import envs
from jensen.envs.worlds import WORLDS


def rate(call, steps: int, repeats: int) -> float:
    """Median steps per second of a call that makes so many."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return steps / statistics.median(taken)


def single(name: str, steps: int):
    env = envs.make(f"jensen/{name}-v0")
    actions = [env.action_space.sample() for _ in range(steps)]
    env.reset(seed=0)

    def call():
        for action in actions:
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return call


def copies(name: str, count: int, steps: int, mode: str | None = None):
    many = gymnasium.make_vec(f"jensen/{name}-v0", num_envs=count, vectorization_mode=mode)
    actions = [many.action_space.sample() for _ in range(steps)]
    many.reset(seed=0)

    def call():
        for action in actions:
            many.step(action)

    return call


def unrolled(name: str, count: int, steps: int):
    """States alone, as a planner imagines them: one scan over vmapped steps."""
    world = WORLDS[name]()
    keys = jax.random.split(jax.random.key(0), count)
    begun = jax.vmap(lambda key: world.initial(key=key))(keys)
    action = jnp.zeros(world.action_dim).at[0].set(1.0)

    @jax.jit
    def run(states):
        def step(states, key):
            moved = jax.vmap(lambda s, k: world.step(s, action, key=k))(states, jax.random.split(key, count))
            return moved.state, moved.reward.sum()

        return jax.lax.scan(step, states, jax.random.split(jax.random.key(1), steps))

    return lambda: jax.block_until_ready(run(begun))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("bench/results/env_steps.json"))
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    options = parser.parse_args()
    n, rows = options.copies, []
    for name in options.worlds:
        row = {
            "world": name,
            "single": rate(single(name, 200), 200, options.repeats),
            f"copies of {n}": rate(copies(name, n, 20), 20 * n, options.repeats),
            f"unrolled, {n}": rate(unrolled(name, n, 50), 50 * n, options.repeats),
        }
        if name == "PixelPendulum":
            row["Gymnasium's sync of 64"] = rate(copies(name, 64, 5, "sync"), 5 * 64, options.repeats)
        rows.append(row)
        print(
            json.dumps({key: round(v) if isinstance(v, float) else v for key, v in row.items()}), flush=True
        )
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(
            json.dumps({"copies": n, "load": os.getloadavg()[0], "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
