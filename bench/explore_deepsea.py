"""Episodes until DeepSea is solved, against its size N, for every way to explore; all seeds in one program.

`jensen/DeepSea-v0`, what an action means drawn anew for each seed and cell. Solved: the first episode by
which a tenth of all episodes so far found the treasure (bsuite's rule). The ways are
`control.explore.METHODS`, by one Q-learner (γ = 1, rate 1, each episode replayed backwards), β = C = 0.1; and
pseudo-counts of a density that generalizes, frequencies of rows times those of columns with actions.
`--stochastic`: the variant with slips and noisy rewards, at rate 1/2; solved is the first episode at which
the last 500 earned half of what can be earned.

Run: python bench/explore_deepsea.py [--sizes 10 20] [--seeds 10] [--out bench/results/explore_deepsea.json];
--picture docs/images/explore_deepsea.png draws what was found. Rows that are there already are not run again.
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

from jensen.control import bootstrap
from jensen.control.explore import METHODS, Empirical, Enumerated, PseudoCounts, episodes_to_solve, learn
from jensen.control.explore.study import Outcomes, by_name
from jensen.envs import DeepSea
from jensen.typing import Array, PRNGKey

SIZES = (10, 20, 30, 40, 50)
EPISODES = 5_000
SCALE = 0.1
SLOW, LATEST = 0.5, 500
FACTORED = "factored-pseudo-counts"
OUT = Path(__file__).parent / "results" / "explore_deepsea.json"


class Start(eqx.Module):
    """The corner, whatever the key."""

    def __call__(self, key: PRNGKey) -> Array:
        return jnp.int32(0)


def itself(state: Array) -> Array:
    return state


def following(size: int, stochastic: bool) -> Outcomes:
    """Return the cells below each cell, with slips the one straight below too; in the end codes past it."""
    rows, columns = np.divmod(np.arange(size**2), size)
    moves = (-1, 1, 0) if stochastic else (-1, 1)
    ends = np.stack([np.clip(columns + move, 0, size - 1) for move in moves], -1)
    return Outcomes(jnp.asarray((rows[:, None] + 1) * size + ends, jnp.int32))


@eqx.filter_jit
def run(way: str, size: int, episodes: int, stochastic: bool, keys: Array) -> tuple[Array, Array]:
    """Return the seeds' returns, (seeds, E), and states visited, (seeds, E)."""

    def one(key: PRNGKey) -> tuple[Array, Array]:
        to_world, to_bonus, to_learn = jax.random.split(key, 3)
        mapping = jax.random.bernoulli(to_world, 0.5, (size, size)).astype(jnp.int32)
        sea = eqx.tree_at(lambda sea: sea.mapping, DeepSea(size, stochastic), mapping)
        world = Enumerated(sea, Start(), itself, num_states=size**2, horizon=size)
        settings: Any = {"scale": SCALE, "limit": 1 + SCALE * size, "key": to_bonus}
        settings["rate"] = SLOW if stochastic else 1.0
        learner, bonus = by_name(
            "pseudo-counts" if way == FACTORED else way, world, following(size, stochastic), **settings
        )
        if way == FACTORED:
            rho = Empirical((size, size, 2), ((0,), (1, 2)), prior=0.01)
            bonus = PseudoCounts(rho, lambda s, a: jnp.stack([s // size, s % size, a]).astype(jnp.float32))
        learnt = learn(world, learner, bonus, episodes, key=to_learn)
        return learnt.returns, learnt.covered

    return jax.vmap(one)(keys)


def measured(way: str, size: int, episodes: int, seeds: int, stochastic: bool) -> dict[str, Any]:
    began = time.perf_counter()
    keys = jax.random.split(jax.random.key(size), seeds)
    returns, covered = (np.asarray(part) for part in run(way, size, episodes, stochastic, keys))
    first = latest_earned(returns, size) if stochastic else episodes_to_solve(returns, 0.5)
    held = [episodes if episode is None else episode for episode in first]
    return {
        "way": way,
        "stochastic": stochastic,
        "size": size,
        "episodes": episodes,
        "solved": first,
        "covered": (covered[:, -1] / (size * (size + 1) / 2)).round(4).tolist(),
        "iqm": [round(float(v), 1) for v in bootstrap(held)],
        "seconds": round(time.perf_counter() - began, 1),
    }


def latest_earned(returns: np.ndarray, size: int) -> list[int | None]:
    """Return when the mean of the latest returns first was half of (1 − 1/N)^N, that of never slipping."""
    sums = np.cumsum(np.pad(returns, ((0, 0), (1, 0))), 1)
    good = (sums[:, LATEST:] - sums[:, :-LATEST]) / LATEST >= 0.5 * (1 - 1 / size) ** size
    return [int(row.argmax()) + LATEST if row.any() else None for row in good]


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw episodes to solve against N where most seeds did, both logarithmic; equal ways are one line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(8.2, 4.6), layout="constrained")
    FigureCanvasAgg(fig)
    ax = fig.subplots()
    never, lines = [], {}
    for way in dict.fromkeys(row["way"] for row in rows):
        own = sorted((r for r in rows if r["way"] == way), key=lambda r: r["size"])
        good = [r for r in own if sum(e is None for e in r["solved"]) < len(r["solved"]) / 2]
        if good:
            lines.setdefault(tuple((r["size"], *r["iqm"]) for r in good), []).append((way, good))
        else:
            never.append(way)
    for same in lines.values():
        way, good = ",\n".join(way for way, _ in same), same[0][1]
        style = "--" if way.startswith("foreseen") else "-"
        (line,) = ax.plot(
            [r["size"] for r in good], [r["iqm"][0] for r in good], style, marker="o", ms=4, label=way
        )
        ax.fill_between(
            [r["size"] for r in good],
            [r["iqm"][1] for r in good],
            [r["iqm"][2] for r in good],
            alpha=0.2,
            color=line.get_color(),
        )
    sizes = np.array(sorted({r["size"] for r in rows}))
    ax.plot(sizes, sizes * (sizes + 1) / 2, ":", color="0.5", label="cells that can be reached")
    ax.set(xscale="log", yscale="log", xlabel="size N", ylabel="episodes until solved (IQM, 95 %)")
    ax.set_xticks(sizes, [str(s) for s in sizes])
    ax.minorticks_off()
    ax.set_title(
        "DeepSea; solved by fewer than half of the seeds at any size: " + (", ".join(never) or "none"),
        fontsize=9,
    )
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--ways", nargs="+", default=[*METHODS, FACTORED])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--episodes", type=int, default=EPISODES)
    parser.add_argument("--stochastic", action="store_true")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows = json.loads(given.out.read_text())["rows"] if given.out.exists() else []
    known = {(row["way"], row["size"], row.get("stochastic", False)) for row in rows}
    for size in given.sizes:
        for way in given.ways:
            if (way, size, given.stochastic) in known:
                continue
            row = measured(way, size, given.episodes, given.seeds, given.stochastic)
            rows.append(row)
            given.out.parent.mkdir(parents=True, exist_ok=True)
            given.out.write_text(json.dumps({"scale": SCALE, "rows": rows}, indent=1))
            solved = sum(episode is not None for episode in row["solved"])
            print(
                f"N={size} {way}: {solved}/{given.seeds} solved, {row['iqm']}, {row['seconds']} s", flush=True
            )
    if given.picture:
        picture([r for r in rows if r.get("stochastic", False) == given.stochastic], given.picture)


if __name__ == "__main__":
    main()
