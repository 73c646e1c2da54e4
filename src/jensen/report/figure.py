"""One look for every figure: inline SVG that follows the page's light or dark colours, and small PNGs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind safe set; the page maps each to a variable with a lighter dark-mode twin.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9"
INK, MUTED, RULE, PAPER = "#1b1f24", "#6b7280", "#d5d9e0", "#fffffe"
MISSING = (86, 180, 233)  # a missing pixel: no shade of grey, so that it is no value
VARIABLES = {
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    RED: "--red",
    PURPLE: "--purple",
    SKY: "--sky",
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    PAPER: "--paper",
}
# Ten classes are told apart by their glyph or marker first, by colour second.
CLASSES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, "#882255", "#44aa99", "#999933", "#7c6fd6")
MARKERS = "osD^vP*X<>"

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "jensen",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "image.interpolation": "nearest",
}


def drawn(draw: Callable[[Figure], None], *, width: float = 9.2, height: float = 3.2) -> str:
    """Draw a figure and return it as SVG for pasting into a page.

    Args:
        draw: Fills the figure.
        width: Inches.
        height: Inches.

    Returns:
        An ``<svg>`` element without addresses, its colours written as the page's variables.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(width, height), layout="constrained")
        draw(fig)
        out = io.StringIO()
        fig.savefig(out, format="svg", metadata={"Date": None}, dpi=150)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:xlink)?="[^"]*"', "", text)
    text = re.sub(r"\s*\n\s*", "\n", text)
    for colour, name in VARIABLES.items():
        text = re.sub(colour, f"var({name})", text, flags=re.IGNORECASE)
    return text


def quiet(ax: Axes) -> None:
    """Remove ticks and frame: for pictures."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def picture(row: np.ndarray, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Turn one row into an 8-bit picture.

    Args:
        row: Values, (D,).
        shape: (height, width) or (height, width, 3).
        low: Value drawn black.
        high: Value drawn white.

    Returns:
        RGBA bytes, (height, width, 4); where the row holds NaN, the colour of a missing pixel.
    """
    row = np.asarray(row, np.float64).reshape(shape)
    unit = np.clip((row - low) / max(high - low, 1e-12), 0, 1)
    gone = np.isnan(unit)
    pixels = np.rint(np.where(gone, 0, unit) * 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels, gone = np.repeat(pixels[..., None], 3, -1), gone[..., None]
    pixels = np.where(gone, np.asarray(MISSING, np.uint8), pixels)
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 255, np.uint8)], -1)


def mosaic(
    rows: np.ndarray, shape: tuple[int, ...], low: float, high: float, *, columns: int, gap: int = 1
) -> np.ndarray:
    """Lay rows out as pictures on a transparent grid.

    Args:
        rows: Values, (N, D).
        shape: (height, width) or (height, width, 3) of each.
        low: Value drawn black.
        high: Value drawn white.
        columns: Pictures in a line.
        gap: Pixels between pictures.

    Returns:
        RGBA bytes.
    """
    lines = -(-len(rows) // columns)
    h, w = shape[0] + gap, shape[1] + gap
    canvas = np.zeros((lines * h - gap, columns * w - gap, 4), np.uint8)
    for i, row in enumerate(rows):
        top, left = (i // columns) * h, (i % columns) * w
        canvas[top : top + shape[0], left : left + shape[1]] = picture(row, shape, low, high)
    return canvas


def png(pixels: np.ndarray) -> str:
    """Encode RGBA bytes as a ``data:`` address."""
    from matplotlib.image import imsave

    out = io.BytesIO()
    imsave(out, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def signed(column: np.ndarray, shape: tuple[int, ...], limit: float) -> np.ndarray:
    """Turn signed numbers into a picture, zero white."""
    from matplotlib import colormaps

    unit = np.clip(0.5 + 0.5 * np.asarray(column).reshape(shape) / max(limit, 1e-12), 0, 1)
    return colormaps["PuOr"](unit, bytes=True)


def row_of(pictures: list[np.ndarray]) -> np.ndarray:
    """Join pictures of one height side by side, a transparent pixel between them."""
    between = np.zeros((pictures[0].shape[0], 1, 4), np.uint8)
    parts = [part for picture in pictures for part in (picture, between)]
    return np.concatenate(parts[:-1], 1)
