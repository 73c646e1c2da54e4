"""The parts of a report that only models of y given x have: predictions, whether they hold, what z does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import numpy as np

from jensen import use
from jensen.core import HoldsLatent
from jensen.datasets import Dataset
from jensen.fit.result import Fitted
from jensen.models import MixtureDensity
from jensen.report import blocks
from jensen.report import figure as look
from jensen.report.bands import short
from jensen.report.calibration import calibration
from jensen.report.gates import gates
from jensen.typing import PRNGKey
from jensen.use import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Pairs: TypeAlias = Dataset | tuple[Dataset, Dataset]
"""Targets with their inputs: all rows, or those held out and those trained on."""

PANELS = 4
"""Most targets drawn."""

ACROSS, UP = 160, 140
"""Conditions and values at which the density is taken."""

BARS = 150
"""Most rows whose intervals are drawn beside what was observed."""

DRAWS = 512
"""Draws of z where the density is an average over them, and of y where intervals are checked."""


@dataclass(frozen=True)
class Seen:
    """The rows of a report, and what was predicted of them.

    Attributes:
        held: Rows the fit has not seen; all rows where nothing was held out.
        train: Rows trained on; ``None`` where the two are not told apart.
        found: Predictions at the rows of ``held``.
    """

    held: Dataset
    train: Dataset | None
    found: Prediction

    @property
    def noun(self) -> str:
        """What the rows are called."""
        return "rows" if self.train is None else "held-out rows"


def whole(given: Pairs) -> Dataset:
    """Return all rows together, for their number and names."""
    if isinstance(given, Dataset):
        return given
    held, train = given
    masks = [np.ones(part.x.shape, bool) if part.mask is None else part.mask for part in given]
    mask = None if held.mask is None and train.mask is None else np.concatenate(masks)
    cond = np.concatenate([inputs_of(held), inputs_of(train)])
    return replace(held, x=np.concatenate([held.x, train.x]), cond=cond, mask=mask, labels=None)


def from_to(data: Dataset) -> str:
    """Say what is predicted from what: a few names, or how many there are."""

    def listed(names: tuple[str, ...]) -> str:
        return ", ".join(names) if len(names) <= 6 else f"{len(names)} columns"

    return f"{listed(data.columns)} given {listed(data.inputs)}"


def inputs_of(data: Dataset) -> np.ndarray:
    """Return the inputs, (N, C)."""
    assert data.cond is not None
    return data.cond


def sections(fitted: Fitted, given: Pairs | None, *, key: PRNGKey) -> list[blocks.Section | None]:
    """Show predictions against the data, how often intervals hold, and the gates of a mixture."""
    inference = fitted.inference
    if given is None or isinstance(inference.model, HoldsLatent):
        return []
    held, train = given if isinstance(given, tuple) else (given, None)
    if not len(held.x):
        return []
    found = use.predict(inference, inputs_of(held), num_samples=DRAWS, key=key)
    seen = Seen(held, train, found)
    parts = [_predictions(fitted, seen, whole(given), key=key), calibration(held, found, seen.noun)]
    if isinstance(inference.model, MixtureDensity):
        parts.append(gates(inference.model, whole(given)))
    return parts


def _predictions(fitted: Fitted, seen: Seen, every: Dataset, *, key: PRNGKey) -> blocks.Section | None:
    if seen.found.quantiles is None or every.kind == "binary":
        return None
    one = len(every.inputs) == 1
    drawing = _heat if one else _against
    panels = list(range(min(PANELS, len(every.columns))))
    found: list[Any] = [drawing(fitted, seen, every, d, key) for d in panels]
    if len(panels) < len(every.columns):
        found.append(blocks.Text([f"The first {PANELS} of {len(every.columns)} targets."]))
    return blocks.Section("prediction", "Prediction", found)


def _heat(fitted: Fitted, seen: Seen, every: Dataset, d: int, key: PRNGKey) -> blocks.Figure:
    """Draw the density of one target over the one input, with the data."""
    low, high = _ends(inputs_of(every)[:, 0])
    x = np.linspace(low, high, ACROSS)
    at = use.predict(fitted, x[:, None], num_samples=DRAWS, key=key)
    assert at.quantiles is not None
    lines = at.quantiles[:, :, d]
    there = every.x[:, d] if every.mask is None else every.x[every.mask[:, d], d]
    below, above = _ends(there.astype(np.float64))
    reach = above - below
    below, above = max(min(below, lines.min()), below - reach), min(max(above, lines.max()), above + reach)
    grid = np.linspace(below, above, UP)
    p = use.density(fitted, x[:, None], grid, column=d, num_samples=DRAWS, key=key)

    def draw(fig: Figure) -> None:
        ax: Axes = fig.subplots()
        ax.imshow(shaded(p.T), origin="lower", extent=(low, high, below, above), aspect="auto")
        for level, line in zip(at.levels, lines, strict=True):
            width, dashes = (1.6, "-") if level == 0.5 else (1.0, "--")
            ax.plot(x, line, color=look.ORANGE, label=f"{100 * level:.0f}%", lw=width, ls=dashes)
        _dots(ax, seen, d)
        ax.set_xlim(low, high)
        ax.set_ylim(below, above)
        ax.set_xlabel(every.inputs[0])
        ax.set_ylabel(short(every.columns[d]))
        ax.legend(loc="lower center", ncols=6, bbox_to_anchor=(0.5, 1.0), handlelength=1.6)

    name, given = every.columns[d], every.inputs[0]
    caption = f"p({name} | {given}): the darker, the denser; lines are its quantiles, dots the data."
    if jax.tree.leaves(at.samples) and not _closed(fitted):
        caption += f" The density is an average over {DRAWS} draws of z."
    return blocks.Figure(look.drawn(draw, height=3.9), caption)


def _closed(fitted: Fitted) -> bool:
    from jensen.core import HasExactEvidence

    return isinstance(fitted.inference.model, HasExactEvidence)


def shaded(p: np.ndarray) -> np.ndarray:
    """Return a density as a blue picture whose opacity grows with it; the square root shows the tails."""
    high = np.quantile(p.max(0), 0.9)
    strength = np.sqrt(np.clip(p / max(float(high), 1e-300), 0, 1))
    rgb = tuple(int(look.BLUE[i : i + 2], 16) for i in (1, 3, 5))
    out = np.empty((*p.shape, 4), np.uint8)
    out[..., :3] = rgb
    out[..., 3] = np.rint(205 * strength)
    return out


def _dots(ax: Axes, seen: Seen, d: int) -> None:
    from matplotlib import rcParams

    ink = rcParams["text.color"]
    many = len(seen.held.x) + (0 if seen.train is None else len(seen.train.x)) > 600
    for part, label in ((seen.train, "trained on"), (seen.held, "held out")):
        if part is None:
            continue
        held = seen.train is not None and part is seen.held
        style = {"mfc": "none", "mec": look.RED, "ms": 4.5, "mew": 1.1} if held else {"color": ink, "ms": 2.4}
        here = slice(None) if part.mask is None else part.mask[:, d]
        x, y = inputs_of(part)[here, 0], part.x[here, d]
        ax.plot(x, y, "o", label=label if seen.train is not None else "data", rasterized=many, **style)


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    room = 0.04 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - room, high + room


def _against(fitted: Fitted, seen: Seen, every: Dataset, d: int, key: PRNGKey) -> blocks.Figure:
    """Draw what was observed of one target over its predicted interval, rows in the order of the median."""
    quantiles = seen.found.quantiles
    assert quantiles is not None
    y = seen.held.x[:, d].astype(np.float64)
    there = np.ones(len(y), bool) if seen.held.mask is None else seen.held.mask[:, d]
    rows = np.flatnonzero(there)
    rows = rows[np.linspace(0, len(rows) - 1, min(BARS, len(rows))).astype(int)] if len(rows) else rows
    rows = rows[np.argsort(quantiles[1, rows, d])]
    low, middle, high = quantiles[:, rows, d]
    outside = (y[rows] < low) | (y[rows] > high)

    def draw(fig: Figure) -> None:
        from matplotlib import rcParams

        ax: Axes = fig.subplots()
        place = np.arange(len(rows)) + 1
        ax.vlines(place, low, high, color=look.BLUE, alpha=0.4, lw=2.2, label="5% to 95%")
        ax.plot(place, middle, "_", color=look.BLUE, ms=5, label="median")
        ink = rcParams["text.color"]
        ax.plot(place[~outside], y[rows][~outside], ".", color=ink, ms=4, label="observed")
        ax.plot(place[outside], y[rows][outside], "x", color=look.RED, ms=4.5, label="observed, outside")
        ax.set_xlabel(f"{seen.noun}, in the order of the predicted median")
        ax.set_ylabel(short(every.columns[d]))
        ax.grid(axis="y")
        ax.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1.0))

    n = int(there.sum())
    some = f"{len(rows)} of {n} {seen.noun}" if len(rows) < n else f"{n} {seen.noun}"
    inside = f"{len(rows) - int(outside.sum())} lie inside; 90% should"
    return blocks.Figure(look.drawn(draw, height=3.1), f"{every.columns[d]} of {some}: {inside}.")
