"""Write the tables of studies into the pages that show them, from what the studies left in `bench/results`.

Run: python bench/fill.py [NAME ...]; all there are by default. A page holds a table
between `<!-- NAME -->` and `<!-- /NAME -->`; what stands there is replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jensen.control import bootstrap

ROOT = Path(__file__).parents[1]
BURDA = {
    ("static", "one-layer"): {1: 88.71, 5: 87.63, 50: 87.10},
    ("dynamic", "one-layer"): {1: 86.76, 5: 85.54, 50: 84.78},
    ("dynamic", "two-layer"): {1: 85.33, 5: 83.89, 50: 82.90},
}
"""Test NLL after 3,280 epochs (Burda et al. 2016)."""


def read(name: str) -> list[dict[str, Any]]:
    """Return a study's lines."""
    path = ROOT / f"bench/results/{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def minus(value: float, digits: int = 1) -> str:
    """Return a number with a true minus sign."""
    return f"{value:,.{digits}f}".replace("-", "−")


def mnist() -> str:
    """Return binarized MNIST beside Burda et al."""
    rows = []
    order = {"one-layer": 0, "two-layer": 1, "ladder": 2, "conv": 3}
    found = sorted(
        read("mnist_rows"),
        key=lambda r: (r["binarization"], order[r["model"]], r["k"], r["gradient"] == "dreg"),
    )
    for row in found:
        published = BURDA.get((row["binarization"], row["model"]), {}).get(row["k"])
        rows.append(
            [
                row["binarization"],
                row["model"].removesuffix("-layer"),
                str(row["k"]),
                "–" if row["k"] == 1 else {"plain": "plain", "dreg": "DReG"}[row["gradient"]],
                str(row["batch_size"]),
                f"{row['epochs']:,}",
                f"{row['train_seconds']:,.0f}",
                f"{row['test_nll']:.2f} ± {row['test_nll_se']:.2f}",
                f"{-row['test_bound']:.2f}",
                "–" if published is None else f"{published:.2f}",
            ]
        )
    return table(
        [
            "bits",
            "layers",
            "k",
            "gradient",
            "batch",
            "epochs",
            "train s",
            "NLL",
            "−bound",
            "published, 3,280 epochs",
        ],
        rows,
    )


def presets() -> str:
    """Return every preset on static bits."""
    rows = []
    for row in read("presets"):
        kl = "–" if row["kl"] is None else f"{row['kl']:.1f}"
        active = "–" if row["active"] is None else str(row["active"])
        rows.append(
            [
                f"`{row['preset']}`",
                f"{row['nll']:.1f} ± {row['nll_se']:.1f}",
                f"{-row['elbo']:.1f}",
                kl,
                active,
                f"{row['seconds']:.0f}",
            ]
        )
    return table(["preset", "NLL", "−ELBO", "KL", "active units of 40", "train s"], rows)


def control_pendulum() -> str:
    """Return the planner beside the true dynamics, every seed."""
    rows = []
    for row in [*read("control_pendulum"), *read("control_few")]:
        mine, true = (np.array(row[who]["returns"]) for who in ("model", "true"))
        iqm = bootstrap(mine - true)
        rows.append(
            [
                f"{row['seed']}{', few episodes' if row['few'] else ''}",
                f"{row['env_steps']:,}",
                minus(mine.mean()),
                minus(true.mean()),
                f"{minus((mine - true).mean())} ± {row['gap_se']:.1f}",
                f"{minus(float(np.median(mine - true)))}",
                f"{minus(iqm.value)} [{minus(iqm.lower)}, {minus(iqm.upper)}]",
                minus(row["model"]["optimism"]),
                f"{row['learning_seconds']:.0f}",
            ]
        )
    head = [
        "seed",
        "steps seen",
        "planner",
        "true dynamics",
        "difference",
        "median",
        "IQM [95%]",
        "optimism",
        "learning, s",
    ]
    return table(head, rows)


def deepsea() -> str:
    """Return episodes until DeepSea is solved, a row for all ways that explore alike."""
    found = found_of("explore_deepsea")
    sizes = sorted({row["size"] for row in found})
    cells = {way: [solved(row) for row in rows] for way, rows in by_way(found, "size").items()}
    alike: dict[tuple[str, ...], list[str]] = {}
    for way, row in cells.items():
        alike.setdefault(tuple(row), []).append(WAYS.get(way, way.replace("-", " ")))
    rows = [["; ".join(ways), *row] for row, ways in alike.items()]
    return table(["way", *(f"N = {size}" for size in sizes)], rows)


def solved(row: dict[str, Any]) -> str:
    """Return when a way solved it."""
    times = sum(episode is not None for episode in row["solved"])
    if not times:
        return "never"
    middle, low, high = (f"{value:.0f}" for value in row["iqm"])
    text = middle if low == high else f"{middle} [{low}, {high}]"
    return text if times == len(row["solved"]) else f"{text}, {times} of {len(row['solved'])}"


def mountain_car() -> str:
    """Return what was seen of the car's states, and how often it arrived."""
    rows = []
    for row in found_of("explore_mountain_car"):
        middle, low, high = row["iqm"]
        reached = sum(first is not None for first in row["first_goal"])
        way = OPTIMISTIC.get(row["way"], row["way"].replace("-", " "))
        rows.append([way, f"{middle:.2f} [{low:.2f}, {high:.2f}]", str(reached)])
    return table(["way", "cells seen, IQM of 10 seeds", "seeds that reached the goal"], rows)


def representation() -> str:
    """Return what PPO learns from each code, without and with distractors, every seed."""
    found, rows = read("representation"), []
    for name in dict.fromkeys(row["encoder"] for row in found):
        cells = [CODES[name]]
        for distractors in (False, True):
            mine = [r for r in found if (r["distractors"], r["encoder"]) == (distractors, name)]
            cells.append(f"{np.mean([row['r2'] for row in mine]):.2f}")
            cells += [
                ", ".join(f"{np.mean(row[kind]):.0f}" for row in mine) for kind in ("training", "returns")
            ]
        rows.append(cells)
    kinds = ["probe R²", "while learning", "afterwards"]
    return table(["PPO sees", *kinds, *(f"{kind}, 16 distractors" for kind in kinds)], rows)


def imagine_pendulum() -> str:
    """Return the swing-up from pictures beside the planner in the true dynamics, every seed."""
    rows = [
        [
            str(row["seed"]),
            minus(row["return"]),
            minus(row["planner"]),
            f"{row['difference']:+.1f} ± {row['difference_se']:.1f}".replace("-", "−"),
            f"{row['seconds']['world']:.0f}",
            f"{row['seconds']['imagination']:.0f}",
        ]
        for row in read("control_imagine")
    ]
    starts = len(read("control_imagine")[0]["returns"])
    head = ["seed", "actor-critic", "planner, true dynamics", f"difference, {starts} starts"]
    return table([*head, "world, s", "actor and critic, s"], rows)


def imagine_cartpole() -> str:
    """Return the swing-up of a pole, every seed."""
    found = read("control_imagine_cartpole")
    rows = []
    for run in dict.fromkeys(row["run"] for row in found):
        mine = [row for row in found if row["run"] == run]
        earned = ", ".join(minus(row["return"], 0) for row in mine)
        rows.append([run, earned, f"{np.median([row['seconds'] for row in mine]):.0f}"])
    return table(["gradient, actions", "mean return of 100 episodes, each seed", "s a run"], rows)


def copies() -> str:
    """Return steps a second of the simulated worlds."""
    rows = [
        [row["world"], *(thousands(row[name]) for name in ("single", "copies of 1000", "unrolled, 1000"))]
        for row in found_of("env_steps")
    ]
    head = ["steps a second", "one, by `step`", "1,000 copies, by `step`", "1,000 states, unrolled"]
    return table(head, rows)


def thousands(number: float) -> str:
    """Return a large number to two digits."""
    unit, by = ("M", 1e6) if number >= 1e6 else ("k", 1e3)
    return f"{number / by:.{0 if number >= 10 * by else 1}f} {unit}"


def found_of(name: str) -> list[dict[str, Any]]:
    """Return the rows of a study that writes one file."""
    return json.loads((ROOT / f"bench/results/{name}.json").read_text())["rows"]


def by_way(rows: list[dict[str, Any]], order: str) -> dict[str, list[dict[str, Any]]]:
    """Return each way's rows, in order."""
    ways = dict.fromkeys(row["way"] for row in rows)
    return {way: sorted((r for r in rows if r["way"] == way), key=lambda r: r[order]) for way in ways}


WAYS = {
    "epsilon-greedy": "ε-greedy, ε = 0.1",
    "counts": "counts in the reward, no optimism",
    "untried-first": "untried first, no bonus",
    "information-gain": "optimistic information gain",
    "pseudo-counts": "optimistic pseudo-counts",
    "factored-pseudo-counts": "optimistic pseudo-counts, rows and columns apart",
    "foreseen-counts": "foreseen counts, 1/(n + 1)²",
    "foreseen-gain": "foreseen information gain",
    "disagreement": "optimistic disagreement",
}
"""What a page calls ways to explore a table."""

OPTIMISTIC = {
    "epsilon-greedy": "ε-greedy, ε = 0.1",
    "counts, no optimism": "counts in the reward, no optimism",
    "untried first": "untried first, no bonus",
    "dirichlet-gain": "Dirichlet information gain",
    "linear-gain": "linear information gain",
    "variational-gain": "variational information gain",
    "pseudo-counts, mixture": "pseudo-counts, density a mixture",
    "disagreement": "disagreement of five networks",
    "random, held 10 steps": "**random, held 10 steps**",
}
"""And in the car's world, where every bonus goes with optimism unless said."""

CODES = {
    "state": "the true state",
    "raw": "what is shown",
    "pca": "8 principal components",
    "random": "8 random projections",
    "autoencoder": "autoencoder",
    "vae": "VAE",
    "rssm": "RSSM: (h, z)",
}
"""What a page calls the codes of the representation study."""

PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "mnist": ("docs/models/decoder.md", mnist),
    "presets": ("docs/presets.md", presets),
    "control_pendulum": ("docs/control/planning.md", control_pendulum),
    "deepsea": ("docs/control/exploration.md", deepsea),
    "mountain_car": ("docs/control/exploration.md", mountain_car),
    "representation": ("docs/control/representation.md", representation),
    "imagine_pendulum": ("docs/control/imagination.md", imagine_pendulum),
    "imagine_cartpole": ("docs/control/imagination.md", imagine_cartpole),
    "copies": ("docs/envs.md", copies),
}
"""By name of the mark: the page, and what makes the table."""


def fill(name: str) -> None:
    """Replace one table."""
    page, make = PAGES[name]
    path = ROOT / page
    text = path.read_text()
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    if first not in text or last not in text:
        raise SystemExit(f"{page} has no place marked {first} … {last}")
    before, after = text.split(first)[0], text.split(last, 1)[1]
    path.write_text(f"{before}{first}\n{make()}\n{last}{after}")


if __name__ == "__main__":
    for given in sys.argv[1:] or PAGES:
        fill(given)
