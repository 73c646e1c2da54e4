"""How far ahead a model of sequences sees: its errors beside simple forecasts, and pictures foretold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jensen import diagnose, use
from jensen.core import Inference
from jensen.diagnose.open_loop import SHOWN
from jensen.errors import InputError
from jensen.fit import Data
from jensen.report import blocks
from jensen.report import figure as look
from jensen.report.series import HORIZON, Given, Paths, cut, split
from jensen.typing import PRNGKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jensen.datasets import Sequences
    from jensen.diagnose import OpenLoop

MOST_ROWS, MOST_NUMBERS = 64, 2**22
"""Most sequences forecast, and most numbers the baselines are fitted to."""

WINDOWS = 10
"""Forecasts of each sequence where sequences are few."""

FRAMES, BEFORE = 12, 3
"""Pictures in a film strip, and how many of them are of the steps observed."""

LINES = (
    ("model", look.BLUE, "-", "the model"),
    ("linear", look.RED, "--", "linear autoregression"),
    ("copy_last", look.ORANGE, "-.", "copy of the last value"),
    ("mean", look.MUTED, ":", "mean"),
)


@dataclass(frozen=True)
class Plan:
    """Where forecasts begin, how far they go, and how often."""

    context: int
    horizon: int
    stride: int | None


def plan(lengths: np.ndarray) -> Plan | None:
    """Choose contexts and horizon by the lengths; ``None`` where no sequence has two steps.

    Example:
        >>> plan(np.full(40, 100)), plan(np.array([100]))
        (Plan(context=50, horizon=50, stride=None), Plan(context=50, horizon=25, stride=2))
    """
    lengths = lengths[lengths > 1]
    if not len(lengths):
        return None
    typical = int(np.median(lengths))
    context = max(1, typical // 2)
    if len(lengths) >= WINDOWS:
        return Plan(context, min(HORIZON, typical - context), None)
    horizon = max(1, min(HORIZON, typical // 4))
    spare = int(lengths.max()) - context - horizon
    return Plan(context, horizon, max(1, spare // WINDOWS))


def fewer(data: Sequences) -> Sequences:
    """Keep as many sequences as the baselines can be fitted to quickly."""
    return data.take(np.arange(len(data.x))[: max(1, MOST_NUMBERS // max(data.x[0].size, 1))])


def measured(inference: Inference, given: Given, *, key: PRNGKey) -> OpenLoop | None:
    """Measure open-loop errors; ``None`` where there is nothing to measure."""
    shown, train = split(given)
    shown = shown.take(np.arange(min(len(shown.x), MOST_ROWS)))
    how = plan(shown.lengths)
    if how is None:
        return None
    fitted_on = fewer(shown if train is None else train)
    try:
        return diagnose.open_loop(
            inference,
            shown,
            context=how.context,
            horizon=how.horizon,
            stride=how.stride,
            key=key,
            train=fitted_on,
        )
    except InputError:
        return None  # categories, or a posterior without an answer for a context


def ahead(inference: Inference, given: Given, paths: Paths | None, *, key: PRNGKey) -> blocks.Section | None:
    """Open-loop errors, and what a forecast of pictures looks like."""
    to_errors, to_film = jax.random.split(key)
    found: list[Any] = []
    errors = measured(inference, given, key=to_errors)
    if errors is not None and np.isfinite(errors.model).any():
        advice = (
            "Look how long the model's line stays below the others: beyond that many steps it knows no more "
            "of the future than they do."
        )
        found += [blocks.Text([advice, reading(errors)]), *_errors(errors, given)]
    if paths is not None and paths.data.image_shape is not None:
        found += film(inference, paths, key=to_film)
    return blocks.Section("ahead", "How far ahead it sees", found) if found else None


def reading(errors: OpenLoop) -> str:
    """Say against whom, and until when, the model wins."""
    best = np.min([errors.copy_last, errors.mean, errors.linear], axis=0)
    seen = np.isfinite(best) & np.isfinite(errors.model)
    wins = errors.model[seen] < best[seen]
    steps = np.flatnonzero(seen) + 1
    if wins.all():
        return f"Here it is ahead of all three at every one of {errors.horizon} steps."
    if not wins.any():
        return "Here one of the three is as good or better at every step."
    first = steps[np.argmin(wins)]
    if first == steps[0]:
        share = f"the model wins at {wins.mean():.0%} of all distances"
        return f"Here one of the three is as good or better one step ahead; {share}."
    return f"Here one of the three catches up {first} steps ahead."


def _errors(errors: OpenLoop, given: Given) -> list[Any]:
    shown, train = split(given)
    noun = "forecast" if errors.num_windows == 1 else f"{errors.num_windows} forecasts"
    caption = (
        f"Root mean squared error, in the data's own units, of {noun} after {errors.context} or more steps "
        "observed. The three others were fitted on the training sequences"
    )
    caption += ("." if shown.cond is None else " and get the same actions.") + _whose(train)
    figure = look.drawn(lambda fig: curves(fig.subplots(), errors), height=2.9)
    steps = [h for h in SHOWN if h < errors.horizon] + [errors.horizon]
    rows = [[label, *(_number(getattr(errors, name)[h - 1]) for h in steps)] for name, _, _, label in LINES]
    return [
        blocks.Figure(figure, caption),
        blocks.Table(["steps ahead", *map(str, steps)], rows),
    ]


def _whose(train: Sequences | None) -> str:
    """Say what can be expected of sequences that were trained on."""
    if train is not None:
        return " Measured on sequences held out."
    return " Nothing was held out: model and others know these sequences, and would do worse on new ones."


def _number(value: float) -> str:
    return "n/a" if np.isnan(value) else f"{value:.3g}"


def curves(ax: Axes, errors: OpenLoop) -> None:
    """Draw errors by steps ahead; what runs away leaves the picture."""
    steps = np.arange(errors.horizon) + 1
    mark = "o" if errors.horizon < 12 else ""
    for name, shade, style, label in LINES:
        width = 2.0 if name == "model" else 1.3
        ax.plot(steps, getattr(errors, name), color=shade, ls=style, lw=width, marker=mark, ms=4, label=label)
    calm = np.concatenate([errors.model, errors.mean, errors.copy_last])
    calm = calm[np.isfinite(calm)]
    if calm.size and calm.max() > 0:
        tame = min(float(calm.max()), 4 * float(np.nanmax(errors.mean)) or float(calm.max()))
        ax.set_ylim(0, 1.08 * tame)
    ax.set_xlabel("steps ahead")
    ax.set_ylabel("error, data's units")
    ax.grid(axis="y")
    ax.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1.0))


def film(inference: Inference, paths: Paths, *, key: PRNGKey) -> list[Any]:
    """Lay out truth, reconstruction and open-loop prediction of the first sequence, picture by picture."""
    data = cut(paths.data, np.array([0]))
    shape, signal = data.image_shape, paths.signal
    length = int(data.lengths[0])
    context = max(1, length // 2)
    horizon = length - context
    if shape is None or signal is None or horizon < 1:
        return []
    mask = None if data.mask is None else data.mask[:, :context]
    try:
        seen = Data(data.x[:, :context], mask=mask)
        mean = use.rollout(inference, seen, data.cond, horizon=horizon, key=key, num_samples=16).mean[0]
    except InputError:
        return []
    before = np.arange(max(0, context - BEFORE), context)
    after = np.unique(np.linspace(context, length - 1, min(FRAMES - len(before), horizon)).astype(int))
    times = np.concatenate([before, after])
    truth = np.where(data.seen[0], data.x[0], np.nan)
    low, high = _range(truth)
    blank = np.zeros((*shape[:2], 4), np.uint8)

    def line(name: str, rows: Any) -> tuple[str, str, int]:
        pictures = [blank if row is None else look.picture(row, shape, low, high) for row in rows]
        return name, look.png(look.row_of(pictures)), len(pictures) * 60

    lines = [
        line("truth", [truth[t] for t in times]),
        line("reconstruction", [signal[0, t] for t in times]),
        line("open loop", [mean[t - context] if t >= context else None for t in times]),
    ]
    ahead = ", ".join(str(t - context + 1) for t in after)
    advice = (
        "Look whether the pictures of the third line still show what those of the first do: the model makes "
        f"them without seeing the {horizon} steps they belong to."
    )
    name, acts = paths.name(0), "" if data.cond is None else ", then only the actions"
    caption = (
        f"{name[0].upper()}{name[1:]}. Reconstructions see the picture they show; open loop, the model sees "
        f"{context} steps{acts}, and the mean of 16 futures is shown {ahead} steps ahead."
    )
    return [blocks.Text([advice]), blocks.Strip(lines, caption)]


def _range(x: np.ndarray) -> tuple[float, float]:
    seen = x[np.isfinite(x)]
    low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
