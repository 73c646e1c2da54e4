"""The other figures: training curves, latent maps, dimensions in use, rows and columns of tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jensen.report import figure as look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from jensen.fit.result import History

MANY = 1000


def curves(ax: Axes, history: History, stop_reason: str, *, noisy: bool) -> None:
    """Draw the bound by step: every value faint, its running mean, and the validation bound.

    Args:
        ax: Where to draw.
        history: The course of the fit, nats per datum.
        stop_reason: Why it ended; marked at the last step.
        noisy: Whether the bound was taken on minibatches: then a running mean is drawn over it.
    """
    from matplotlib import rcParams

    step, bound = np.asarray(history.step), np.asarray(history.bound, np.float64)
    stride = max(1, len(step) // MANY)
    window = max(1, len(step) // 60)
    if noisy and window > 2:
        ax.plot(step[::stride], bound[::stride], color=look.SKY, lw=0.7, alpha=0.55, label="each minibatch")
        total = np.cumsum(np.insert(bound, 0, 0.0))
        mean = (total[window:] - total[:-window]) / window
        ax.plot(
            step[window - 1 :][::stride], mean[::stride], color=look.BLUE, label=f"mean of {window} steps"
        )
    else:
        ax.plot(
            step[::stride],
            bound[::stride],
            color=look.BLUE,
            marker="." if len(step) < 60 else "",
            label="bound",
        )
    held = np.asarray(history.validation, np.float64)
    if held.size:
        at = np.asarray(history.validation_step)
        ax.plot(at, held, color=look.RED, marker="o" if len(held) < 60 else "", ms=3, label="validation")
        best = int(np.argmax(held))
        ax.plot(at[best], held[best], "o", ms=8, mfc="none", mec=look.RED, label="best validation")
    finite = bound[np.isfinite(bound)]
    if finite.size:
        settled = finite[len(finite) // 10 :] if finite.size > 20 else finite
        low, high = np.quantile(settled, 0.005), np.quantile(settled, 0.999)
        if held.size:
            high, low = max(high, held.max()), min(low, np.quantile(held, 0.1))
        room = 0.06 * (high - low) + 0.005
        ax.set_ylim(low - room, high + room)
    ax.ticklabel_format(axis="y", useOffset=False)
    if len(step):
        ax.axvline(step[-1], color=look.MUTED, lw=0.8, ls=":")
        ax.annotate(
            f"stopped: {stop_reason}",
            (step[-1], 0.03),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            color=rcParams["text.color"],
            fontsize=8,
        )
    ax.grid(axis="y")
    ax.set_xlabel("step")
    ax.set_ylabel("bound, nats per datum")
    ax.legend(loc="lower center", ncols=4, bbox_to_anchor=(0.5, 1.0))


def flat(z: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Project rows on a plane: the columns themselves when there are two, else principal components.

    Returns:
        Points, (N, 2), and the axes' names with the share of variance.
    """
    z = np.asarray(z, np.float64)
    if z.shape[1] == 2:
        return z, ("z₁", "z₂")
    centred = z - z.mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    share = values**2 / max((values**2).sum(), 1e-300)
    names = [f"principal component {i + 1} ({100 * share[i]:.0f}% of variance)" for i in range(2)]
    return centred @ axes[:2].T, (names[0], names[1])


def scatter(ax: Axes, points: np.ndarray, labels: np.ndarray | None, *, size: float = 14) -> None:
    """Draw points, told apart by label: by glyph for short labels, by marker for a few, else by colour.

    Points with a missing coordinate are left out.
    """
    there = np.isfinite(points).all(1)
    points, labels = _fewer(points[there], None if labels is None else labels[there])
    if labels is None:
        ax.scatter(*points.T, s=size, color=look.BLUE, alpha=0.6, lw=0, rasterized=len(points) > 600)
        return
    classes = np.unique(labels)
    if len(classes) > 10:
        _by_value(ax, points, labels, size)
        return
    glyphs = all(len(str(c)) <= 2 for c in classes)
    for i, c in enumerate(classes):
        mine = points[labels == c]
        marker = f"${c}$" if glyphs else look.MARKERS[i]
        ax.scatter(
            *mine.T,
            s=size * (2.0 if glyphs else 1.2),
            marker=marker,
            color=look.CLASSES[i],
            lw=0,
            alpha=0.85,
            label=str(c),
            rasterized=len(points) > 600,
        )
    if not glyphs:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=5, handletextpad=0.2)


def _fewer(points: np.ndarray, labels: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    if len(points) <= MANY:
        return points, labels
    keep = np.linspace(0, len(points) - 1, MANY).astype(int)
    return points[keep], None if labels is None else labels[keep]


def _by_value(ax: Axes, points: np.ndarray, labels: np.ndarray, size: float) -> None:
    if labels.dtype.kind in "iuf":
        drawn = ax.scatter(*points.T, s=size, c=labels, cmap="viridis", alpha=0.8, lw=0, rasterized=True)
        ax.figure.colorbar(drawn, ax=ax, label="label", shrink=0.8)
    else:
        ax.scatter(*points.T, s=size, color=look.BLUE, alpha=0.6, lw=0, rasterized=True)


def latent_map(ax: Axes, means: np.ndarray, labels: np.ndarray | None) -> None:
    """Draw posterior means on a plane, (N, d) with d ≥ 2, or as a histogram for d = 1."""
    if means.shape[1] == 1:
        ax.hist(means[:, 0], bins=40, color=look.BLUE)
        ax.set_xlabel("posterior mean of z₁")
        ax.set_ylabel("rows")
        return
    points, names = flat(means)
    scatter(ax, points, labels)
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.grid()


def usage(ax: Axes, probabilities: np.ndarray, labels: np.ndarray | None) -> None:
    """Draw how often each category of one latent is used, stacked by label when there are at most ten."""
    share = probabilities / len(probabilities)
    at = np.arange(share.shape[1])
    classes = np.unique(labels) if labels is not None else np.zeros(0)
    if labels is None or len(classes) > 10:
        ax.bar(at + 1, share.sum(0), color=look.BLUE)
    else:
        floor = np.zeros(share.shape[1])
        for i, c in enumerate(classes):
            part = share[labels == c].sum(0)
            ax.bar(at + 1, part, bottom=floor, color=look.CLASSES[i], label=str(c), width=0.8)
            for k in np.flatnonzero((part > 0.06 * share.sum(0).max()) & (len(at) <= 20)):
                middle = floor[k] + part[k] / 2
                ax.text(float(k + 1), middle, str(c), ha="center", va="center", color="white", fontsize=8)
            floor += part
        ax.legend(title="label", loc="center left", bbox_to_anchor=(1.0, 0.5), reverse=True)
    ax.set_xlabel("category of z")
    ax.set_ylabel("share of rows")
    if len(at) <= 30:
        ax.set_xticks(at + 1)
    ax.grid(axis="y")


def units(ax: Axes, kl: np.ndarray, active: int | None = None) -> None:
    """Draw the KL of each latent dimension, largest first.

    Args:
        ax: Where to draw.
        kl: KL(q ‖ p) per dimension, nats per datum, (d,).
        active: Number of active units, written above the bars.
    """
    order = np.argsort(-kl)
    at = np.arange(len(kl))
    ax.bar(at, kl[order], color=look.BLUE)
    if len(kl) <= 40:
        ax.set_xticks(at, [str(i + 1) for i in order])
    else:
        ax.set_xticks([])
    ax.set_xlabel("latent dimension, most used first")
    ax.set_ylabel("KL, nats per datum")
    ax.grid(axis="y")
    if active is not None:
        ax.set_title(f"{active} of {len(kl)} active", loc="right", fontweight="normal")


def columns(fig: Figure, data: np.ndarray, samples: np.ndarray, names: tuple[str, ...]) -> None:
    """Compare columns of data and of samples by histogram, at most twelve; missing cells are left out."""
    count = min(len(names), 12)
    across = min(count, 4)
    axes = np.atleast_1d(fig.subplots(-(-count // across), across)).ravel()
    for j, ax in enumerate(axes):
        if j >= count:
            ax.set_visible(False)
            continue
        here = data[np.isfinite(data[:, j]), j]
        low, high = _span(here, samples[:, j])
        bins = np.linspace(low, high, 24) if high > low else np.linspace(low - 1, high + 1, 24)
        for values, shade, label in ((here, look.BLUE, "data"), (samples[:, j], look.RED, "samples")):
            weights = np.full(len(values), 1 / max(len(values), 1))
            filled = {"alpha": 0.45} if label == "data" else {"histtype": "step", "lw": 1.4}
            ax.hist(values, bins=bins, weights=weights, color=shade, label=label, **filled)
        name = names[j]
        ax.set_xlabel(name if len(name) < 23 else name[:22] + "…")
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        if j % across == 0:
            ax.set_ylabel("share of rows")
    shown = axes[0].get_legend_handles_labels()
    fig.legend(*shown, loc="outside upper left", ncols=2, handlelength=1)


def _span(data: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Return the range of a column's histogram: the data's, and at most as much again for samples beyond."""
    least, most = np.quantile(samples, (0.01, 0.99))
    if not data.size:
        return float(least), float(most)
    low, high = float(data.min()), float(data.max())
    return min(low, max(float(least), 2 * low - high)), max(high, min(float(most), 2 * high - low))


def cloud(ax: Axes, data: np.ndarray, samples: np.ndarray) -> None:
    """Draw data and samples on the data's first two principal components, standardized columns.

    Args:
        ax: Where to draw.
        data: Rows without missing cells, (N, D).
        samples: Rows from the model, (S, D).
    """
    center, scale = data.mean(0), np.where(data.std(0) > 0, data.std(0), 1)
    _, _, axes = np.linalg.svd((data - center) / scale, full_matrices=False)
    plane = axes[:2].T
    for rows, shade, marker, label in ((data, look.BLUE, "o", "data"), (samples, look.RED, "x", "samples")):
        points, _ = _fewer((rows - center) / scale @ plane, None)
        style = {"lw": 0} if marker == "o" else {"lw": 0.9}
        ax.scatter(*points.T, s=13, color=shade, marker=marker, alpha=0.65, label=label, **style)
    ax.set_xlabel("principal component 1 of the data, standard deviations")
    ax.set_ylabel("principal component 2")
    ax.grid()
    ax.legend(loc="best", handletextpad=0.2)


def heat(ax: Axes, values: np.ndarray, rows: Any, columns: Any, *, label: str, limit: float) -> None:
    """Draw a signed matrix, zero in the middle of a colour-blind safe diverging map."""
    drawn = ax.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.9)
    for setter, names in ((ax.set_yticks, rows), (ax.set_xticks, columns)):
        if len(names) <= 40:
            setter(range(len(names)), names)
        else:
            setter([])
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def upright(names: list[str], *, longest: int = 12) -> list[str]:
    """Shorten names that stand under a narrow column."""
    return [n if len(n) <= longest else n[: longest - 1] + "…" for n in names]
