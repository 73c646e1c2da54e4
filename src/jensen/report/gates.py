"""The components of a mixture density network: where each is likely, and what it predicts there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.datasets import Dataset
from jensen.models import MixtureDensity
from jensen.report import blocks
from jensen.report import figure as look
from jensen.report.bands import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS, ROWS, MANY = 160, 2000, 10
"""Inputs along the axis, rows that averages are taken of, and components told apart by colour."""


def gates(model: MixtureDensity, data: Dataset) -> blocks.Section:
    """Show the components' weights: over the one input there is, or their averages over the rows."""
    assert data.cond is not None
    if len(data.inputs) == 1:
        return blocks.Section("gates", "Components", [_over(model, data)])
    cond = data.cond[np.linspace(0, len(data.cond) - 1, min(ROWS, len(data.cond))).astype(int)]
    weights, means, spread = components(model, cond)
    share = weights.mean(0)
    columns = range(min(len(data.columns), 4))
    rows = [
        [
            f"{rank + 1}",
            f"{share[k]:.1%}",
            f"{(weights.argmax(1) == k).mean():.1%}",
            *(
                f"{np.average(means[:, k, d], weights=weights[:, k]):.4g} ± "
                f"{np.average(spread[:, k, d], weights=weights[:, k]):.2g}"
                for d in columns
            ),
        ]
        for rank, k in enumerate(np.argsort(-share))
    ]
    head = ["component", "weight", "likeliest in", *(short(data.columns[d]) for d in columns)]
    caption = f"Averages over {len(cond):,} rows; of targets the mean and the spread within the component."
    return blocks.Section("gates", "Components", [blocks.Table(head, rows, caption)])


def components(model: MixtureDensity, cond: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights (N, K), means and standard deviations (N, K, D) at conditions, in the data's units."""

    def one(c: Any) -> Any:
        logits, heads = model.heads(c)
        spread = jnp.sqrt((heads.tril**2).sum(-1))
        return jax.nn.softmax(logits), heads.means, spread

    weights, means, spread = jax.jit(jax.vmap(one))(jnp.asarray(cond, jnp.float32))
    shift, scale = (np.asarray(a, np.float64) for a in (model.frame.shift, model.frame.scale))
    return np.asarray(weights), shift + scale * np.asarray(means), scale * np.asarray(spread)


def _over(model: MixtureDensity, data: Dataset) -> blocks.Figure:
    assert data.cond is not None
    low, high = float(data.cond.min()), float(data.cond.max())
    x = np.linspace(low, high, POINTS)
    weights, means, _ = components(model, x[:, None])
    order = np.argsort(-weights.mean(0))
    colours = [look.CLASSES[i % MANY] for i in range(len(order))]

    def draw(fig: Figure) -> None:
        top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.4])
        top.stackplot(x, weights[:, order].T, colors=colours, alpha=0.75, lw=0)
        top.set_ylim(0, 1)
        top.set_ylabel("weight")
        for k, colour in zip(order, colours, strict=True):
            faint = np.where(weights[:, k] > 0.02, means[:, k, 0], np.nan)
            bottom.plot(x, faint, color=colour, lw=1.8)
        bottom.set_ylabel(short(data.columns[0]))
        bottom.set_xlabel(data.inputs[0])
        bottom.set_xlim(low, high)
        bottom.grid(axis="y")

    caption = f"Weights of the components over {data.inputs[0]}, and below their means of {data.columns[0]}, "
    caption += "drawn where a component weighs more than 2%."
    return blocks.Figure(look.drawn(draw, height=4.2), caption)
