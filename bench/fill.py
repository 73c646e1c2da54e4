"""Write the tables of studies into the pages that show them, from what the studies left in `bench/results`.

Run: python bench/fill.py [mnist|presets|control_pendulum ...]; all there are by default. A page holds a table
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
                row["model"].replace("-", " "),
                str(row["k"]),
                "–" if row["k"] == 1 else {"plain": "plain", "dreg": "DReG"}[row["gradient"]],
                f"{row['epochs']:,}",
                f"{row['train_seconds']:,.0f}",
                f"{row['test_nll']:.2f} ± {row['test_nll_se']:.2f}",
                f"{-row['test_bound']:.2f}",
                "–" if published is None else f"{published:.2f}",
            ]
        )
    return table(
        ["bits", "layers", "k", "gradient", "epochs", "train s", "NLL", "−bound", "published, 3,280 epochs"],
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


PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "mnist": ("docs/models/decoder.md", mnist),
    "presets": ("docs/presets.md", presets),
    "control_pendulum": ("docs/control/planning.md", control_pendulum),
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
