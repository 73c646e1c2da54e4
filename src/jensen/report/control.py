"""The sections that reports of the control wing are made of; all take plain arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jensen.report import blocks
from jensen.report.control_maps import Grid, Layer, maps
from jensen.report.control_returns import Curve, optimism, returns, solved


def learning(
    curves: Sequence[Curve], rows: Sequence[Sequence[str]], *, xlabel: str, references: Mapping[str, float]
) -> blocks.Section:
    """Say how well it acts: returns over time, and the table of what came of it.

    Args:
        curves: Returns, one curve a method.
        rows: Names and numbers.
        xlabel: What the curves run over.
        references: Levels to hold against, by name.
    """
    found: list[Any] = []
    if curves and any(len(curve.x) > 1 for curve in curves):
        found.append(returns(curves, xlabel=xlabel, references=references))
    return blocks.Section("returns", "How well it acts", [*found, blocks.Table((), rows)])


def exploration(
    layers: Sequence[Layer], grid: Grid | None, solutions: Mapping[str, Any], *, budget: int
) -> list[blocks.Section]:
    """Say when each method had solved the task, and show where the bonus was left.

    Args:
        layers: Visits and bonus over the states.
        grid: Where the states lie; None where nobody says, then no picture is drawn.
        solutions: Episodes to solve, one row a method.
        budget: Episodes each run had.
    """
    first = blocks.Section("solved", "When it was solved", [solved(solutions, budget=budget)])
    if grid is None or not layers:
        return [first]
    advice = (
        "Look where the bonus is still high: the learner was seldom there. Where it is low and nothing was "
        "gained, the learner has been, and knows."
    )
    shown = maps(layers, grid, label="")
    return [first, blocks.Section("bonus", "Where the bonus is", [blocks.Text([advice]), shown])]


def inverse(
    inferred: Layer,
    true: Layer | None,
    grid: Grid | None,
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> blocks.Section:
    """Show the reward inferred beside the true one, with the policies they lead to.

    Args:
        inferred: The reward inferred, and the policy that is soft-optimal under it.
        true: The true reward and its policy, where known.
        grid: Where the states lie; None where nobody says.
        rows: Names and numbers.
        notes: What must be said about the reward: that it is zero and why, states that nothing reaches.
    """
    found: list[Any] = [blocks.Text(list(notes))] if notes else []
    if grid is not None:
        layers = [inferred] if true is None else [inferred, true]
        caption = (
            "Demonstrations tell rewards apart only as far as they lead to different actions: a constant, "
            "and differences of a potential, stay open. Compare where it is high and low, and the arrows, "
            "each as long as its action is probable; not the numbers."
        )
        found.append(maps(layers, grid, label="reward", caption=caption))
    return blocks.Section("reward", "What is wanted", [*found, blocks.Table((), rows)])


def imagination(imagined: Any, real: Any, strip: Sequence[Any] = ()) -> list[blocks.Section]:
    """Show what the world model imagines beside what came: returns, then pictures.

    Args:
        imagined: Return foreseen, one an episode; () where none was taken.
        real: Return that came over the same steps.
        strip: Blocks of a film strip.
    """
    found = []
    if len(np.ravel(imagined)):
        found.append(blocks.Section("optimism", "Imagined and real returns", optimism(imagined, real)))
    if strip:
        found.append(blocks.Section("film", "What it sees and what it imagines", list(strip)))
    return found


def ending(rows: Sequence[Sequence[str]]) -> blocks.Section:
    """Say what stopped and why, part by part.

    Args:
        rows: Part, what stopped it, how long it took.
    """
    return blocks.Section(
        "ending", "What stopped, and why", [blocks.Table(("part", "stopped by", "took"), rows)]
    )
