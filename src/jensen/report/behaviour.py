"""What a policy did: where it went beside the demonstrations, which ways it took, how often it succeeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.control.statistics import wilson
from jensen.report import blocks
from jensen.report import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 100
"""Most paths drawn in one picture."""

SMALL = 8
"""Pictures of single episodes where each has a scene of its own."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Where episodes went, as plain arrays.

    Attributes:
        points: Positions, (N, T, 2); NaN after an episode's end.
        modes: Which way each went, "" for none; () if nobody knows.
        successes: Whether each reached its goal, (N,); None if nobody knows.
    """

    points: np.ndarray
    modes: Sequence[str] = ()
    successes: np.ndarray | None = None

    @classmethod
    def of(
        cls, parts: Sequence[np.ndarray], modes: Sequence[str] = (), successes: np.ndarray | None = None
    ) -> Paths:
        """Pad paths of unequal length, each (T_i, 2).

        Example:
            >>> Paths.of([np.zeros((2, 2)), np.ones((3, 2))]).points.shape
            (2, 3, 2)
        """
        points = np.full((len(parts), max(map(len, parts)), 2), np.nan)
        for row, part in zip(points, parts, strict=True):
            row[: len(part)] = part
        return cls(points, modes, successes)


def trajectories(
    policy: Paths, scenes: Sequence[Mapping[str, Any]], demonstrations: Paths | None = None
) -> blocks.Figure:
    """Draw paths over the scene they ran in, coloured by the way they took.

    Args:
        policy: Where the policy went.
        scenes: One scene for all episodes; or one an episode, then the first few get a picture each. A scene
            has ``circles``, ``rectangles``, ``start``, ``goals`` and ``bounds``, shapes in the world's units.
        demonstrations: Where the demonstrations went, drawn beside them if there is one scene.
    """
    colours = _colours(policy, demonstrations)
    if len(scenes) > 1:
        return _each(policy, scenes, colours)
    given = [("demonstrations", demonstrations), ("policy", policy)]
    sides = [(name, paths) for name, paths in given if paths is not None]

    def draw(fig: Figure) -> None:
        for ax, (name, paths) in zip(fig.subplots(1, len(sides), squeeze=False)[0], sides, strict=True):
            setting(ax, scenes[0])
            over(ax, paths, colours)
            ax.set_title(f"{name}, {min(len(paths.points), MANY)} episodes")
        _legend(fig, colours, policy)

    wide = len(sides) > 1
    return blocks.Figure(
        look.drawn(draw, width=8.6 if wide else 4.6, height=4.7),
        "Paths over the scene: grey where episodes start, green what is in the way, orange the goal"
        + ("; × where one failed." if policy.successes is not None else "."),
    )


def _each(policy: Paths, scenes: Sequence[Mapping[str, Any]], colours: dict[str, str]) -> blocks.Figure:
    count = min(len(scenes), len(policy.points), SMALL)
    across = min(count, 4)

    def draw(fig: Figure) -> None:
        axes = fig.subplots(-(-count // across), across, squeeze=False).ravel()
        for i, ax in enumerate(axes):
            if i >= count:
                ax.set_visible(False)
                continue
            setting(ax, scenes[i])
            ended = None if policy.successes is None else policy.successes[i : i + 1]
            over(ax, Paths(policy.points[i : i + 1], policy.modes[i : i + 1], ended), colours)

    height = 2.3 * -(-count // across)
    caption = f"The first {count} episodes of the policy, each in its own scene; × where one failed."
    return blocks.Figure(look.drawn(draw, width=2.2 * across, height=height), caption)


def setting(ax: Axes, scene: Mapping[str, Any]) -> None:
    """Draw obstacles, start and goals, and frame the world."""
    from matplotlib import patches

    def disc(shape: Any, **style: Any) -> None:
        ax.add_patch(patches.Circle((shape.x, shape.y), shape.radius, lw=0, **style))

    disc(scene["start"], color=look.MUTED, alpha=0.45)
    for i, goal in enumerate(scene["goals"]):
        disc(goal, color=look.ORANGE, alpha=0.55)
        if len(scene["goals"]) > 1:
            ax.annotate(str(i + 1), (goal.x, goal.y), ha="center", va="center", fontsize=7)
    for circle in scene["circles"]:
        disc(circle, color=look.GREEN, alpha=0.35)
    for r in scene["rectangles"]:
        corner, sides = (r.left, r.bottom), (r.right - r.left, r.top - r.bottom)
        ax.add_patch(patches.Rectangle(corner, *sides, lw=0, color=look.GREEN, alpha=0.35))
    edge = scene["bounds"]
    ax.set_xlim(edge.left, edge.right)
    ax.set_ylim(edge.bottom, edge.top)
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)


def over(ax: Axes, paths: Paths, colours: dict[str, str]) -> None:
    """Draw paths, a cross at the end of each that failed."""
    for i, path in enumerate(paths.points[:MANY]):
        real = path[np.isfinite(path).all(1)]
        mode = paths.modes[i] if len(paths.modes) else ""
        colour = colours.get(mode, look.MUTED)
        ax.plot(*real.T, color=colour, lw=0.9, alpha=0.5 if len(paths.points) > 8 else 0.9)
        if paths.successes is not None and not paths.successes[i]:
            ax.plot(*real[-1], "x", color=look.RED, ms=5, mew=1.3)


def _colours(*several: Paths | None) -> dict[str, str]:
    """Give each way a colour: ways in the order of their names, so that two pictures agree."""
    named = sorted({mode for paths in several if paths is not None for mode in paths.modes if mode})
    free = [colour for colour in look.CLASSES if colour not in (look.RED, look.GREEN, look.ORANGE)]
    colours = {mode: free[i % len(free)] for i, mode in enumerate(named)}
    return colours or {"": look.BLUE}


def _legend(fig: Figure, colours: dict[str, str], policy: Paths) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, label=mode) for mode, colour in colours.items() if mode]
    if policy.successes is not None and not np.all(policy.successes):
        cross = Line2D([], [], color=look.RED, marker="x", ls="", ms=5, mew=1.3, label="failed")
        handles.append(cross)
    if handles:
        fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def mode_frequencies(policy: Sequence[str], demonstrations: Sequence[str] = ()) -> blocks.Figure | None:
    """Draw how often each way was taken, with 95% Wilson intervals; ``None`` where nobody knows of ways.

    Args:
        policy: The way of every episode, "" for none.
        demonstrations: The same of the demonstrations.
    """
    counts, given = Counter(filter(None, policy)), Counter(filter(None, demonstrations))
    names = sorted(set(counts) | set(given))
    if not names:
        return None
    sides = [(c, label, colour) for c, label, colour in _sides(counts, given) if c.total()]

    def draw(fig: Figure) -> None:
        ax, width = fig.subplots(), 0.8 / len(sides)
        for i, (count, label, colour) in enumerate(sides):
            found = [wilson(count[name], count.total()) for name in names]
            value = np.array([f.value for f in found])
            ends = np.abs(np.array([[f.lower, f.upper] for f in found]).T - value)
            place = np.arange(len(names)) + (i - (len(sides) - 1) / 2) * width
            style = {"color": colour, "alpha": 0.75, "label": f"{label} ({count.total()})"}
            ax.bar(place, value, 0.92 * width, yerr=ends, ecolor=look.MUTED, capsize=3, **style)
        ax.set_xticks(np.arange(len(names)), names)
        ax.set_ylim(0, 1)
        ax.set_ylabel("share of episodes")
        ax.grid(axis="y")
        ax.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))

    caption = "How often each way was taken, of episodes that took one; whiskers are 95% Wilson intervals."
    wide = min(9.2, 3.0 + 1.2 * len(names))
    return blocks.Figure(look.drawn(draw, width=wide, height=2.9), caption)


def _sides(counts: Counter[str], given: Counter[str]) -> list[tuple[Counter[str], str, str]]:
    return [(given, "demonstrations", look.MUTED), (counts, "policy", look.BLUE)]


def section(
    rows: Sequence[tuple[str, str]],
    policy: Paths,
    scenes: Sequence[Mapping[str, Any]] = (),
    demonstrations: Paths | None = None,
) -> blocks.Section:
    """Put together what a policy did: the table of its evaluation, its paths, the ways it took.

    Args:
        rows: Names and numbers of the evaluation.
        policy: Where it went; drawn only where there is a scene.
        scenes: As ``trajectories``; none where the task is not one in the plane.
        demonstrations: Where the demonstrations went.
    """
    found: list[Any] = [blocks.Table((), rows)]
    if len(scenes):
        found.append(trajectories(policy, scenes, demonstrations))
    bars = mode_frequencies(policy.modes, () if demonstrations is None else demonstrations.modes)
    if bars is not None:
        found.append(bars)
    return blocks.Section("behaviour", "What it does", found)
