"""Returns as pictures: how they rose, with intervals over runs; what was imagined beside what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from jensen.control.statistics import bootstrap, wilson
from jensen.report import blocks
from jensen.report import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWS = 500
"""Bootstrap draws behind each point of a band."""

FEW_RUNS = 12
"""Most runs drawn one by one beneath their band."""

POINTS = 200
"""Most points drawn along a curve."""

NEVER = "never"

STYLES = ((look.BLUE, "-"), (look.RED, "--"), (look.GREEN, "-."), (look.PURPLE, ":"), (look.ORANGE, "-"))


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of several runs along the same axis.

    Attributes:
        name: What was run.
        x: Where the scores were taken, (P,): episodes, steps or rounds.
        scores: One row a run, (R, P); NaN where a run has none.
    """

    name: str
    x: np.ndarray
    scores: np.ndarray


def band(
    scores: Float[np.ndarray, "r p"], *, seed: int = 0, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the interquartile mean over runs at every point, with its bootstrap interval.

    Args:
        scores: One row a run; NaN where a run has none.
        seed: Randomness of the draws.
        confidence: Level of the interval.

    Returns:
        Estimate, lower and upper end, each (P,); NaN where no run has a score.

    Example:
        >>> middle, low, high = band(np.array([[0.0, 1.0], [2.0, 1.0]]))
        >>> middle.tolist(), low.tolist(), high.tolist()
        ([1.0, 1.0], [0.0, 1.0], [2.0, 1.0])
    """
    rng = np.random.default_rng(seed)
    found = np.full((3, scores.shape[1]), np.nan)
    edges = [0.5 - confidence / 2, 0.5 + confidence / 2]
    for j, column in enumerate(scores.T):
        kept = column[np.isfinite(column)]
        if len(kept):
            drawn = rng.choice(kept, (DRAWS, len(kept)))
            found[:, j] = _middle(kept[None])[0], *np.quantile(_middle(drawn), edges)
    return found[0], found[1], found[2]


def _middle(rows: np.ndarray) -> np.ndarray:
    """Return the interquartile mean of each row."""
    cut = rows.shape[1] // 4
    return np.sort(rows, 1)[:, cut : rows.shape[1] - cut].mean(1)


def returns(
    curves: Sequence[Curve],
    *,
    xlabel: str,
    ylabel: str = "return",
    references: Mapping[str, float] | None = None,
    caption: str = "",
) -> blocks.Figure:
    """Draw how returns went, each method with its interval over runs.

    Args:
        curves: One a method.
        xlabel: Name of the axis.
        ylabel: What the scores are, with their unit.
        references: Levels to hold against, such as the optimum, by name.
        caption: What to say after the sentence on the intervals.
    """
    drawn = look.drawn(
        lambda fig: _curves(fig.subplots(), curves, xlabel, ylabel, references or {}), height=3.1
    )
    runs = sorted({len(curve.scores) for curve in curves})
    how = ""
    if runs[-1] > 1:
        count = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
        how = f"Interquartile mean over {count} runs; the band is its 95% bootstrap interval."
        how += " Thin: each run." * (runs[-1] <= FEW_RUNS and len(curves) == 1)
    return blocks.Figure(drawn, " ".join(filter(None, (how, caption))))


def _curves(ax: Axes, curves: Sequence[Curve], xlabel: str, ylabel: str, levels: Mapping[str, float]) -> None:
    for (colour, style), curve in zip(STYLES * len(curves), curves, strict=False):
        keep = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).astype(int))
        x, scores = np.asarray(curve.x)[keep], np.asarray(curve.scores, np.float64)[:, keep]
        middle, low, high = band(scores)
        if 1 < len(scores) <= FEW_RUNS and len(curves) == 1:
            ax.plot(x, scores.T, color=colour, lw=0.6, alpha=0.35)
        if len(scores) > 1:
            ax.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        mark = "o" if len(x) < 12 else ""
        ax.plot(x, middle, color=colour, ls=style, marker=mark, ms=4, label=curve.name)
    for i, (name, level) in enumerate(levels.items()):
        ax.axhline(level, color=look.MUTED, lw=1.0, ls=(0, (4, 2 + 3 * i)), label=f"{name} {level:.4g}")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.grid(axis="y")
    ax.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1.0))


def solved(episodes: Mapping[str, Any], *, budget: int) -> blocks.Table:
    """Tell after how many episodes each method had solved the task.

    Args:
        episodes: One row of numbers a method, one number a run; NaN or negative where it was never solved.
        budget: Episodes each run had; a run that never solved the task counts as that many.

    Example:
        >>> table = solved({"counts": [10.0, 12.0], "greedy": [np.nan, np.nan]}, budget=100)
        >>> table.rows[1]
        ['greedy', '0 of 2', '0% to 66%', 'never', 'never, never']
    """
    rows = []
    for name, values in episodes.items():
        found = np.asarray(values, np.float64).ravel()
        done = np.isfinite(found) & (found >= 0)
        rate = wilson(int(done.sum()), len(done))
        middle = NEVER
        if done.any():
            middle = str(bootstrap(np.where(done, found, budget), draws=DRAWS))
        each = ", ".join(f"{v:.0f}" if ok else NEVER for v, ok in zip(found, done, strict=True))
        share = f"{rate.lower:.0%} to {rate.upper:.0%}"
        rows.append([name, f"{int(done.sum())} of {len(done)}", share, middle, each])
    head = ("", "solved", "share, 95% Wilson", "episodes to solve, interquartile mean [95%]", "each run")
    unsolved = any(NEVER in row[4] for row in rows)
    note = f"A run that never solved the task counts as {budget:,} episodes: its mean is too low."
    return blocks.Table(head, rows, note if unsolved else "")


def optimism(imagined: Any, real: Any) -> list[Any]:
    """Draw what was imagined against what came, episode by episode, and put the difference in words.

    Args:
        imagined: Return foreseen over some steps, (N,), reward units.
        real: Return over the same steps as it came, (N,).
    """
    seen, came = np.asarray(imagined, np.float64).ravel(), np.asarray(real, np.float64).ravel()
    excess = seen - came

    def draw(fig: Figure) -> None:
        ax = fig.subplots()
        ends = [min(seen.min(), came.min()), max(seen.max(), came.max())]
        ax.plot(ends, ends, color=look.MUTED, lw=1.0, ls="--", label="imagined = real")
        ax.plot(came, seen, "o", color=look.BLUE, ms=4, alpha=0.6, mew=0)
        ax.set_xlabel("real return")
        ax.set_ylabel("imagined return")
        ax.grid()
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))

    mean = bootstrap(excess, lambda scores: float(np.mean(scores)), draws=DRAWS)
    word = "optimistic" if mean.lower > 0 else "pessimistic" if mean.upper < 0 else "right on average"
    text = (
        f"What is imagined exceeds what comes by {mean.value:.3g} on average (95%: {mean.lower:.3g} to "
        f"{mean.upper:.3g}, {len(excess)} pairs): {word}. A planner seeks out a model's mistakes in its "
        "favour; points far above the line are where it found them."
    )
    return [blocks.Text([text]), blocks.Figure(look.drawn(draw, width=4.4, height=3.4))]
