"""The picture of a gap: the way from the ELBO up to log p(x)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jensen.report import figure as look
from jensen.report.gap import interval, minus, number, split

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def has_band(gap: Mapping[str, Any]) -> bool:
    """Say whether the interval that holds log p(x) is wide enough to be seen in the picture."""
    low, high = (gap["log_evidence"].get(k) for k in ("lower", "upper"))
    if low is None or high is None or gap["elbo"].get("value") is None:
        return False
    return float(high) - float(low) > 0.01 * max(float(high) - float(gap["elbo"]["value"]), 0.05)


def waterfall(ax: Axes, gap: Mapping[str, Any], train: Mapping[str, Any] | None = None) -> None:
    """Draw the way from the ELBO by way of the best q in the family up to log p(x).

    Args:
        ax: Where to draw.
        gap: The content of ``gap.json``.
        train: The same on training rows; its two parts are drawn thin underneath.
    """
    from matplotlib import rcParams

    ink, evidence = rcParams["text.color"], gap["log_evidence"]
    elbo, top = float(gap["elbo"]["value"]), float(evidence["value"])
    parts_of = split(gap)
    best = elbo if parts_of is None else elbo + parts_of[2]
    low, high = (top if evidence.get(k) is None else float(evidence[k]) for k in ("lower", "upper"))
    points = [elbo, best, top, low, high]
    span = max(max(points) - min(points), 0.05)
    pad = 0.015 * span
    parts = [(1, elbo, best, "amortization", look.ORANGE), (3, best, top, "approximation", look.BLUE)]
    names = [
        "ELBO",
        "amortization gap\n(the encoder)",
        "bound at the best q",
        "approximation gap\n(the family)",
    ]
    if parts_of is None:
        parts, names = [(1, elbo, top, "total", look.BLUE)], ["ELBO", "total gap"]
    for y, a, b, name, shade in parts:
        ax.barh(y, b - a, left=a, height=0.6, color=shade, zorder=3)
        ax.text(max(a, b) + pad, y, minus(number(gap[name], "+")), va="center", color=ink, zorder=4)
        if train is not None and train[name]["value"] is not None:
            ax.barh(y + 0.41, float(train[name]["value"]), left=a, height=0.14, color=shade, alpha=0.5)
    last = len(names)
    levels = [(0, elbo, gap["elbo"]), (last, top, evidence)]
    if parts_of is not None:
        levels.insert(1, (2, best, {"value": best}))
    if has_band(gap):
        ax.barh(last, high - low, left=low, height=0.6, color=look.GREEN, alpha=0.35, zorder=2)
    for y, v, part in levels:
        ax.plot([v, v], [y - 0.36, y + 0.36], color=ink, lw=2.2, solid_capstyle="butt", zorder=4)
        ax.text(
            (max(v, high) if y == last else v) + pad, y, minus(number(part)), va="center", color=ink, zorder=5
        )
        below, above = (y - 0.7 if y else y), (y + 0.7 if y < last else y)
        ax.plot([v, v], [below, above], color=look.MUTED, lw=0.8, ls=":", zorder=1)
    ax.text(0.0, -0.16, _sides(evidence), transform=ax.transAxes, color=look.MUTED, fontsize=8, va="top")
    ax.set_yticks(range(last + 1), [*names, "log p(x)"])
    ax.set_ylim(last + 0.6, -0.6)
    ax.set_xlim(min(points) - 0.06 * span, max(points) + 0.3 * span)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.set_xlabel("nats per datum", loc="right")
    ax.spines["left"].set_visible(False)


def _sides(evidence: Mapping[str, Any]) -> str:
    kinds = [evidence.get(f"{side}_kind") or "none" for side in ("lower", "upper")]
    text = kinds[0] if kinds[0] == kinds[1] else f"lower side {kinds[0]}, upper side {kinds[1]}"
    held = interval(evidence)
    equals = {"[": "in ", "≈": ""}.get(held[0], "= ")
    return minus(f"log p(x) {equals}{held}: {text}")
