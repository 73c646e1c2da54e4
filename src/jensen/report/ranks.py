"""Simulation-based calibration as a section of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jensen.diagnose import Calibration
from jensen.report import blocks
from jensen.report import figure as look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 4
"""Most quantities that get a colour and a name of their own; the rest are drawn in grey."""


def ranks(calibration: Calibration) -> blocks.Section:
    """Draw how far the ranks of every quantity are from uniform, beside the band a uniform one stays in.

    Args:
        calibration: What ``diagnose.calibration`` returned.

    Returns:
        A section for ``write_sections``.
    """
    got = calibration
    order = np.argsort(got.p_values, kind="stable")
    named = [got.names[i] for i in order[:NAMED]]
    u = np.arange(1, got.draws + 1) / (got.draws + 1)

    def draw(fig: Figure) -> None:
        ax = fig.subplots()
        ax.fill_between(u, got.lower, got.upper, color=look.MUTED, alpha=0.18, lw=0)
        ax.axhline(0, color=look.MUTED, lw=1)
        for name in got.names:
            if name not in named:
                ax.plot(u, got.difference(name), color=look.MUTED, lw=0.6, alpha=0.6)
        for name, colour in zip(named, look.CLASSES, strict=False):
            ax.plot(u, got.difference(name), color=colour, lw=1.4, label=name)
        ax.set_xlabel("rank of what made the data among draws of q, over its largest")
        ax.set_ylabel("share below, less uniform")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)

    head = "No quantity is off." if got.passed else f"Off: {', '.join(got.failed[:8])}."
    caption = (
        f"{head} {len(got.ranks):,} data sets drawn from the model, {got.draws} draws of q for each. Grey: "
        f"where the curve of one uniform quantity stays with probability {1 - got.level:.0%}. An S that "
        "rises first says that q is too narrow, one that falls first too wide, an arch that it lies aside."
    )
    rows = [(got.names[i], f"{got.p_values[i]:.4f}") for i in order[: 3 * NAMED]]
    table = blocks.Table(["quantity", "p of uniform ranks"], rows, "Least uniform first")
    figure = blocks.Figure(look.drawn(draw, width=7.5, height=3.0), caption)
    return blocks.Section("ranks", "Is q the posterior, on data of the model's own?", [figure, table])
