"""Inverse RL on CliffWorld without its dynamics: playing and estimating, against knowing them.

10 demonstrations of a soft-optimal agent (7 × 4, wind 0.3, 8 steps, temperature 1), 20 seeds; three rounds of
20 or 200 episodes each. The reward is a number for each state, or a network of its coordinates. Exact returns
of the policies found, interquartile mean with a 95% bootstrap interval.

Run: python bench/irl_played.py [--seeds 20] [--out bench/results/irl_played.json]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jensen import envs
from jensen.control import bootstrap, irl
from jensen.control.policies.tabular import sample_episodes
from jensen.control.soft import earned, soft_control
from jensen.errors import JensenWarning

HORIZON, SHOWN, ROUNDS = 8, 10, 3
FIT: dict[str, Any] = {"prior_scale": 10.0, "steps": 300, "key": jax.random.key(0)}


def main() -> None:
    """Measure, print, and write every seed's return."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("bench/results/irl_played.json"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", JensenWarning)
    world = envs.CliffWorld().mdp()
    expert = soft_control(world, temperature=1.0, horizon=HORIZON)
    cells = np.stack(np.divmod(np.arange(world.num_states), 7), 1)
    where = (cells - cells.mean(0)) / cells.std(0)
    rows: dict[str, list[float]] = {}
    began = time.perf_counter()
    for seed in range(options.seeds):
        shown = sample_episodes(world, expert.policy, SHOWN, max_steps=HORIZON, seed=1000 + seed)
        forms = {
            "states": irl.StateReward(world.num_states),
            "network": irl.NetReward(where, key=jax.random.key(seed)),
        }
        for name, reward in forms.items():
            agent = irl.SoftOptimal(world, reward, horizon=HORIZON)
            found = irl.infer(agent, shown, **FIT)
            rows.setdefault(f"{name}, dynamics known", []).append(float(earned(world, found.policy)))
            for count in (20, 200):

                def play(policy: np.ndarray, number: int, count: int = count, seed: int = seed) -> Any:
                    return sample_episodes(
                        world, policy, count, max_steps=HORIZON, seed=ROUNDS * seed + number
                    )

                played = irl.infer_played(
                    shown, play, reward, num_actions=4, rounds=ROUNDS, horizon=HORIZON, **FIT
                )
                own = rows.setdefault(f"{name}, {ROUNDS} rounds of {count}", [])
                own.append(float(earned(world, played.found.policy)))
    for name, got in rows.items():
        value, lower, upper = bootstrap(np.array(got))
        print(f"{name:28s} {value:6.1f} [{lower:.1f}, {upper:.1f}]")
    print(f"{time.perf_counter() - began:.0f} s")
    options.out.write_text(json.dumps({"seeds": options.seeds, "returns": rows}, indent=1))


if __name__ == "__main__":
    main()
