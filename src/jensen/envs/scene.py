"""What an environment looks like from above, as shapes; and a raster of them by plain numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypedDict

import numpy as np
from jaxtyping import Float, UInt8

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


class Scene(TypedDict):
    """All there is to draw beneath paths; positions are (x, y), y upwards."""

    circles: list[Circle]
    """Round obstacles."""
    rectangles: list[Rectangle]
    """Upright obstacles."""
    start: Circle
    """Where episodes begin (Tree, ThreeRoute) or this one did (Particle)."""
    goals: list[Circle]
    """In the order they are to be reached."""
    bounds: Rectangle
    """The world's edge."""


def draw(
    scene: Scene, path: Float[np.ndarray, "T 2"], agent: float, size: int = 192
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a scene with a path in it, edges smoothed over one pixel.

    A shape covers a pixel by clip(½ − d / pixel, 0, 1), with d the signed distance of the pixel's centre
    to its edge.

    Args:
        scene: Shapes.
        path: Points passed so far; the agent stands on the last.
        agent: Its radius, in the world's units.
        size: Pixels of the longer side.

    Returns:
        Red, green and blue, row 0 at the top of the world.
    """
    edge = scene["bounds"]
    pixel = max(edge.right - edge.left, edge.top - edge.bottom) / size
    columns = round((edge.right - edge.left) / pixel)
    rows = round((edge.top - edge.bottom) / pixel)
    x = edge.left + (np.arange(columns) + 0.5) * pixel
    y = edge.top - (np.arange(rows)[:, None] + 0.5) * pixel
    image = np.full((rows, columns, 3), BACKGROUND, np.float32)

    def paint(distance: np.ndarray, colour: Colour) -> None:
        cover = np.clip(0.5 - distance / pixel, 0, 1)[..., None]
        image[:] = (1 - cover) * image + cover * np.asarray(colour, np.float32)

    paint(_disc(x, y, scene["start"]), START)
    for goal, colour in zip(scene["goals"], GOALS[-len(scene["goals"]) :], strict=True):
        paint(_disc(x, y, goal), colour)
    for circle in scene["circles"]:
        paint(_disc(x, y, circle), OBSTACLE)
    for r in scene["rectangles"]:
        paint(np.maximum(np.maximum(r.left - x, x - r.right), np.maximum(r.bottom - y, y - r.top)), OBSTACLE)
    paint(_trail(x, y, path) - 0.8 * pixel, PATH)
    paint(_disc(x, y, Circle(float(path[-1, 0]), float(path[-1, 1]), agent)), AGENT)
    return np.round(image).astype(np.uint8)


def _disc(x: np.ndarray, y: np.ndarray, circle: Circle) -> np.ndarray:
    return np.hypot(x - circle.x, y - circle.y) - circle.radius


def _trail(x: np.ndarray, y: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Distance of every pixel to the nearest stretch of the path."""
    nearest = np.hypot(x - path[0, 0], y - path[0, 1])
    for (px, py), (dx, dy) in zip(path[:-1], np.diff(path, axis=0), strict=True):
        along = np.clip(((x - px) * dx + (y - py) * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - px - along * dx, y - py - along * dy))
    return nearest
