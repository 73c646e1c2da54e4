"""Sequences over time: what was observed, what is believed of it, what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.report import blocks
from jensen.report import figure as look
from jensen.report.series import LEVEL, REACH, Paths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 4
"""Most columns, or latents, drawn of a sequence."""

MOST_DRAWN = 300
"""Steps drawn, the last ones of a sequence."""

PERCENT = f"{100 * LEVEL:.0f}%"


def over_time(paths: Paths, *, filtered: bool) -> blocks.Section | None:
    """Observations with the band they should lie in, and the forecast."""
    if paths.signal is None or paths.data.image_shape is not None:
        return None
    found: list[Any] = [blocks.Text([_advice(paths, filtered)])]
    shown = columns_shown(paths.data.x, paths.data.seen)
    for row in range(len(paths.data.x)):

        def draw(fig: Figure, row: int = row) -> None:
            axes = fig.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
            for ax, d in zip(axes, shown, strict=True):
                _panel(ax, paths, row, d)
                ax.set_ylabel(short(paths.data.columns[d]))
            axes[-1].set_xlabel("step")
            _legend(fig, axes)

        height = 0.75 + (2.3 if len(shown) == 1 else 1.45 * len(shown))
        found.append(blocks.Figure(look.drawn(draw, height=height), _caption(paths, row, len(shown))))
    return blocks.Section("time", "Over time", found)


def _advice(paths: Paths, filtered: bool) -> str:
    given = "the past and the present" if filtered else "the whole sequence"
    said = "Look for observations outside the pale band"
    if paths.spread is None:
        said = "Look whether the line follows the observations"
        return f"{said}; it is the mean of x given {given}, in its band of {PERCENT}."
    rare = f"one in {round(1 / (1 - LEVEL))} is expected, runs of them are not explained by the model"
    said = f"{said}: {rare}. The dark band holds the signal given {given}, the pale one the noise besides"
    if paths.ahead is None:
        return said + "."
    how = "a forecast from the steps before alone" if paths.ahead.known else "what comes next"
    return f"{said}; orange is {how}."


def _caption(paths: Paths, row: int, shown: int) -> str:
    data, name = paths.data, paths.name(row)
    text = name[0].upper() + name[1:]
    if shown < len(data.columns):
        text += f", first {shown} of {len(data.columns)} columns"
    length = int(data.lengths[row])
    if length > MOST_DRAWN:
        text += f", its last {MOST_DRAWN} of {length} steps looked at"
    if not data.seen[row].any():
        text += "; nothing was observed"
    return text + "."


def columns_shown(x: np.ndarray, seen: np.ndarray, most: int = PANELS) -> list[int]:
    """Choose the first columns that are not constant; the first ones where all are."""
    high = np.where(seen, x, -np.inf).max((0, 1))
    low = np.where(seen, x, np.inf).min((0, 1))
    moving = np.flatnonzero(high > low)
    return [int(d) for d in (moving if len(moving) else np.arange(x.shape[-1]))[:most]]


def short(name: str, longest: int = 18) -> str:
    """Shorten a name that stands beside a small panel."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def window(length: int) -> slice:
    """Which steps of a sequence are drawn."""
    return slice(max(0, length - MOST_DRAWN), length)


def band(ax: Axes, t: np.ndarray, mean: np.ndarray, std: np.ndarray, **style: Any) -> None:
    """Fill between the ends of a central interval."""
    ax.fill_between(t, mean - REACH * std, mean + REACH * std, lw=0, **style)


def observations(ax: Axes, t: np.ndarray, x: np.ndarray, seen: np.ndarray) -> None:
    """Draw what was observed, broken where it was not, and mark these steps at the foot."""
    from matplotlib import rcParams

    ink = rcParams["text.color"]
    size = 4.5 if len(t) < 60 else 3.0
    ax.plot(t, np.where(seen, x, np.nan), color=ink, lw=0.5, marker=".", ms=size, label="observed", zorder=3)
    if not seen.all():
        gone = t[~seen]
        ax.plot(
            gone,
            np.full(len(gone), 0.02),
            "|",
            transform=ax.get_xaxis_transform(),
            color=look.RED,
            ms=6,
            label="missing",
        )


def _panel(ax: Axes, paths: Paths, row: int, d: int) -> None:
    assert paths.signal is not None and paths.known is not None
    length = int(paths.data.lengths[row])
    part = window(length)
    t = np.arange(part.start, length) + 1
    signal, known = paths.signal[row, part, d], paths.known[row, part, d]
    heights = [signal]
    if paths.spread is not None:
        spread = paths.spread[row, part, d]
        band(ax, t, signal, spread, color=look.BLUE, alpha=0.14, label=f"{PERCENT} of observations")
        heights += [signal - REACH * spread, signal + REACH * spread]
    band(ax, t, signal, known, color=look.BLUE, alpha=0.35, label=f"{PERCENT}, the signal")
    ax.plot(t, signal, color=look.BLUE, lw=1.2, label="mean", marker="_" if length == 1 else "")
    x, seen = paths.data.x[row, part, d].astype(np.float64), paths.data.seen[row, part, d]
    observations(ax, t, x, seen)
    heights += [x[seen], *_ahead(ax, paths, row, d)]
    limits(ax, x[seen], heights)
    ax.grid(axis="y")


def _ahead(ax: Axes, paths: Paths, row: int, d: int) -> list[np.ndarray]:
    ahead = paths.ahead
    if ahead is None or np.isnan(ahead.mean[row, :, d]).all():
        return []
    start, mean = int(ahead.start[row]), ahead.mean[row, :, d]
    t = start + 1 + np.arange(len(mean))
    kept = t > paths.data.lengths[row] - MOST_DRAWN
    ax.axvline(start + 0.5, color=look.MUTED, lw=0.8, ls=":")
    mark = "." if len(mean) == 1 else ""
    ax.plot(t[kept], mean[kept], color=look.ORANGE, lw=1.4, marker=mark, label="forecast", zorder=4)
    if ahead.lower is None or ahead.upper is None:
        return [mean]
    low, high = ahead.lower[row, :, d], ahead.upper[row, :, d]
    label = f"{PERCENT} of forecasts"
    ax.fill_between(t[kept], low[kept], high[kept], color=look.ORANGE, alpha=0.25, lw=0, label=label)
    return [mean, low, high]


def limits(ax: Axes, x: np.ndarray, heights: list[np.ndarray]) -> None:
    """Show all there is, but no more than a range of the data's above and below it."""
    everything = np.concatenate([h[np.isfinite(h)] for h in heights])
    if not everything.size:
        return
    low, high = float(everything.min()), float(everything.max())
    if x.size > 1 and x.max() > x.min():
        reach = float(x.max() - x.min())
        low, high = max(low, float(x.min()) - reach), min(high, float(x.max()) + reach)
    room = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    ax.set_ylim(low - room, high + room)


def _legend(fig: Figure, axes: np.ndarray) -> None:
    """Name each thing once."""
    named = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    fig.legend(named.values(), named.keys(), loc="outside upper left", ncols=len(named), handlelength=1.4)
