"""Swing-up from pictures by an actor-critic that never acts while it learns.

    python bench/control_imagine.py --seeds 0 1 2 --out bench/results/control_imagine.jsonl

A world model of random episodes (as in `control_pendulum.py`) is fitted; actor and critic learn on paths
imagined from the states it infers of those episodes, and the actor then meets single 32 × 32 pictures of the
true pendulum. Its returns are paired, start by start, with those of a planner (CEM, 128 candidates, 4
iterations, horizon 15) that knows the true dynamics and the true state. `--true` learns in the true dynamics
instead, from the state. One line of JSON a seed, every return in it; seeds already there are passed over.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen import control, fit
from jensen.control import CEM, BoxActions, ModelWorld, Planner, SeenWorld, imagine
from jensen.datasets.pendulum import move, render, vectors
from jensen.envs import PixelPendulum

STEPS = 200
TORQUE = BoxActions(
    np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32), (1,), np.dtype("float32"), "squash"
)


def starts(number: int) -> np.ndarray:
    """Return the fixed starts, as Gymnasium draws them, (N, 2)."""
    return np.random.default_rng(12345).uniform((-np.pi, -1.0), (np.pi, 1.0), (number, 2))


def acted(policy: control.Policy, see: Any, begin: np.ndarray) -> np.ndarray:
    """Return the return of one episode from each start."""
    states, total = begin, np.zeros(len(begin))
    policy.reset(num_envs=len(states))
    for _ in range(STEPS):
        torque = np.clip(np.asarray(policy.select_action(see(states)), np.float64)[:, 0], -2, 2)
        angle = np.angle(np.exp(1j * states[:, 0]))
        total -= angle**2 + 0.1 * states[:, 1] ** 2 + 0.001 * torque**2
        states = move(states, torque)
    return total


def pictures(states: np.ndarray) -> np.ndarray:
    """Return what is seen."""
    return render(states[:, 0]).astype(np.float32)


def seen(states: np.ndarray) -> np.ndarray:
    """Return the state itself."""
    return states.astype(np.float32)


def observed(state: jax.Array) -> jax.Array:
    """Return cos θ, sin θ, θ̇."""
    return jnp.stack([jnp.cos(state[0]), jnp.sin(state[0]), state[1]])


def planned(begin: np.ndarray) -> np.ndarray:
    """Return the returns of a planner that knows the dynamics."""
    world = SeenWorld(PixelPendulum(), lambda observation: observation, 2)
    search = CEM(horizon=15, candidates=128, iterations=4)
    return acted(Planner(world, TORQUE, search=search, key=jax.random.key(7)), seen, begin)


def fitted_world(options: argparse.Namespace, seed: int) -> tuple[fit.Fitted, fit.Data, float]:
    """Return the world model, its data, and seconds spent; a folder given is loaded instead."""
    import control_pendulum as pendulum

    data = pendulum.recorded(options.episodes, 2 * seed)
    if options.world is not None:
        return fit.load(options.world), data, 0.0
    settings = argparse.Namespace(
        seed=seed,
        steps=options.world_steps,
        batch_size=16,
        learning_rate=2e-3,
        beta=20.0,
        latent=16,
        deter=128,
        width=96,
    )
    began = time.perf_counter()
    return pendulum.train(settings, data), data, time.perf_counter() - began


def row(options: argparse.Namespace, seed: int, begin: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Run the whole procedure once."""
    key = jax.random.key(100 + seed)
    settings = {"steps": options.steps, "batch_size": options.batch_size, **json.loads(options.settings)}
    if options.true:
        states = jax.random.uniform(key, (8192, 2), minval=-1, maxval=1) * jnp.array([jnp.pi, 8.0])
        spent, see = 0.0, lambda states: vectors(states).astype(np.float32)
        learnt = imagine(PixelPendulum(), states, TORQUE, features=observed, key=key, **settings)
    else:
        fitted, data, spent = fitted_world(options, seed)
        learnt, see = imagine(ModelWorld(fitted), data, TORQUE, key=key, **settings), pictures
    print(learnt, flush=True)
    got = acted(learnt.policy, see, begin)
    away = got - reference
    return {
        "seed": seed,
        "world": "true dynamics" if options.true else f"RSSM, {options.episodes} random episodes",
        "settings": settings,
        "return": float(got.mean()),
        "planner": float(reference.mean()),
        "difference": float(away.mean()),
        "difference_se": float(away.std(ddof=1) / len(away) ** 0.5),
        "seconds": {"world": spent, "imagination": learnt.seconds},
        "measures": {name: values[::10].tolist() for name, values in learnt.measures.items()},
        "returns": got.round(2).tolist(),
        "planner_returns": reference.round(2).tolist(),
    }


def main() -> None:
    """Run the seeds that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--world-steps", type=int, default=2500)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--settings", default="{}", help="more settings of imagine, as JSON")
    parser.add_argument("--world", help="a fitted world's run directory")
    parser.add_argument("--true", action="store_true", help="learn in the true dynamics, from the state")
    parser.add_argument("--out", type=Path, default=Path("bench/results/control_imagine.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {json.loads(line)["seed"] for line in lines}
    begin = starts(options.starts)
    began = time.perf_counter()
    reference = planned(begin)
    print(f"planner on true dynamics {reference.mean():.1f}, {time.perf_counter() - began:.0f} s", flush=True)
    for seed in options.seeds:
        if seed in done:
            continue
        result = row(options, seed, begin, reference)
        told = {
            name: result[name]
            for name in ("seed", "return", "planner", "difference", "difference_se", "seconds")
        }
        print(json.dumps(told), flush=True)
        with options.out.open("a") as file:
            file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
