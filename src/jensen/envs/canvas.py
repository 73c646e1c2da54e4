"""A raster of discs, boxes, lines and cells, edges smoothed over one pixel; plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Shaped, UInt8

Colour: TypeAlias = tuple[int, int, int]

BACKGROUND: Colour = (250, 249, 245)
OBSTACLE: Colour = (96, 125, 92)
START: Colour = (200, 200, 196)
GOALS: tuple[Colour, ...] = ((226, 161, 60), (70, 120, 190))
"""The last goal has the last colour; one that comes before it has the first."""
PATH: Colour = (60, 60, 66)
AGENT: Colour = (190, 60, 60)


@dataclass(frozen=True)
class Circle:
    """A disc: centre (x, y) and radius, in the world's units."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Rectangle:
    """An upright rectangle between two corners, in the world's units."""

    left: float
    bottom: float
    right: float
    top: float


class Canvas:
    """Paint on it in a world's units, y upwards; later paint covers what came before.

    A shape covers a pixel by clip(½ − d / pixel, 0, 1), with d the signed distance of the pixel's centre to
    its edge.

    Args:
        bounds: What is seen.
        size: Pixels of the longer side.
        colour: Of the empty canvas.
    """

    def __init__(self, bounds: Rectangle, size: int = 192, colour: Colour = BACKGROUND):
        self.pixel = max(bounds.right - bounds.left, bounds.top - bounds.bottom) / size
        columns = round((bounds.right - bounds.left) / self.pixel)
        lines = round((bounds.top - bounds.bottom) / self.pixel)
        self._x = bounds.left + (np.arange(columns) + 0.5) * self.pixel
        self._y = bounds.top - (np.arange(lines)[:, None] + 0.5) * self.pixel
        self._image = np.full((lines, columns, 3), colour, np.float32)

    def disc(self, shape: Circle, colour: Colour) -> None:
        """Paint a disc."""
        self._paint(np.hypot(self._x - shape.x, self._y - shape.y) - shape.radius, colour)

    def box(self, shape: Rectangle, colour: Colour) -> None:
        """Paint an upright rectangle."""
        across = np.maximum(shape.left - self._x, self._x - shape.right)
        up = np.maximum(shape.bottom - self._y, self._y - shape.top)
        self._paint(np.maximum(across, up), colour)

    def line(self, points: Float[np.ndarray, "n 2"], half_width: float, colour: Colour) -> None:
        """Paint the stretches between points, one after another."""
        nearest = np.hypot(self._x - points[0, 0], self._y - points[0, 1])
        for (px, py), (dx, dy) in zip(points[:-1], np.diff(points, axis=0), strict=True):
            along = ((self._x - px) * dx + (self._y - py) * dy) / max(dx * dx + dy * dy, 1e-12)
            along = np.clip(along, 0, 1)
            nearest = np.minimum(nearest, np.hypot(self._x - px - along * dx, self._y - py - along * dy))
        self._paint(nearest - half_width, colour)

    def cells(self, colours: Shaped[np.ndarray, "r c 3"]) -> None:
        """Fill the canvas with a grid of colours, row 0 at the top."""
        lines, columns, _ = self._image.shape
        down = np.arange(lines) * len(colours) // lines
        across = np.arange(columns) * colours.shape[1] // columns
        self._image[:] = colours[down[:, None], across]

    def array(self) -> UInt8[np.ndarray, "H W 3"]:
        """Return red, green and blue, row 0 at the top."""
        return np.round(self._image).astype(np.uint8)

    def _paint(self, distance: np.ndarray, colour: Colour) -> None:
        cover = np.clip(0.5 - distance / self.pixel, 0, 1)[..., None]
        self._image[:] = (1 - cover) * self._image + cover * np.asarray(colour, np.float32)
