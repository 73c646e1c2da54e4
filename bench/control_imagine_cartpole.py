"""Swing-up of a pole on a cart by an actor-critic in the true dynamics: both gradients, numbers and choices.

    python bench/control_imagine_cartpole.py --seeds 0 1 2 --out bench/results/control_imagine_cartpole.jsonl

`jensen/CartPoleSwingUp-v0`: 500 steps from hanging, each worth 1 upright and 0 hanging; leaving the track
ends the episode. Choices are three pushes: full to the left, none, full to the right. One line of JSON a run,
every return in it; runs already there are passed over.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.control import ActorCritic, BoxActions, DiscreteActions, Imagined, Pathwise, Score, imagine
from jensen.control.imagine.actors import default_actor, default_critic
from jensen.core import AbstractWorld, Moved
from jensen.envs import CartPoleSwingUp

STEPS, EPISODES = 500, 100
POLE = CartPoleSwingUp()
FORCE = BoxActions(-np.ones(1, np.float32), np.ones(1, np.float32), (1,), np.dtype("float32"), "squash")


class ThreePushes(AbstractWorld):
    """The same, pushed fully to the left, not at all, or fully to the right."""

    action_dim: int = 3

    def step(self, state: jax.Array, action: jax.Array, *, key: jax.Array) -> Moved:
        """Push."""
        return POLE.step(state, action @ jnp.array([[-1.0], [0.0], [1.0]]), key=key)


RUNS = {
    "pathwise, force": (POLE, FORCE, Pathwise()),
    "score, force": (POLE, FORCE, Score()),
    "score, three pushes": (ThreePushes(), DiscreteActions(3), Score()),
}


def acted(learnt: Imagined, world: AbstractWorld) -> np.ndarray:
    """Return the undiscounted return of episodes from hanging."""
    states = jax.vmap(lambda key: POLE.initial(key=key))(jax.random.split(jax.random.key(9), EPISODES))
    keys = jax.random.split(jax.random.key(10), EPISODES)
    move = jax.jit(jax.vmap(lambda s, a, key: world.step(s, a, key=key)))
    see = jax.jit(jax.vmap(POLE.observe))
    policy, total, alive = learnt.policy, np.zeros(EPISODES), np.ones(EPISODES)
    policy.reset(num_envs=EPISODES)
    for _ in range(STEPS):
        actions = policy.select_action(np.asarray(see(states)))
        actions = np.eye(3, dtype=np.float32)[actions] if world.action_dim == 3 else actions
        moved = move(states, actions, keys)
        states, total = moved.state, total + alive * np.asarray(moved.reward)
        alive = alive * np.asarray(moved.continues)
    return total


def row(name: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Learn once, and act."""
    world, space, gradient = RUNS[name]
    to_states, to_actor, to_critic, key = jax.random.split(jax.random.key(seed), 4)
    wide = jnp.array([2.0, 3.0, jnp.pi, 8.0])
    starts = jax.random.uniform(to_states, (8192, 4), minval=-1, maxval=1) * wide
    networks = ActorCritic(
        default_actor(space, 5, (64, 64), key=to_actor), default_critic(5, (64, 64), key=to_critic), gradient
    )
    learnt = imagine(world, starts, space, features=POLE.observe, learned=networks, key=key, **settings)
    print(learnt, flush=True)
    returns = acted(learnt, world)
    return {
        "run": name,
        "seed": seed,
        "settings": settings,
        "return": float(returns.mean()),
        "seconds": learnt.seconds,
        "measures": {name: values[::10].tolist() for name, values in learnt.measures.items()},
        "returns": returns.round(2).tolist(),
    }


def main() -> None:
    """Make the runs that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("bench/results/control_imagine_cartpole.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {(made["run"], made["seed"]) for made in map(json.loads, lines)}
    settings = {"steps": options.steps, "horizon": 20, "batch_size": 256}
    for name in options.runs:
        for seed in options.seeds:
            if (name, seed) in done:
                continue
            result = row(name, seed, settings)
            print(
                json.dumps({part: result[part] for part in ("run", "seed", "return", "seconds")}), flush=True
            )
            with options.out.open("a") as file:
                file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
