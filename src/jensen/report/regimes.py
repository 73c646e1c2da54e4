"""What a hidden Markov model found: states over time, how they follow one another, what they emit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.models.sequence import HMM
from jensen.report import bands, blocks
from jensen.report import figure as look
from jensen.report.series import Paths, variances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SEQUENCES, SERIES, MANY_COLUMNS, CATEGORIES = 2, 2, 8, 3
MOST_STATES = 30
"""States whose probability is drawn, those used most."""


def regimes(model: HMM, paths: Paths | None) -> blocks.Section:
    """Regimes, transitions and emissions."""
    found: list[Any] = [
        blocks.Text(
            [
                "Look for states that come in long runs and emit different things: a state that is hardly "
                "ever used, or two that emit alike, mean that fewer states would do. States have the "
                "numbers of use.smooth(...).path."
            ]
        )
    ]
    if paths is not None:
        found += [_figure(model, paths, row) for row in range(min(len(paths.data.x), SEQUENCES))]
    found.append(_transitions(model))
    found += [blocks.Table(*_dwelling(model, paths)), *_emissions(model, paths)]
    return blocks.Section("regimes", "Regimes", found)


def colour(state: int) -> str:
    """A state's colour; the eleventh has the first one's again."""
    return look.CLASSES[state % len(look.CLASSES)]


def _figure(model: HMM, paths: Paths, row: int) -> blocks.Figure:
    data = paths.data
    part = bands.window(int(data.lengths[row]))
    t, probs = np.arange(part.start, part.stop) + 1, paths.states.mean[row, part]
    shown = bands.columns_shown(data.x, data.seen, SERIES)

    def draw(fig: Figure) -> None:
        ratios = [1.6] * len(shown) + [1.0]
        axes = fig.subplots(len(shown) + 1, 1, sharex=True, height_ratios=ratios)
        for ax, d in zip(axes, shown, strict=False):
            coloured(ax, t, probs.argmax(-1))
            seen = data.seen[row, part, d]
            bands.observations(ax, t, data.x[row, part, d].astype(np.float64), seen)
            ax.set_ylabel(bands.short(data.columns[d]))
        _stacked(axes[-1], t, probs)
        axes[-1].set_xlabel("step")
        _legend(fig, model.num_states)

    text = f"{paths.name(row)}: the background is the most probable state given the whole sequence; "
    text = text[0].upper() + text[1:] + "below, the probability of each state."
    return blocks.Figure(look.drawn(draw, height=1.6 + 1.5 * len(shown)), text)


def coloured(ax: Axes, t: np.ndarray, state: np.ndarray) -> None:
    """Colour the background by the state, run by run."""
    ends = np.flatnonzero(np.diff(state)) + 1
    for begin, end in zip([0, *ends], [*ends, len(state)], strict=True):
        shade = colour(int(state[begin]))
        ax.axvspan(float(t[begin]) - 0.5, float(t[end - 1]) + 0.5, color=shade, alpha=0.25, lw=0)
    ax.set_xlim(float(t[0]) - 0.5, float(t[-1]) + 0.5)


def _stacked(ax: Axes, t: np.ndarray, probs: np.ndarray) -> None:
    edges = np.append(t - 0.5, t[-1] + 0.5)
    floor = np.zeros(len(t))
    for k in np.sort(np.argsort(-probs.sum(0), kind="stable")[:MOST_STATES]):
        top = floor + probs[:, k]
        ax.stairs(top, edges, baseline=floor, fill=True, color=colour(int(k)), alpha=0.75, lw=0)
        floor = top
    ax.set_ylim(0, 1)
    ax.set_ylabel("probability")


def _legend(fig: Figure, count: int) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour(k), alpha=0.6, lw=0, label=f"state {k}") for k in range(min(count, 10))]
    fig.legend(handles=handles, loc="outside upper left", ncols=len(handles), handlelength=1)


def _transitions(model: HMM) -> blocks.Figure:
    matrix = model.transition_matrix
    count = len(matrix)
    side = float(np.clip(1.6 + 0.45 * count, 2.4, 6.0))

    def draw(fig: Figure) -> None:
        ax = fig.subplots()
        drawn = ax.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        fig.colorbar(drawn, ax=ax, label="probability", shrink=0.9)
        for i, j in np.ndindex(matrix.shape) if count <= 12 else ():
            light = "white" if matrix[i, j] > 0.5 else "black"
            size = 9 if count <= 6 else 7
            ax.text(j, i, f"{matrix[i, j]:.2f}", ha="center", va="center", color=light, fontsize=size)
        if count <= 30:
            ax.set_xticks(range(count))
            ax.set_yticks(range(count))
        ax.set_xlabel("to state")
        ax.set_ylabel("from state")
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)

    caption = "The probability of the next state, row by row; the diagonal is that of staying."
    return blocks.Figure(look.drawn(draw, width=side + 1.2, height=side), caption)


def _dwelling(model: HMM, paths: Paths | None) -> tuple[list[str], list[list[str]], str]:
    """Return head, rows and caption of the table of stays."""
    stay, first = np.diag(model.transition_matrix), model.initial_probs
    head = ["state", "mean stay, steps", "probability at the first step"]
    share = None
    if paths is not None:
        real = paths.data.real
        share = paths.states.mean[real].mean(0)
        head.append("share of the steps shown")
    rows = []
    for k in range(model.num_states):
        steps = 1 / (1 - stay[k]) if stay[k] < 1 else np.inf
        row = [str(k), "never left" if steps > 1e6 else f"{steps:.3g}", f"{first[k]:.2f}"]
        rows.append(row if share is None else [*row, f"{share[k]:.2f}"])
    return head, rows, "How long each state lasts"


def _emissions(model: HMM, paths: Paths | None) -> list[Any]:
    found = model.emission_parameters
    width = model.data_dim
    names = list(paths.data.columns) if paths is not None else [f"x{i + 1}" for i in range(width)]
    shown = names[:MANY_COLUMNS]
    if "means" in found:
        std = np.sqrt(variances(model))
        cells, what = _pairs(found["means"], std), "What each state emits: mean ± sd"
    elif "rates" in found:
        cells, what = [[f"{v:.3g}" for v in row] for row in found["rates"]], "Mean counts of each state"
    else:
        cells = [[_likeliest(p) for p in row] for row in found["probs"]]
        what = "Likeliest codes: probability"
    if "input_weights" in found:
        what += ", at inputs zero"
    if len(shown) < len(names):
        what += f", first {len(shown)} of {len(names)} columns"
    rows = [[str(k), *row[: len(shown)]] for k, row in enumerate(cells)]
    return [blocks.Table(["state", *shown], rows, what)]


def _pairs(means: np.ndarray, std: np.ndarray) -> list[list[str]]:
    return [
        [f"{m:.4g} ± {s:.3g}" for m, s in zip(*both, strict=True)] for both in zip(means, std, strict=True)
    ]


def _likeliest(probs: np.ndarray) -> str:
    order = np.argsort(-probs)[:CATEGORIES]
    return ", ".join(f"{c}: {probs[c]:.2f}" for c in order if probs[c] >= 0.005)
