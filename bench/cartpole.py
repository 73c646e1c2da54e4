"""CartPole-v1 from 57 recorded expert episodes: return over 100 episodes of each policy.

    JENSEN_DATA=... python bench/cartpole.py --seeds 5

Policies are those of ``control.imitate`` with its defaults; ``likeliest`` acts by the most probable action,
``sample`` draws it. Each seed has weights, a split and starts of its own. The experts' return is that of the
recording.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sequences import keep
from sklearn.neighbors import NearestNeighbors

from jensen import control, datasets

EPISODES = 100
FITTED: dict[str, dict[str, Any]] = {
    "categorical, sample": {"policy": "categorical"},
    "categorical, likeliest": {"policy": "categorical", "choose": "likeliest"},
    "cvae, step": {"policy": "cvae", "hold": "step"},
    "cvae, chunk of 4": {"policy": "cvae", "hold": "chunk", "horizon": 4},
    "cvae, episode": {"policy": "cvae", "hold": "episode"},
}


def nearest(shown: datasets.Episodes) -> Any:
    """Return the policy that does what was done in the nearest state."""
    states, actions = shown.flat()
    scale = states.std(0)
    index = NearestNeighbors(n_neighbors=1).fit(states / scale)
    flat = actions.reshape(-1)
    return lambda seen: flat[index.kneighbors(seen / scale, return_distance=False)[:, 0]]


def main() -> None:
    """Fit, act, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", default="bench/results/cartpole.jsonl")
    options = parser.parse_args()
    root = Path(os.environ.get("JENSEN_DATA", "../shared/data"))
    shown = datasets.load_episodes(root / "cartpole_expert/cartpole_expert.npz")
    import gymnasium

    space = gymnasium.make("CartPole-v1").action_space
    found: dict[str, Any] = {"experts": [float(shown.lengths.mean())]}
    seconds: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        for number, (name, how) in enumerate(FITTED.items()):
            key = jax.random.fold_in(jax.random.key(seed), number)
            learnt = control.imitate(shown, key=key, space=space, **how)
            done = control.evaluate(learnt, "CartPole-v1", EPISODES, seed=1_000 * seed)
            found.setdefault(name, []).append(float(done.returns.mean()))
            seconds.setdefault(name, []).append(learnt.seconds)
            print(seed, name, found[name][-1], f"{learnt.seconds:.1f} s", flush=True)
        done = control.evaluate(nearest(shown), "CartPole-v1", EPISODES, seed=1_000 * seed)
        found.setdefault("nearest neighbour", []).append(float(done.returns.mean()))
    result = {name: {"mean": float(np.mean(each)), "seeds": each} for name, each in found.items()}
    result |= {"seconds": {name: float(np.median(s)) for name, s in seconds.items()}}
    keep(result | {"episodes": EPISODES, "options": vars(options)}, options.out)


if __name__ == "__main__":
    main()
