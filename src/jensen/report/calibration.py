"""Whether predictions hold as often as they say: ranks of what was observed, and coverage by level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.control.statistics import wilson
from jensen.datasets import Dataset
from jensen.report import blocks
from jensen.report import figure as look
from jensen.use import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Central intervals whose coverage is counted."""

FEWEST = 5
"""Fewest rows whose ranks are worth a histogram."""


def calibration(held: Dataset, found: Prediction, noun: str) -> blocks.Section | None:
    """Show where observations fall in their predictive law, and how often intervals hold.

    Args:
        held: Observations.
        found: What was predicted of them.
        noun: What the rows are called.
    """
    seen = np.ones(held.x.shape, bool) if held.mask is None else held.mask
    if found.quantiles is None or int(seen.sum()) < FEWEST:
        return None
    if held.kind == "binary":
        return _reliability(held, found, seen, noun)
    ranks = placed(held.x.astype(np.float64), found.samples)

    def draw(fig: Figure) -> None:
        ax = fig.subplots()
        values, bins = ranks[seen], 10 if seen.sum() >= 100 else 5
        ax.hist(values, bins=bins, range=(0, 1), color=look.BLUE, alpha=0.6, rwidth=0.96)
        expected = len(values) / bins
        spread = 2 * np.sqrt(expected * (1 - 1 / bins))
        ax.axhspan(max(expected - spread, 0), expected + spread, color=look.MUTED, alpha=0.18, lw=0)
        ax.axhline(expected, color=look.MUTED, lw=1)
        ax.set_xlabel("place of the observation in its predictive law")
        ax.set_ylabel("observations")

    caption = (
        "Flat is right; a hump says that intervals are too wide, two horns too narrow, a slope that "
        "predictions lie to one side. Grey: where bars of a right law mostly stay."
    )
    table = blocks.Table(
        ["interval", "observed inside", "95% interval of that share"],
        [_coverage(level, ranks[seen]) for level in LEVELS],
        f"Of {int(seen.sum()):,} values in {len(held.x):,} {noun}",
    )
    figure = blocks.Figure(look.drawn(draw, width=6.2, height=2.5), caption)
    return blocks.Section("calibration", "Do intervals hold?", [figure, table])


def placed(y: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return each observation's place among draws, between 0 and 1; ties are broken by chance.

    Of a right law places are uniform, whatever it is (Dawid 1984).

    Args:
        y: (N, D).
        samples: (S, N, D).
    """
    share = np.random.default_rng(0).random(y.shape)
    below, same = (samples < y).sum(0), (samples == y).sum(0)
    return (below + share * (same + 1)) / (len(samples) + 1)


def _coverage(level: float, ranks: np.ndarray) -> tuple[str, str, str]:
    hits = int((np.abs(ranks - 0.5) <= level / 2).sum())
    _, low, high = wilson(hits, len(ranks))
    return f"{level:.0%}", f"{hits / len(ranks):.1%}", f"{low:.1%} to {high:.1%}"


def _reliability(held: Dataset, found: Prediction, seen: np.ndarray, noun: str) -> blocks.Section:
    """Compare predicted probabilities of one with how often it happened."""
    p, y = found.mean[seen], held.x[seen].astype(np.float64)
    edges = np.linspace(0, 1, 11)
    which = np.clip(np.digitize(p, edges) - 1, 0, 9)
    rows: list[Any] = []
    for b in range(10):
        here = which == b
        if here.any():
            hits, count = int(y[here].sum()), int(here.sum())
            _, low, high = wilson(hits, count)
            said = f"{edges[b]:.0%} to {edges[b + 1]:.0%}"
            rows.append((said, f"{count:,}", f"{hits / count:.1%}", f"{low:.1%} to {high:.1%}"))
    table = blocks.Table(
        ["probability said", "values", "were 1", "95% interval of that share"],
        rows,
        f"Of {int(seen.sum()):,} values in {len(held.x):,} {noun}",
    )
    return blocks.Section("calibration", "Do probabilities hold?", [table])
