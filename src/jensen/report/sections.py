"""The parts of a report, each left out where the fit has no such thing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jensen import diagnose
from jensen.errors import InputError, JensenWarning
from jensen.fit.data import Data
from jensen.fit.result import Fitted
from jensen.report import blocks, facts, plots
from jensen.report import figure as look
from jensen.report import gap as gaps
from jensen.report.collect import LatentSpace, View
from jensen.report.explorer import explorer
from jensen.report.waterfall import has_band, waterfall

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jensen.diagnose import Collapse

ACROSS = 16
CELL = 44
USAGE_ROWS = 500
FEWEST = 3
"""Fewest rows without missing cells from which a plane is made."""


def usage(collapse: Mapping[str, Any] | Collapse | None, fitted: Fitted, view: View) -> dict[str, Any] | None:
    """Return how much of the latents is used, measuring it where it was not given.

    Args:
        collapse: From ``diagnose.collapse``, or its content as JSON.
        fitted: The fit.
        view: Its data and posterior means.
    """
    if collapse is None and view.means is not None and view.data is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JensenWarning)  # about the data: said at the fit already
            rows = Data(np.nan_to_num(view.data.x), mask=view.data.mask)
            try:
                collapse = diagnose.collapse(fitted.inference, rows, key=jax.random.key(0), rows=USAGE_ROWS)
            except InputError:
                return None
    if collapse is None:
        return None
    return dict(collapse) if isinstance(collapse, Mapping) else collapse.to_json()


def bound(gap: dict[str, Any] | None, train: dict[str, Any] | None) -> blocks.Section | None:
    """Where the bound is lost."""
    if gap is None:
        return None
    found: list[Any] = [blocks.Text(gaps.reading(gap, train))]
    if gaps.is_zero(gap):
        check = [(name, value, note) for name, value, note in gaps.rows(gap)[1:]]
        found += [blocks.Table((), check)] if check else []
        return blocks.Section("gap", "Where the bound is lost", found)
    found.append(_waterfall(gap, train))
    rows = [list(row) for row in gaps.rows(gap)]
    head, each = ["", "nats per datum", ""], gaps.per_step(gap)
    if train is not None:
        beside = {name: value for name, value, _ in gaps.rows(train)}
        rows = [[name, value, beside.get(name, ""), note] for name, value, note in rows]
        head = ["", gap.get("split") or "here", train.get("split") or "train", ""]
    if each:
        middle = ["nats per sequence" if h == "nats per datum" else h for h in head[1:-1]]
        head = ["", *middle, "nats per step", ""]
        rows = [[*row[:-1], each.get(row[0], ""), row[-1]] for row in rows]
    found += [blocks.Table(head, rows), blocks.Text([gaps.errors(gap)])]
    return blocks.Section("gap", "Where the bound is lost", found)


def _waterfall(gap: dict[str, Any], train: dict[str, Any] | None) -> blocks.Figure:
    count = gap.get("num_data", "?")
    caption = f"Measured on {count} {gaps.noun(gap)}{'s' * (count != 1 or gaps.noun(gap) == 'row')}"
    caption += f" ({gap['split']})." if gap.get("split") else "."
    if has_band(gap):
        caption += " Green: the interval that holds log p(x)."
    if train is not None:
        caption += " Thin bars: the same parts on training rows."
    if gap["log_evidence"].get("lower_kind") == "stochastic-bound":
        caption += " A stochastic bound holds in expectation; a heuristic side has no guarantee."

    def draw(fig: Figure) -> None:
        waterfall(fig.subplots(), gap, train)

    return blocks.Figure(look.drawn(draw, height=3.1), caption)


def training(fitted: Fitted) -> blocks.Section:
    """The curves, with the reason training stopped."""
    found: list[Any] = []
    rows = fitted.meta.get("num_data", 0)
    noisy = fitted.meta.get("batch_size", rows) < rows
    if len(fitted.history.step) > 1:

        def draw(fig: Figure) -> None:
            plots.curves(fig.subplots(), fitted.history, fitted.stop_reason, noisy=noisy)

        found.append(blocks.Figure(look.drawn(draw, height=2.9)))
    found.append(blocks.Table((), facts.course(fitted)))
    return blocks.Section("training", "Training", found)


def strip(name: str, rows: np.ndarray, view: View, *, cell: int = CELL) -> tuple[str, str, int]:
    """Lay pictures in lines of at most sixteen."""
    assert view.data is not None and view.data.image_shape is not None
    shape, (low, high) = view.data.image_shape, view.value_range
    across = min(ACROSS, len(rows))
    pixels = look.mosaic(rows, shape, low, high, columns=across)
    return name, look.png(pixels), across * (cell + 2)


def generated(view: View) -> blocks.Section | None:
    """Samples, and reconstructions beside inputs."""
    data = view.data
    if data is None or (view.samples is None and view.reconstructions is None):
        return None
    found: list[Any] = []
    if data.image_shape is not None:
        found += _pictures(view)
    else:
        found += _tables(view)
    title = "Samples" if view.reconstructions is None else "Samples and reconstructions"
    return blocks.Section("samples", title, found) if found else None


def _pictures(view: View) -> list[Any]:
    assert view.data is not None
    found: list[Any] = []
    if view.reconstructions is not None:
        lines = []
        for start in range(0, len(view.reconstructions), ACROSS):
            part = slice(start, start + ACROSS)
            lines += [
                strip("input", view.data.x[part], view),
                strip("reconstruction", view.reconstructions[part], view),
            ]
        found.append(
            blocks.Strip(
                lines,
                "Rows of the data above what comes back: E[x | z] at the mean of q(z | x)."
                + " Blue: missing." * bool(np.isnan(view.data.x[: len(view.reconstructions)]).any()),
            )
        )
    shown = view.samples if view.sample_means is None else view.sample_means
    if shown is not None:
        text = "New rows: z from the prior, " + (
            "drawn as E[x | z]." if view.sample_means is not None else "x from the model."
        )
        found.append(blocks.Strip([strip("samples", shown[: 2 * ACROSS], view)], text))
    return found


def _tables(view: View) -> list[Any]:
    data, samples = view.data, view.samples
    assert data is not None
    seen = data.x
    whole = np.isfinite(seen).all(1)
    gone = int((~whole).sum())
    found: list[Any] = []
    if samples is not None and np.isfinite(samples).all():
        count = min(len(data.columns), 12)
        high = 0.5 + 1.45 * -(-count // 4)
        found.append(
            blocks.Figure(
                look.drawn(lambda fig: plots.columns(fig, seen, samples, data.columns), height=high),
                f"{len(samples)} rows drawn from the model against the data"
                + (f"; first {count} of {len(data.columns)} columns." if count < len(data.columns) else ".")
                + " Missing cells are left out." * (gone > 0),
            )
        )
        if len(data.columns) > 1 and whole.sum() >= FEWEST:
            caption = f"The {whole.sum():,} of {len(seen):,} rows without missing cells." if gone else ""
            found.append(
                blocks.Figure(
                    look.drawn(
                        lambda f: plots.cloud(f.subplots(), seen[whole], samples), width=6.2, height=3.6
                    ),
                    caption,
                )
            )
    if view.reconstructions is not None and view.space is not None:
        found.append(_side_by_side(view))
    return found


def _side_by_side(view: View, *, rows: int = 6, columns: int = 7) -> blocks.Table:
    """Write reconstructions beside inputs, cell by cell."""
    assert view.data is not None and view.reconstructions is not None
    lines = [
        [f"row {i + 1}"]
        + [
            f"{'missing' if np.isnan(a) else f'{a:.4g}'} → {b:.4g}"
            for a, b in zip(view.data.x[i, :columns], view.reconstructions[i, :columns], strict=True)
        ]
        for i in range(min(rows, len(view.reconstructions)))
    ]
    return blocks.Table(
        ["", *view.data.columns[:columns]], lines, "Input → reconstruction E[x | z] at the mean of q(z | x)"
    )


def latents(view: View, collapse: dict[str, Any] | None) -> blocks.Section | None:
    """A map of the posterior means, and the dimensions in use."""
    space, found = view.space, []
    if space is None:
        return None
    labels = None if view.data is None else view.data.labels
    means = view.means
    if means is not None:
        found += _discrete(space, means, labels) if space.kind == "discrete" else _map(space, means, labels)
    kl = _per_dimension(collapse)
    if kl is not None and kl.size > 1:
        one_each = space.kind == "continuous" and len(kl) == space.dim  # not one for each group of dimensions
        active = collapse.get("num_active") if collapse and one_each else None
        caption = "How much each latent dimension carries; one near zero repeats the prior and is unused."
        found.append(
            blocks.Figure(look.drawn(lambda f: plots.units(f.subplots(), kl, active), height=2.4), caption)
        )
    if collapse is not None:
        found.append(blocks.Table((), _information(space, collapse)))
    return blocks.Section("latents", "Latent space", found) if found else None


def _per_dimension(collapse: dict[str, Any] | None) -> np.ndarray | None:
    kl = None if collapse is None else collapse.get("kl_per_dimension")
    return None if kl is None else np.asarray(kl, np.float64)


def _information(space: LatentSpace, collapse: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Write how much q tells about the data."""
    lines = [("KL(q(z|x) ‖ p(z))", gaps.number(collapse["kl"]), "nats per datum: what z is paid for")]
    if layers := collapse.get("kl_per_layer"):
        note = "of it, layer by layer, the top first, which is drawn first"
        lines.append(("  by layer", " + ".join(f"{kl:.2f}" for kl in layers), note))
    if collapse.get("information"):
        ceiling = float(collapse["ceiling"])
        note = f"nats: what z tells about which row it came from; at most log N = {ceiling:.2f}"
        lines.append(("I(x; z)", gaps.number(collapse["information"]), note))
    if collapse.get("num_active") is not None and space.kind == "continuous":
        note = "dimensions whose posterior mean varies over data (variance > 0.01)"
        lines.append(("active units", f"{collapse['num_active']} of {space.dim}", note))
    return lines


def _map(space: LatentSpace, means: np.ndarray, labels: np.ndarray | None) -> list[Any]:
    what = "probabilities of one" if space.kind == "binary" else "means"
    text = f"Posterior {what} of {len(means):,} rows" + (
        ", coloured by label." if labels is not None else "."
    )
    if labels is not None:
        text += " Labels were not used in training."
    high = 2.6 if means.shape[1] == 1 else 4.8
    return [
        blocks.Figure(
            look.drawn(lambda f: plots.latent_map(f.subplots(), means, labels), width=6.2, height=high), text
        )
    ]


def _discrete(space: LatentSpace, means: np.ndarray, labels: np.ndarray | None) -> list[Any]:
    parts = means.reshape(len(means), space.blocks, space.categories)
    shown = min(space.blocks, 6)

    def draw(fig: Figure) -> None:
        axes = np.atleast_1d(fig.subplots(shown, 1))
        for block, ax in enumerate(axes):
            plots.usage(ax, parts[:, block], labels)
            if space.blocks > 1:
                ax.set_ylabel(f"z{block + 1}: share of rows")

    return [
        blocks.Figure(
            look.drawn(draw, height=0.3 + 2.4 * shown),
            "How often each category is used (posterior probabilities, averaged over rows).",
        )
    ]


def exploring(model: Any, view: View, collapse: dict[str, Any] | None) -> blocks.Section | None:
    """Sliders that decode a chosen z in the page."""
    spec = explorer(model, view, kl=_per_dimension(collapse))
    if spec is None:
        return None
    how = "Move a slider" if spec["kind"] == "continuous" else "Choose a value"
    where = (
        "the fitted decoder runs in this page."
        if "net" in spec
        else "values are read from a precomputed grid over the two most used dimensions."
    )
    return blocks.Section(
        "explore", "Decode a chosen z", [blocks.Text([f"{how}: {where}"]), blocks.Explorer(spec)]
    )
