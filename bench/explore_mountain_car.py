"""How much of sparse MountainCar is seen: share of 20 × 20 cells of position and velocity after 100 episodes.

`jensen/SparseMountainCar-v0`, 200 steps an episode, 20,000 in all; no reward but at the goal. A Q-learner
of the cells (γ = 0.99, rate 0.5, each episode replayed backwards) gets the bonus, scaled by its first
values so that a new step is worth about 1. `random` and `random, held 10 steps` learn nothing: baselines
that most comparisons leave out.

Run: python bench/explore_mountain_car.py [--seeds 10] [--episodes 100] [--out ...]; --picture FILE draws
it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jensen import models
from jensen.control import bootstrap, explore
from jensen.core import Datum
from jensen.envs import SparseMountainCar
from jensen.typing import Array, PRNGKey

WORLD: Any = SparseMountainCar()
LOW, HIGH = np.array([-1.2, -0.07]), np.array([0.6, 0.07])
CELLS = explore.GridCells(LOW, HIGH, (20, 20))
HORIZON = 200
WAYS = (
    "random",
    "random, held 10 steps",
    "epsilon-greedy",
    "counts, no optimism",
    "untried first",
    "counts",
    "pseudo-counts, mixture",
    "dirichlet-gain",
    "linear-gain",
    "variational-gain",
    "disagreement",
    "random-network-distillation",
    "prediction-error",
)
OUT = Path(__file__).parent / "results" / "explore_mountain_car.json"


def centred(state: Array) -> Array:
    """Return position and velocity on −1..1: what bonuses see."""
    return 2 * (state - jnp.asarray(LOW)) / jnp.asarray(HIGH - LOW) - 1


def cells(seen: Array) -> Array:
    return CELLS((seen + 1) / 2 * (CELLS.high - CELLS.low) + CELLS.low)


class Start(eqx.Module):
    def __call__(self, key: PRNGKey) -> Array:
        return WORLD.initial(key=key)


def waves(observation: Array, action: Array) -> Array:
    """Return cosines of the observation for each action, (3 · 16,)."""
    order = jnp.stack(jnp.meshgrid(jnp.arange(4), jnp.arange(4)), -1).reshape(-1, 2)
    return jnp.outer(jnp.cos(jnp.pi * order @ (observation + 1) / 2), action).ravel()


def mixture() -> models.GaussianMixture:
    """Return a mixture started on points all over, to be refitted."""
    rng = np.random.default_rng(0)
    start = models.GaussianMixture(8, 2, covariance="diag", key=jax.random.key(0))
    return start.initialize_from(
        Datum(rng.uniform(-1, 1, (500, 2)).astype(np.float32)), key=jax.random.key(0)
    )


MIXTURE = mixture()


def bonus_of(way: str, key: PRNGKey) -> explore.AbstractBonus | None:
    adam: Any = optax.adam(3e-3)
    online: Any = {"batch_size": 64, "steps": 20, "memory": 20_000}
    match way:
        case "counts, no optimism" | "counts":
            return explore.Coded(explore.Counts(CELLS.num, 3), cells)
        case "pseudo-counts, mixture":
            rho = explore.Refitted(MIXTURE, memory=explore.Memory.empty(4_000, 2))
            return explore.PseudoCounts(rho, lambda o, a: o, form="gain")
        case "dirichlet-gain":
            return explore.Coded(explore.DirichletGain(CELLS.num, 3, prior=0.02), cells)
        case "linear-gain":
            return explore.LinearGain(waves, 48, data_dim=2, noise=0.02, prior_scale=10.0)
        case "variational-gain":
            return explore.VariationalGain(2, 3, adam, noise=0.05, widths=(32,), key=key, **online)
        case "disagreement":
            members = [explore.dynamics(2, 3, (32,), key=k) for k in jax.random.split(key, 5)]
            return explore.Disagreement(members, adam, **online)
        case "random-network-distillation":
            return explore.RandomNetworkDistillation(2, adam, widths=(32,), key=key, **online)
        case "prediction-error":
            return explore.PredictionError(explore.dynamics(2, 3, (32,), key=key), adam, **online)
    return None


def learner_of(way: str) -> explore.QLearner:
    common: Any = {"discount": 0.99, "learning_rate": 0.5}
    match way:
        case "random":
            return explore.QLearner(epsilon=1.0)
        case "random, held 10 steps":
            return explore.QLearner(epsilon=1.0, repeat=10)
        case "epsilon-greedy":
            return explore.QLearner(epsilon=0.1, **common)
        case "counts, no optimism":
            return explore.QLearner(bonus=1.0, **common)
        case "untried first":
            return explore.QLearner(initial=10.0, **common)
    # above what bonuses of 1 add up to, 1/(1 − γ): else the tried looks better than the untried
    return explore.QLearner(initial=110.0, bonus=1.0, **common)


@eqx.filter_jit
def run(way: str, episodes: int, keys: Array) -> tuple[Array, Array, Array]:
    """Return cells covered, (seeds, E), returns, (seeds, E), and visits of cells, (seeds, 400)."""

    def one(key: PRNGKey) -> tuple[Array, Array, Array]:
        to_bonus, to_scale, to_learn = jax.random.split(key, 3)
        world = explore.Enumerated(
            WORLD, Start(), CELLS, num_states=CELLS.num, horizon=HORIZON, observe=centred
        )
        bonus, learner = bonus_of(way, to_bonus), learner_of(way)
        if bonus is not None:
            # what the first random episode would earn on average becomes 1
            random = explore.learn(world, explore.QLearner(epsilon=1.0), bonus, 1, key=to_scale)
            scale = HORIZON / jnp.maximum(random.bonuses[0], 1e-9)
            learner = eqx.tree_at(lambda q: q.bonus, learner, learner.bonus * scale)
        learnt = explore.learn(world, learner, bonus, episodes, key=to_learn)
        return learnt.covered, learnt.returns, learnt.visits.sum(-1)

    return jax.vmap(one)(keys)


def measured(way: str, episodes: int, seeds: int) -> dict[str, Any]:
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(0), seeds)
    covered, returns, visits = (np.asarray(part) for part in run(way, episodes, keys))
    share = covered[:, -1] / CELLS.num
    first = [int(np.argmax(r > 0.5)) + 1 if (r > 0.5).any() else None for r in returns]
    return {
        "way": way,
        "coverage": share.round(4).tolist(),
        "iqm": [round(float(v), 4) for v in bootstrap(share)],
        "first_goal": first,
        "goals": (returns > 0.5).sum(1).tolist(),
        "curve": (covered[:, :: max(episodes // 20, 1)] / CELLS.num).round(4).tolist(),
        "visits": visits[0].tolist(),
        "episodes": episodes,
        "seconds": round(time.perf_counter() - began, 1),
    }


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw where the first seed of some ways went, and the coverage of all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(10.5, 4.6), layout="constrained")
    FigureCanvasAgg(fig)
    halves: Any = fig.subfigures(1, 2, width_ratios=(1, 1.15))
    left, right = halves
    ax = left.subplots()
    iqm = np.array([row["iqm"] for row in rows])
    ax.barh(np.arange(len(rows)), iqm[:, 0], xerr=np.abs(iqm[:, 1:] - iqm[:, :1]).T, color="0.6")
    ax.set_yticks(np.arange(len(rows)), [row["way"] for row in rows], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel=f"share of cells seen after {rows[0]['episodes'] * HORIZON:,} steps")
    shown = [
        row for row in rows if row["way"] in ("random", "random, held 10 steps", "counts", "disagreement")
    ]
    for ax, row in zip(right.subplots(2, 2, sharex=True, sharey=True).ravel(), shown, strict=False):
        grid = np.log10(1 + np.array(row["visits"]).reshape(20, 20).T)
        ax.imshow(
            grid, origin="lower", extent=(-1.2, 0.6, -0.07, 0.07), aspect="auto", cmap="viridis", vmax=3.5
        )
        ax.set_title(row["way"], fontsize=9)
    right.supxlabel("position", fontsize=9)
    right.supylabel("velocity; colour: log visits", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    known = {row["way"] for row in rows}
    for way in given.ways:
        if way in known:
            continue
        row = measured(way, given.episodes, given.seeds)
        rows.append(row)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"rows": rows}, indent=1))
        print(f"{way}: covered {row['iqm']}, first goal {row['first_goal']}, {row['seconds']} s", flush=True)
    if given.picture:
        picture(rows, given.picture)


if __name__ == "__main__":
    main()
