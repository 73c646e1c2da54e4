"""What an environment looks like from above, as shapes; and a picture of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Float, UInt8

from jensen.envs.canvas import AGENT, GOALS, OBSTACLE, PATH, START, Canvas, Edge


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
    """Draw a scene with a path in it.

    Args:
        scene: Shapes.
        path: Points passed so far; the agent stands on the last.
        agent: Its radius, in the world's units.
        size: Pixels of the longer side.

    Returns:
        Red, green and blue, row 0 at the top of the world.
    """
    b, start = scene["bounds"], scene["start"]
    canvas = Canvas(Edge(b.left, b.bottom, b.right, b.top), size)
    canvas.disc(start.x, start.y, start.radius, START)
    for goal, colour in zip(scene["goals"], GOALS[-len(scene["goals"]) :], strict=True):
        canvas.disc(goal.x, goal.y, goal.radius, colour)
    for circle in scene["circles"]:
        canvas.disc(circle.x, circle.y, circle.radius, OBSTACLE)
    for r in scene["rectangles"]:
        canvas.box(r.left, r.bottom, r.right, r.top, OBSTACLE)
    canvas.line(path, 0.8 * canvas.pixel, PATH)
    canvas.disc(float(path[-1, 0]), float(path[-1, 1]), agent, AGENT)
    return canvas.array()
