"""Replays: how fast experience is gathered and batched, and how much memory pictures take.

    python bench/replay.py --out bench/results/replay.json

Rates are per second of CPU time, so that a busy machine does not change them. Beside those of
``collect`` stands a bare loop over the same Gymnasium vector environment that keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
from gymnasium.vector import SyncVectorEnv

from jensen import fit
from jensen.control import Replay, collect

PENDULUM = "Pendulum-v1"


def still(seen: np.ndarray) -> np.ndarray:
    """Return no torque."""
    return np.zeros((len(seen), 1), np.float32)


def bare(copies: int, steps: int) -> float:
    """Step a vector environment and keep nothing; seconds."""
    envs = SyncVectorEnv([lambda: gymnasium.make(PENDULUM)] * copies)
    seen, _ = envs.reset(seed=0)
    start = time.process_time()
    for _ in range(steps // copies):
        seen, *_ = envs.step(still(seen))
    seconds = time.process_time() - start
    envs.close()
    return seconds


def gathered(copies: int, steps: int, *, vector: bool) -> float:
    """Collect into memory; seconds."""
    made = [lambda: gymnasium.make(PENDULUM)] * copies
    env: Any = SyncVectorEnv(made) if vector else PENDULUM
    start = time.process_time()
    collect(env, still, steps=steps, num_envs=copies)
    return time.process_time() - start


def rates(steps: int, rounds: int) -> list[dict[str, Any]]:
    """Return transitions per second, every round."""
    ways = {
        "bare loop": bare,
        "collect, copies": lambda n, s: gathered(n, s, vector=False),
        "collect, SyncVectorEnv": lambda n, s: gathered(n, s, vector=True),
    }
    rows = []
    for copies in (1, 8, 64):
        each: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                each[name].append(steps / way(copies, steps))
        for name, values in each.items():
            rows.append({"copies": copies, "way": name, "per_second": np.round(values).tolist()})
            print(f"{copies:3d} copies  {name:24s} {np.median(values):9.0f} transitions/s", flush=True)
    return rows


def frames(replay: Replay, count: int, length: int = 200, seed: int = 0) -> Replay:
    """Fill a replay with pictures of 32 x 32 bytes."""
    rng = np.random.default_rng(seed)
    for _ in range(count // (length + 1)):
        seen = rng.integers(0, 256, (length + 1, 32, 32, 1), np.uint8)
        replay.add(
            seen, rng.uniform(-2, 2, (length, 1)), rng.normal(size=length), terminated=False, truncated=True
        )
    return replay


def memory(count: int) -> dict[str, Any]:
    """Return megabytes: what a replay holds, what data for a fit are, and the most while they are made."""
    space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
    found: dict[str, Any] = {"frames": count}
    with tempfile.TemporaryDirectory() as folder:
        held = frames(Replay(space), count)
        start = time.process_time()
        mapped = frames(Replay(space, folder=folder), count)
        mapped.flush()
        found["writing_seconds"] = round(time.process_time() - start, 2)
        found["held_MB"], found["held_with_folder_MB"] = held.held / 1e6, mapped.held / 1e6
        found["disk_MB"] = sum(p.stat().st_size for p in Path(folder).rglob("*.npy")) / 1e6
        del held
        start = time.process_time()
        Replay(folder=folder)
        found["reopening_seconds"] = round(time.process_time() - start, 3)
        tracemalloc.start()
        start = time.process_time()
        data = mapped.to_data()
        found["to_data_seconds"] = round(time.process_time() - start, 2)
        found["to_data_peak_MB"] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        found["x_MB"], found["mask_MB"] = (
            data.x.nbytes / 1e6,
            0.0 if data.mask is None else data.mask.nbytes / 1e6,
        )
    print(json.dumps(found), flush=True)
    return found


def windows(count: int, length: int = 50, size: int = 16, steps: int = 50) -> dict[str, Any]:
    """Return windows per second that a compiled step picks from data on the device."""
    data = frames(Replay(gymnasium.spaces.Box(-2, 2, (1,), np.float32)), count).to_data()
    plan = fit.Windows(length).plan(data, size)
    rows = jax.tree.map(jax.numpy.asarray, data.rows())
    order = jax.jit(lambda key: plan.order(rows, key=key))(jax.random.key(0))
    pick = jax.jit(lambda rows, order, place: plan.pick(rows, order, place, 0))
    jax.block_until_ready(pick(rows, order, 0))
    start = time.process_time()
    for place in range(steps):
        jax.block_until_ready(pick(rows, order, place))
    rate = steps * size / (time.process_time() - start)
    print(f"{rate:.0f} windows of {length} frames/s", flush=True)
    return {"frames": count, "length": length, "batch": size, "windows_per_second": round(rate)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=100_500)
    parser.add_argument("--out", default="bench/results/replay.json")
    options = parser.parse_args()
    results = {
        "memory": memory(options.frames),
        "windows": windows(min(options.frames, 20_100)),
        "rates": rates(options.steps, options.rounds),
    }
    Path(options.out).write_text(json.dumps(results, indent=1))
