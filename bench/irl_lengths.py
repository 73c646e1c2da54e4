"""Inverse reinforcement learning from episodes of 1 to 51 steps, some of which come to absorbing states.

    python bench/irl_lengths.py --out bench/results/irl_lengths.json
    python bench/irl_lengths.py --table bench/results/irl_lengths.json

Every seed is a world of its own: 50 states, 8 actions, each leading to 4 states by chance; 4 states are
absorbing, self-loops with rewards 1, 0, −2 and −4 a step, which one pair of state and action in ten may come
to; rewards of the others are standard normal. Demonstrators are soft-optimal at temperature 1 and discount
0.9; an episode ends where it comes to an absorbing state, or is cut off after a number of steps drawn from 1
to 51. ``irl`` is the soft-optimal policy of the inferred reward of states; ``clone`` counts actions, each
count raised by what does best on the *held-out* actions (of 0.01, 0.1, 0.3, 1, 3), which favours it. Values
are −log π per held-out action of 1,000 episodes, nats; even odds are log 8 = 2.079.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jensen.algorithms.mdp import MDP
from jensen.control import irl
from jensen.control.policies.tabular import sample_episodes
from jensen.control.soft import earned, soft_control
from jensen.control.statistics import bootstrap
from jensen.datasets import Episodes

STATES, ACTIONS, LONGEST, DISCOUNT = 50, 8, 51, 0.9
ABSORBING = (1.0, 0.0, -2.0, -4.0)
DEMONSTRATIONS, SMOOTHING, PRIOR = (50, 200), (0.01, 0.1, 0.3, 1.0, 3.0), 3.0


def world(seed: int) -> MDP:
    """Return a world; its last four states are absorbing, and it starts in any other."""
    rng = np.random.default_rng(seed)
    rewards, free = rng.normal(size=STATES), STATES - len(ABSORBING)
    moves = np.zeros((STATES, ACTIONS, STATES))
    for state in range(free):
        for action in range(ACTIONS):
            after = rng.choice(free, 4, replace=False)
            if rng.random() < 0.1:
                after[0] = rng.integers(free, STATES)
            moves[state, action, after] = rng.dirichlet(np.ones(4))
    moves[free:], rewards[free:] = np.eye(STATES)[free:, None], ABSORBING
    start = np.where(np.arange(STATES) < free, 1 / free, 0.0)
    return MDP(moves, np.repeat(rewards[:, None], ACTIONS, 1), start)


def shown(problem: MDP, policy: np.ndarray, count: int, seed: int) -> Episodes:
    """Return episodes cut where they are absorbed, or after a number of steps of their own."""
    whole = sample_episodes(problem, policy, count, max_steps=LONGEST, seed=seed)
    longest = np.random.default_rng(seed).integers(1, LONGEST + 1, count)
    states, actions, over = [], [], []
    for seen, done, cut in zip(whole.observations, whole.actions, longest, strict=True):
        absorbed = seen[:, 0] >= STATES - len(ABSORBING)
        end = min(int(absorbed.argmax()) if absorbed.any() else LONGEST, int(cut))
        states.append(seen[: end + 1])
        actions.append(done[:end])
        over.append(bool(absorbed[end]))
    return Episodes(tuple(states), tuple(actions), terminated=np.array(over), truncated=~np.array(over))


def one(seed: int, count: int) -> dict[str, Any]:
    """Return the figures of one world and one set of demonstrations."""
    problem = world(seed)
    expert = soft_control(problem, temperature=1.0, discount=DISCOUNT)
    episodes = shown(problem, expert.policy, count, seed)
    seen, unseen = (
        irl.demonstrated(problem, part, discount=DISCOUNT)
        for part in (episodes, shown(problem, expert.policy, 1_000, 10_000 + seed))
    )
    agent = irl.SoftOptimal(problem, irl.StateReward(STATES), discount=DISCOUNT)
    began = time.perf_counter()
    found = irl.infer(agent, seen, prior_scale=PRIOR, key=jax.random.key(seed))
    seconds = time.perf_counter() - began
    true, got = np.asarray(problem.rewards)[:, 0], found.rewards[:, 0]
    lengths = episodes.lengths
    return {
        "seed": seed,
        "demonstrations": count,
        "shortest": int(lengths.min()),
        "longest": int(lengths.max()),
        "actions": int(lengths.sum()),
        "seconds": seconds,
        "rewards": got.tolist(),
        "spread": float(np.ptp(got)),
        "correlation": float(np.corrcoef(true, got)[0, 1]),
        "irl": unseen.nll(found.policy),
        "clone": min(unseen.nll(irl.clone(seen, smoothing=by)) for by in SMOOTHING),
        "demonstrator": unseen.nll(expert.policy),
        "return, irl": earned(problem, found.policy, discount=DISCOUNT),
        "return, clone": earned(problem, irl.clone(seen, smoothing=0.1), discount=DISCOUNT),
        "return, demonstrator": expert.expected_return,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table of the page."""
    names = (
        "irl",
        "clone",
        "demonstrator",
        "correlation",
        "return, irl",
        "return, clone",
        "return, demonstrator",
    )
    lines = ["| demonstrations | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for count in DEMONSTRATIONS:
        own = [row for row in rows if row["demonstrations"] == count]
        cells = [bootstrap([row[name] for row in own]) for name in names]
        shown = [f"{cell.value:.2f} [{cell.lower:.2f}, {cell.upper:.2f}]" for cell in cells]
        lines.append(f"| {count} | " + " | ".join(shown) + " |")
    wins = sum(row["irl"] < row["clone"] for row in rows)
    span = f"{min(row['shortest'] for row in rows)} to {max(row['longest'] for row in rows)}"
    least = min(row["spread"] for row in rows)
    return "\n".join(
        [*lines, f"\nlengths {span}; irl below clone in {wins} of {len(rows)}; least spread {least:.2f}"]
    )


def main() -> None:
    """Run, or show what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", default="bench/results/irl_lengths.json")
    parser.add_argument("--table")
    asked = parser.parse_args()
    path = Path(asked.table or asked.out)
    rows = json.loads(path.read_text()) if path.exists() else []
    if not asked.table:
        have = {(row["seed"], row["demonstrations"]) for row in rows}
        for count in DEMONSTRATIONS:
            for seed in range(asked.seeds):
                if (seed, count) in have:
                    continue
                rows.append(one(seed, count))
                path.write_text(json.dumps(rows) + "\n")
                print({k: v for k, v in rows[-1].items() if k != "rewards"}, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
