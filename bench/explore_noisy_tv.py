"""Share of a bonus spent on noise: `jensen/NoisyTV-v0`, two rooms of 3 × 3, a screen of 4 pixels.

`watched`: a random policy's steps, 100 an update; the share of the bonus that goes to steps that redrew the
screen, over the last quarter of the updates, beside the share of such steps. `followed`: a Q-learner of the
cells (γ = 0.95, rate 0.3, ε = 0.1) that gets the bonus, scaled by its first values: the share of steps on
which it presses the remote control, and the cells it finds. Networks: one hidden layer of 32, Adam 3e-3,
ten steps an update on batches of 64.

Run: python bench/explore_noisy_tv.py [--seeds 10] [--updates 200] [--out FILE]; --picture
docs/images/explore_noisy_tv.png draws it.
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

from jensen.control import bootstrap, explore
from jensen.control.explore import Transitions
from jensen.envs import NoisyTV
from jensen.typing import Array, PRNGKey

STEPS = 100
WORLD = NoisyTV(room=3, pixels=4)
WAYS = (
    "prediction-error",
    "random-network-distillation",
    "counts",
    "disagreement",
    "dirichlet-gain",
    "linear-gain",
    "variational-gain",
)
OUT = Path(__file__).parent / "results" / "explore_noisy_tv.json"


def state_of(observation: Array) -> Array:
    """Return the number of a state from what is seen of it."""
    pixels = (observation[WORLD.num_cells :] > 0.5).astype(jnp.int32)
    return jnp.argmax(observation[: WORLD.num_cells]) * 2**WORLD.pixels + pixels @ 2 ** jnp.arange(
        WORLD.pixels
    )


def bonus_of(way: str, key: PRNGKey) -> explore.AbstractBonus:
    seen, acts = WORLD.num_cells + WORLD.pixels, WORLD.action_dim
    adam: Any = optax.adam(3e-3)
    online: Any = {"batch_size": 64, "steps": 10, "memory": 20_000}
    match way:
        case "prediction-error":
            return explore.PredictionError(explore.dynamics(seen, acts, (32,), key=key), adam, **online)
        case "random-network-distillation":
            return explore.RandomNetworkDistillation(seen, adam, widths=(32,), key=key, **online)
        case "counts":
            return explore.Coded(explore.Counts(WORLD.num_states, acts), state_of)
        case "disagreement":
            members = [explore.dynamics(seen, acts, (32,), key=k) for k in jax.random.split(key, 5)]
            return explore.Disagreement(members, adam, **online)
        case "dirichlet-gain":
            return explore.Coded(explore.DirichletGain(WORLD.num_states, acts, prior=0.05), state_of)
        case "linear-gain":
            features = lambda o, a: jnp.outer(jnp.append(o, 1.0), a).ravel()  # noqa: E731
            return explore.LinearGain(features, (seen + 1) * acts, data_dim=seen, noise=0.5)
        case "variational-gain":
            return explore.VariationalGain(seen, acts, adam, noise=0.5, widths=(32,), key=key, **online)
    raise ValueError(way)


def walked(updates: int, key: PRNGKey) -> tuple[Transitions, Array]:
    """Return a random policy's steps, (updates, STEPS, ...), and which of them redrew the screen."""

    def episode(key: PRNGKey) -> tuple[Transitions, Array]:
        to_start, to_steps = jax.random.split(key)

        def step(carry: Any, key: PRNGKey) -> tuple[Any, Any]:
            state, alive = carry
            to_action, to_world = jax.random.split(key)
            action = jax.nn.one_hot(jax.random.randint(to_action, (), 0, 5), 5)
            moved = WORLD.step(state, action, key=to_world)
            row = Transitions(WORLD.observe(state), action, WORLD.observe(moved.state), alive)
            return (moved.state, alive * moved.continues), (row, alive * moved.state.fresh)

        start = (WORLD.initial(key=to_start), jnp.ones(()))
        return jax.lax.scan(step, start, jax.random.split(to_steps, STEPS))[1]

    return jax.vmap(episode)(jax.random.split(key, updates))


@eqx.filter_jit
def watched(way: str, updates: int, keys: Array) -> tuple[Array, Array]:
    """Return sums of the bonus over each update's steps, all and those that redrew the screen."""

    def one(key: PRNGKey) -> tuple[Array, Array]:
        to_walk, to_bonus, to_updates = jax.random.split(key, 3)
        walk, fresh = walked(updates, to_walk)
        arrays, rest = eqx.partition(bonus_of(way, to_bonus), eqx.is_array)

        def update(arrays: Any, given: Any) -> tuple[Any, Any]:
            bonus = eqx.combine(arrays, rest)
            steps, fresh, key = given
            worth = bonus.bonus(steps)
            new = bonus.update(steps, key=key)
            return eqx.filter(new, eqx.is_array), (worth.sum(), worth @ fresh)

        given = (walk, fresh, jax.random.split(to_updates, updates))
        return jax.lax.scan(update, arrays, given)[1]

    return jax.vmap(one)(keys)


class Start(eqx.Module):
    def __call__(self, key: PRNGKey) -> Any:
        return WORLD.initial(key=key)


def cell(state: Any) -> Array:
    return state.cell


@eqx.filter_jit
def followed(way: str, episodes: int, keys: Array) -> tuple[Array, Array]:
    """Return the share of steps that redraw the screen, and of cells found."""

    def one(key: PRNGKey) -> tuple[Array, Array]:
        to_bonus, to_walk, to_learn = jax.random.split(key, 3)
        bonus = bonus_of(way, to_bonus)
        first = jax.tree.map(lambda leaf: leaf[0], walked(1, to_walk)[0])
        scale = 1 / jnp.maximum(bonus.bonus(first).mean(), 1e-6)
        learner = explore.QLearner(discount=0.95, learning_rate=0.3, epsilon=0.1, initial=25.0)
        learner = eqx.tree_at(lambda q: q.bonus, learner, scale)
        world = explore.Enumerated(
            WORLD, Start(), cell, num_states=WORLD.num_cells, horizon=STEPS, observe=WORLD.observe
        )
        visits = explore.learn(world, learner, bonus, episodes, key=to_learn).visits
        left = jnp.asarray(WORLD.cells[:, 1] < WORLD.room)
        return (visits[:, -1] * left).sum() / visits.sum(), (visits.sum(-1) > 0).sum()

    return jax.vmap(one)(keys)


def measured(way: str, updates: int, seeds: int) -> dict[str, Any]:
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(0), seeds)
    every, noise = (np.asarray(part, np.float64) for part in watched(way, updates, keys))
    last = slice(-max(updates // 4, 1), None)
    shares = noise[:, last].sum(1) / every[:, last].sum(1)
    pressed, found = (np.asarray(part) for part in followed(way, updates, keys))
    # a running share for the picture, twenty points of it
    cuts = np.array_split(np.arange(updates), min(20, updates))
    curve = [(noise[:, cut].sum(1) / every[:, cut].sum(1)).round(4).tolist() for cut in cuts]
    return {
        "way": way,
        "watched": shares.round(4).tolist(),
        "watched_iqm": [round(float(v), 4) for v in bootstrap(shares)],
        "pressed": pressed.round(4).tolist(),
        "pressed_iqm": [round(float(v), 4) for v in bootstrap(pressed)],
        "cells": found.tolist(),
        "cells_iqm": [round(float(v), 1) for v in bootstrap(found)],
        "bonus_last_to_first": float(every[:, last].mean() / every[:, 0].mean()),
        "curve": curve,
        "updates": updates,
        "seconds": round(time.perf_counter() - began, 1),
    }


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the share over time, and what followers did."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(9.5, 3.8), layout="constrained")
    FigureCanvasAgg(fig)
    left, right = fig.subplots(1, 2)
    for row in rows:
        curve = np.array([bootstrap(point, draws=200) for point in row["curve"]])
        steps = (np.arange(len(curve)) + 0.5) * row["updates"] * STEPS / len(curve)
        (line,) = left.plot(steps, curve[:, 0], label=row["way"])
        left.fill_between(steps, curve[:, 1], curve[:, 2], alpha=0.2, color=line.get_color())
    left.set(xlabel="steps of a random policy", ylabel="share of the bonus spent on noise", ylim=(0, 1.3))
    places = np.arange(len(rows))
    iqm = np.array([row["pressed_iqm"] for row in rows])
    right.barh(places, iqm[:, 0], xerr=np.abs(iqm[:, 1:] - iqm[:, :1]).T, color="0.6")
    right.set_yticks(places, [row["way"] for row in rows])
    right.invert_yaxis()
    right.set(xlabel="share of a follower's steps that press")
    left.legend(fontsize=7, frameon=False, ncols=2, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    known = {row["way"] for row in rows}
    for way in given.ways:
        if way in known:
            continue
        row = measured(way, given.updates, given.seeds)
        rows.append(row)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps({"rows": rows}, indent=1))
        print(
            f"{way}: noise {row['watched_iqm']}, pressed {row['pressed_iqm']}, cells {row['cells_iqm']}, "
            f"{row['seconds']} s",
            flush=True,
        )
    if given.picture:
        picture(rows, given.picture)


if __name__ == "__main__":
    main()
