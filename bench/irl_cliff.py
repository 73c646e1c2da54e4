"""Inverse reinforcement learning on CliffWorld: what the inferred reward is worth, here and elsewhere.

    python bench/irl_cliff.py --out bench/results/irl_cliff.json
    python bench/irl_cliff.py --table bench/results/irl_cliff.json
    python bench/irl_cliff.py --picture docs/images/irl_cliff.png

Demonstrators are soft-optimal at temperature 1. Every seed has demonstrations of its own; returns are exact
(policy evaluation), undiscounted, over the 8 steps of an episode. ``irl`` is the soft-optimal policy of the
inferred reward of states; ``irl, greedy`` the best policy by that reward; ``cloning`` counts actions, with
even odds where nothing was seen (``cloning + 1``: one added to every count). In changed
dynamics (another wind; every action moving the opposite way) an inferred reward is planned with anew, a clone
does what it did. The prior's scale was chosen on seeds 1000 to 1002.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jensen import envs
from jensen.algorithms.mdp import MDP
from jensen.control import irl
from jensen.control.policies.tabular import sample_episodes
from jensen.control.soft import earned, soft_control
from jensen.control.statistics import bootstrap

HORIZON, TEMPERATURE, PRIOR = 8, 1.0, 10.0
DEMONSTRATIONS = (5, 10, 30, 100)
HOME, *CHANGED = WORLDS = ("wind 0.3", "wind 0", "wind 0.7", "turned")


def world_of(name: str) -> MDP:
    """Return CliffWorld as it is, in another wind, or with its actions turned about."""
    if name == "turned":
        home = envs.CliffWorld().mdp()
        return home._replace(transitions=home.transitions[:, ::-1])
    return envs.CliffWorld(wind=float(name.split()[1])).mdp()


def one(seed: int, count: int, prior: float) -> dict[str, Any]:
    """Return the figures of one set of demonstrations."""
    worlds = {name: world_of(name) for name in WORLDS}
    home = worlds[HOME]
    expert = soft_control(home, temperature=TEMPERATURE, horizon=HORIZON)
    shown = sample_episodes(home, expert.policy, count, max_steps=HORIZON, seed=seed)
    unseen = irl.demonstrated(
        home, sample_episodes(home, expert.policy, 1_000, max_steps=HORIZON, seed=10_000 + seed)
    )
    agent = irl.SoftOptimal(home, irl.StateReward(home.num_states), horizon=HORIZON)
    began = time.perf_counter()
    found = irl.infer(agent, shown, prior_scale=prior, key=jax.random.key(seed))
    seconds = time.perf_counter() - began
    seen = found.demonstrations
    row: dict[str, Any] = {"seed": seed, "demonstrations": count, "prior": prior, "seconds": seconds}
    row["rewards"] = found.rewards[:, 0].tolist()
    row["correlation"] = float(np.corrcoef(found.rewards[:, 0], np.asarray(home.rewards)[:, 0])[0, 1])
    clones = {"cloning": irl.clone(seen, smoothing=0.0), "cloning + 1": irl.clone(seen)}
    for name, policy in {"irl": found.policy, **clones}.items():
        row[f"nll, {name}"] = unseen.nll(0.999 * policy + 0.001 / 4)
    for where, world in worlds.items():
        planned = found.transferred(world)
        greedy = soft_control(planned.mdp, temperature=0.0, horizon=HORIZON)
        for name, policy in {"irl": planned.policy, "irl, greedy": greedy.policy, **clones}.items():
            row[f"{name}, {where}"] = earned(world, policy, horizon=HORIZON)
    return row


def references() -> dict[str, dict[str, float]]:
    """Return what the best, the demonstrator's kind and even odds earn in each world."""
    found = {}
    for where in WORLDS:
        world = world_of(where)
        best, soft = (soft_control(world, temperature=t, horizon=HORIZON) for t in (0.0, TEMPERATURE))
        even = np.full((HORIZON, *world.rewards.shape), 1 / world.num_actions)
        found[where] = {
            "best": best.expected_return,
            "soft-optimal": soft.expected_return,
            "even odds": earned(world, even),
        }
    return found


def table(kept: dict[str, Any]) -> str:
    """Return the tables of the page."""
    lines = []
    rows = kept["rows"]
    methods = ("irl", "irl, greedy", "cloning", "cloning + 1")
    for where in WORLDS:
        known = kept["references"][where]
        lines += [f"\n{where}: " + ", ".join(f"{name} {value:.1f}" for name, value in known.items()), ""]
        lines += ["| demonstrations | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
        for count in DEMONSTRATIONS:
            own = [row for row in rows if row["demonstrations"] == count]
            cells = [bootstrap([row[f"{name}, {where}"] for row in own]) for name in methods]
            shown = [f"{cell.value:.1f} [{cell.lower:.1f}, {cell.upper:.1f}]" for cell in cells]
            lines.append(f"| {count} | " + " | ".join(shown) + " |")
    lines += [
        "\n−log π per action, held out",
        "",
        "| demonstrations | irl | cloning | cloning + 1 |",
        "|---" * 4 + "|",
    ]
    for count in DEMONSTRATIONS:
        own = [row for row in rows if row["demonstrations"] == count]
        cells = [
            bootstrap([row[f"nll, {name}"] for row in own]) for name in ("irl", "cloning", "cloning + 1")
        ]
        shown = [f"{cell.value:.3f} [{cell.lower:.3f}, {cell.upper:.3f}]" for cell in cells]
        lines.append(f"| {count} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def picture(kept: dict[str, Any], path: str) -> None:
    """Draw the true reward beside those inferred, the mean over seeds, less their own mean."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    world = envs.CliffWorld()
    true = np.asarray(world.mdp().rewards)[:, 0]
    shown = {"true": true - true.mean()}
    for count in DEMONSTRATIONS[1:]:
        every = [row["rewards"] for row in kept["rows"] if row["demonstrations"] == count]
        mean = np.mean(every, 0)
        shown[f"{count} demonstrations"] = mean - mean.mean()
    figure, axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 2.15), layout="constrained")
    for axis, (name, values) in zip(axes, shown.items(), strict=True):
        grid = values.reshape(world.height, world.width)
        top = np.abs(values).max()
        axis.imshow(grid, cmap="RdBu", vmin=-top, vmax=top)
        for (row, column), value in np.ndenumerate(grid):
            ink = "white" if abs(value) > 0.6 * top else "black"
            axis.text(column, row, f"{round(value)}", ha="center", va="center", fontsize=8, color=ink)
        axis.set_title(name, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=110, bbox_inches="tight")


def main() -> None:
    """Run, or show what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--prior", type=float, default=PRIOR)
    parser.add_argument("--out", default="bench/results/irl_cliff.json")
    parser.add_argument("--table")
    parser.add_argument("--picture")
    asked = parser.parse_args()
    path = Path(asked.table or asked.out)
    kept = json.loads(path.read_text()) if path.exists() else {"references": references(), "rows": []}
    if asked.picture:
        picture(kept, asked.picture)
        return
    if not asked.table:
        have = {(row["seed"], row["demonstrations"]) for row in kept["rows"]}
        for count in DEMONSTRATIONS:
            for seed in range(asked.first, asked.first + asked.seeds):
                if (seed, count) in have:
                    continue
                kept["rows"].append(one(seed, count, asked.prior))
                path.write_text(json.dumps(kept) + "\n")
                print({k: v for k, v in kept["rows"][-1].items() if k != "rewards"}, flush=True)
    print(table(kept))


if __name__ == "__main__":
    main()
