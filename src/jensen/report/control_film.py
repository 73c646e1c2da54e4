"""Film strips of a world model: what was seen, what it makes of it, and what it imagines without looking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jensen.report import blocks
from jensen.report import figure as look

FRAMES = 12
"""Most pictures in a line."""

CELL = 60
"""Width of a picture on the page, in pixels."""


def film(
    real: np.ndarray,
    reconstructed: np.ndarray,
    imagined: np.ndarray,
    *,
    shape: tuple[int, ...],
    caption: str = "",
) -> list[Any]:
    """Lay out an episode, what the model makes of each picture, and what it imagines from some step on.

    Args:
        real: Observations, (T, D).
        reconstructed: Means of p(o_t | z_t) with z_t from what was seen up to t, (T, D).
        imagined: Means foreseen from the last steps' actions alone, (H, D), for the last H of the T steps.
        shape: (height, width) or (height, width, 3) of a picture.
        caption: What to say about the episode.

    Returns:
        Blocks: what to look for, and the strip.
    """
    length, horizon = len(real), len(imagined)
    context = length - horizon
    times = _times(context, length)
    low, high = _range(real)
    blank = np.zeros((*shape[:2], 4), np.uint8)

    def line(name: str, rows: Mapping[int, np.ndarray]) -> tuple[str, str, int]:
        pictures = [look.picture(rows[t], shape, low, high) if t in rows else blank for t in times]
        return name, look.png(look.row_of(pictures)), len(pictures) * CELL

    lines = [
        line("real", dict(enumerate(real))),
        line("reconstructed", dict(enumerate(reconstructed))),
        line("imagined", {context + i: row for i, row in enumerate(imagined)}),
    ]
    advice = (
        "Look how long the third line shows what the first does: an agent that plans or learns in "
        f"imagination believes it. It was made without seeing any of the {horizon} pictures above it."
    )
    steps = ", ".join(str(int(t)) for t in times)
    about = f"Steps {steps}; from step {context} on the model knows only the actions. {caption}"
    return [blocks.Text([advice]), blocks.Strip(lines, about.strip())]


def _times(context: int, length: int) -> np.ndarray:
    """Choose a few steps before imagination begins, and more after."""
    before = np.arange(max(0, context - 3), context)
    after = np.linspace(context, length - 1, min(FRAMES - len(before), length - context))
    return np.concatenate([before, np.unique(after.astype(int))])


def _range(x: np.ndarray) -> tuple[float, float]:
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
