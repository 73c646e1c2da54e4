"""Values over a state space as pictures: tables on their grid, with a policy's arrows; else a cloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from jensen.report import blocks
from jensen.report import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEQUENTIAL, SIGNED = "viridis", "PuOr"

DARK, LIGHT = "#15181c", "#fafbfc"
"""Arrows and letters over colours that are the same on a light and on a dark page."""

FEWEST_BINS = 300
"""From so many points on a cloud is drawn as hexagons."""

ARROWS = 400
"""Most cells that get arrows."""

LEAST = 0.1
"""Least probability that gets an arrow."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the states of a table lie in the plane.

    Attributes:
        cells: Row and column of each state, (S, 2), row 0 at the top; negative for a state that lies nowhere.
        moves: Rows and columns each action is meant to lead on, (S, A, 2); None where nobody says.
        labels: Letters to write into cells, by state: the start, the goal.
    """

    cells: Int[np.ndarray, "s 2"]
    moves: np.ndarray | None = None
    labels: dict[int, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.cells.max(0) + 1
        return int(rows), int(columns)

    def painted(self, values: Float[np.ndarray, "s"]) -> Float[np.ndarray, "h w"]:
        """Lay values out; NaN where there is no state.

        Example:
            >>> Grid(np.array([[0, 0], [1, 1]])).painted(np.array([3.0, 4.0])).tolist()
            [[3.0, nan], [nan, 4.0]]
        """
        found = np.full(self.shape, np.nan)
        there = (self.cells >= 0).all(1)
        found[tuple(self.cells[there].T)] = np.asarray(values, np.float64)[there]
        return found


@dataclass(frozen=True, eq=False)
class Layer:
    """One picture over the grid.

    Attributes:
        title: What it shows.
        values: One a state, (S,); or one a state and action, (S, A): the mean over the policy is drawn, over
            actions evenly where there is none.
        policy: Probability of each action, (S, A), drawn as arrows; None for none.
    """

    title: str
    values: np.ndarray
    policy: np.ndarray | None = None

    def flat(self) -> np.ndarray:
        """Return one value a state."""
        values = np.asarray(self.values, np.float64)
        if values.ndim == 1:
            return values
        if self.policy is None:
            return values.mean(1)
        taken = np.asarray(self.policy) > 0
        return np.where(taken, self.policy * np.where(taken, values, 0.0), 0.0).sum(1)


def maps(layers: Sequence[Layer], grid: Grid, *, label: str, caption: str = "") -> blocks.Figure:
    """Draw tables side by side over the plane.

    Args:
        layers: Pictures, from left to right, each with a scale of its own.
        grid: Where the states lie.
        label: What the values are, with their unit; "" where the titles say it.
        caption: What to look for.
    """
    high, wide = grid.shape
    # pictures wider than high go below each other
    across = 1 if wide > 2 * high and len(layers) > 1 else len(layers)
    down = -(-len(layers) // across)
    width = min(9.2, (4.6 if len(layers) == 1 else 9.2))
    each = (width / across - 1.1) * high / wide
    height = down * min(max(each, 1.3) + 0.55, 4.6)

    def draw(fig: Figure) -> None:
        for ax, layer in zip(fig.subplots(down, across, squeeze=False).ravel(), layers, strict=True):
            _layer(ax, layer, grid, label)

    return blocks.Figure(look.drawn(draw, width=width, height=height), caption)


def _layer(ax: Axes, layer: Layer, grid: Grid, label: str) -> None:
    picture = grid.painted(layer.flat())
    finite = picture[np.isfinite(picture)]
    signed = bool(len(finite)) and finite.min() < 0 < finite.max()
    scale: dict[str, Any] = {"cmap": SIGNED if signed else SEQUENTIAL}
    if signed:
        limit = float(np.abs(finite).max())
        scale |= {"vmin": -limit, "vmax": limit}
    drawn = ax.imshow(picture, **scale)
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85)
    ax.set_title(layer.title)
    look.quiet(ax)
    if layer.policy is not None and grid.moves is not None and len(grid.cells) <= ARROWS:
        _arrows(ax, layer.policy, grid)
    for state, letter in grid.labels.items():
        row, column = grid.cells[state]
        outlined(ax.text(column, row, letter, ha="center", va="center", fontsize=9, fontweight="bold"))


def outlined(drawn: Any) -> None:
    """Give a text or arrows a light edge, so that they show on every colour."""
    from matplotlib.patheffects import withStroke

    drawn.set_color(DARK)
    drawn.set_path_effects([withStroke(linewidth=2.2, foreground=LIGHT)])


def _arrows(ax: Axes, policy: np.ndarray, grid: Grid) -> None:
    """Draw each action's arrow as long as it is probable."""
    assert grid.moves is not None
    there = np.flatnonzero((grid.cells >= 0).all(1))
    rows, columns = grid.cells[there].T
    for action in range(policy.shape[1]):
        down, right = np.asarray(grid.moves, np.float64)[there, action].T
        size = np.hypot(down, right)
        share = np.where((policy[there, action] > LEAST) & (size > 0), policy[there, action], np.nan)
        length = 0.42 * share / np.maximum(size, 1e-9)
        drawn = ax.quiver(
            columns, rows, right * length, down * length, angles="xy", scale_units="xy", scale=1.0,
            width=0.006, headwidth=4, headlength=4, headaxislength=3.6, minlength=0,
        )  # fmt: skip
        outlined(drawn)


def cloud(
    points: Float[np.ndarray, "n 2"],
    values: Float[np.ndarray, "n"],
    *,
    names: tuple[str, str],
    label: str,
    caption: str = "",
) -> blocks.Figure:
    """Draw values over two of the dimensions of what was observed: points, or hexagons where they are many.

    Args:
        points: Where.
        values: What was found there; hexagons show the mean.
        names: Names of the axes.
        label: What the values are, with their unit.
        caption: What to look for.
    """
    points, values = np.asarray(points, np.float64), np.asarray(values, np.float64)

    def draw(fig: Figure) -> None:
        ax = fig.subplots()
        style: dict[str, Any] = {"cmap": SEQUENTIAL, "lw": 0, "rasterized": True}
        if len(points) < FEWEST_BINS:
            drawn = ax.scatter(*points.T, c=values, s=14, **style)
        else:
            drawn = ax.hexbin(*points.T, C=values, gridsize=32, mincnt=1, **style)
        fig.colorbar(drawn, ax=ax, label=label, shrink=0.85)
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])

    return blocks.Figure(look.drawn(draw, width=5.6, height=4.0), caption)
