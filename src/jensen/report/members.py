"""What only some models have: components, loadings, correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jensen import models
from jensen.models.static.structures import TiedCovariance
from jensen.report import blocks, plots
from jensen.report import figure as look
from jensen.report.collect import View
from jensen.report.sections import strip

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY_COLUMNS = 12

Mixture: TypeAlias = models.GaussianMixture | models.StudentMixture
"""Mixtures whose components are drawn as ellipses."""


def member(model: Any, view: View) -> blocks.Section | None:
    """Return what this kind of model has to show of itself."""
    if isinstance(model, models.Decoder):
        return None
    if isinstance(model, Mixture):
        return blocks.Section("components", "Components", _mixture(model, view))
    if isinstance(model, models.FactorAnalysis | models.ProbabilisticPCA):
        return blocks.Section("loadings", "Loadings", _loadings(model, view))
    if isinstance(model, models.Gaussian):
        return blocks.Section("correlations", "Correlations", _correlations(model, view))
    return None


def names_of(view: View, dim: int) -> list[str]:
    """Column names, from the data if there is any."""
    return list(view.data.columns) if view.data is not None else [f"x{i + 1}" for i in range(dim)]


def covariances(model: Mixture) -> np.ndarray:
    """Write any structure's covariances, of t laws their scale matrices, in full, (K, D, D)."""
    heavy = isinstance(model, models.StudentMixture)
    values = np.asarray(model.scale_matrices if heavy else model.covariances, np.float64)
    count, dim = model.means.shape
    if values.ndim == 3:
        return values
    if isinstance(model.components.covariance, TiedCovariance):
        return np.broadcast_to(values, (count, dim, dim))
    variances = values if values.ndim == 2 else np.repeat(values[:, None], dim, 1)
    return variances[:, :, None] * np.eye(dim)


def _mixture(model: Mixture, view: View) -> list[Any]:
    weights, means, spread = model.weights, model.means, covariances(model)
    names, order = names_of(view, means.shape[1]), np.argsort(-weights)
    found: list[Any] = []
    heavy = isinstance(model, models.StudentMixture)
    unit = "scale" if heavy else "standard deviation"
    data = view.data
    if data is not None and data.image_shape is not None:
        found.append(
            blocks.Strip([strip("means", means[order], view)], "Component means, the heaviest first.")
        )
    if means.shape[1] > 1:
        pair = telling(weights, means, spread)
        found.append(
            blocks.Figure(
                look.drawn(
                    lambda f: ellipses(f.subplots(), model, spread, view, pair), width=6.2, height=4.4
                ),
                f"Data, and every component's 1 and 2 {unit} ellipses, in the two columns that "
                "tell components apart best. The number in each middle is the component's in the table."
                + _left_out(view, pair),
            )
        )
    shown = names[:MANY_COLUMNS]
    rows = [
        [
            str(rank + 1),
            f"{weights[k]:.3f}",
            *([f"{model.df[k]:.3g}"] if isinstance(model, models.StudentMixture) else []),
            *(f"{v:.4g}" for v in means[k, : len(shown)]),
        ]
        for rank, k in enumerate(order)
    ]
    caption = "Weights, degrees of freedom and means" if heavy else "Weights and means"
    if len(shown) < len(names):
        caption += f", first {len(shown)} of {len(names)} columns"
    found.append(blocks.Table(["component", "weight", *(["ν"] if heavy else []), *shown], rows, caption))
    return found


def _left_out(view: View, pair: tuple[int, int]) -> str:
    if view.data is None:
        return ""
    gone = int((~np.isfinite(view.data.x[:, pair])).any(1).sum())
    return f" {gone} of {len(view.data.x)} rows miss one of the two and are not drawn." if gone else ""


def telling(weights: np.ndarray, means: np.ndarray, spread: np.ndarray) -> tuple[int, int]:
    """Choose the two columns in which the components lie furthest apart, in standard deviations."""
    center = weights @ means
    between = weights @ (means - center) ** 2
    within = weights @ np.einsum("kdd->kd", spread)
    first, second = np.argsort(-between / np.maximum(within, 1e-300))[:2]
    return int(first), int(second)


def ellipses(ax: Axes, model: Mixture, spread: np.ndarray, view: View, pair: tuple[int, int]) -> None:
    """Draw components as ellipses over the data, in two of its columns."""
    from matplotlib import rcParams
    from matplotlib.patches import Ellipse

    weights, means = model.weights, model.means
    names = names_of(view, means.shape[1])
    if view.data is not None:
        plots.scatter(ax, view.data.x[:, pair].astype(np.float64), view.data.labels, size=11.0)
    for rank, k in enumerate(np.argsort(-weights)):
        block = spread[k][np.ix_(pair, pair)]
        values, axes = np.linalg.eigh(block)
        angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
        for deviations, width in ((1, 1.6), (2, 0.9)):
            wide, high = 2 * deviations * np.sqrt(values[1]), 2 * deviations * np.sqrt(values[0])
            patch = Ellipse(
                (means[k, pair[0]], means[k, pair[1]]), wide, high, angle=angle, fill=False, lw=width
            )
            patch.set_edgecolor(rcParams["text.color"])
            ax.add_patch(patch)
        ax.text(
            means[k, pair[0]],
            means[k, pair[1]],
            str(rank + 1),
            ha="center",
            va="center",
            fontweight="bold",
            fontsize=10,
            bbox={"boxstyle": "circle,pad=0.2", "fc": look.PAPER, "ec": rcParams["text.color"], "lw": 0.8},
        )
    ax.autoscale_view()
    ax.set_xlabel(names[pair[0]])
    ax.set_ylabel(names[pair[1]])
    ax.grid()


def _loadings(model: models.FactorAnalysis | models.ProbabilisticPCA, view: View) -> list[Any]:
    loadings, noise = model.loadings, model.noise_variances
    names = names_of(view, len(loadings))
    data = view.data
    if data is not None and data.image_shape is not None and len(data.image_shape) == 2:
        limit = float(np.abs(loadings).max())
        pictures = [look.signed(column, data.image_shape, limit) for column in loadings.T]
        lines = [
            (
                f"factors {i + 1}+",
                look.png(look.row_of(pictures[i : i + 16])),
                min(16, len(pictures) - i) * 46,
            )
            for i in range(0, len(pictures), 16)
        ]
        return [blocks.Strip(lines, "Loadings as pictures: orange negative, purple positive.")]
    total = np.sqrt((loadings**2).sum(1) + noise)
    shares = loadings / total[:, None]
    factors = [f"factor {i + 1}" for i in range(loadings.shape[1])]
    high = min(1.2 + 0.24 * len(names), 9.0)
    caption = "Correlation of each column with each factor: loading over the column's standard deviation."
    found: list[Any] = [
        blocks.Figure(
            look.drawn(
                lambda f: plots.heat(f.subplots(), shares, names, factors, label="correlation", limit=1.0),
                width=min(3.4 + 0.75 * len(factors), 7.4),
                height=high,
            ),
            caption,
        )
    ]
    if len(names) <= 40:
        rows = [
            [name, f"{1 - n / t**2:.2f}", f"{np.sqrt(n):.3g}"]
            for name, n, t in zip(names, noise, total, strict=True)
        ]
        head = ["column", "share of variance explained", "noise, standard deviation"]
        found.append(blocks.Table(head, rows))
    return found


def _correlations(model: models.Gaussian, view: View) -> list[Any]:
    mean, spread = model.mean, np.asarray(model.covariance, np.float64)
    if spread.ndim < 2:
        spread = np.eye(len(mean)) * spread
    deviation = np.sqrt(np.diag(spread))
    correlation = spread / np.outer(deviation, deviation)
    names = names_of(view, len(mean))
    side = min(2.6 + 0.26 * len(names), 7.0)
    found: list[Any] = [
        blocks.Figure(
            look.drawn(
                lambda f: plots.heat(
                    f.subplots(), correlation, names, plots.upright(names), label="correlation", limit=1.0
                ),
                width=min(side + 1.0, 7.4),
                height=side,
            )
        )
    ]
    if len(names) <= 40:
        rows = [[n, f"{m:.4g}", f"{s:.4g}"] for n, m, s in zip(names, mean, deviation, strict=True)]
        found.append(blocks.Table(["column", "mean", "standard deviation"], rows))
    return found
