"""What an environment looks like from above, as shapes; and a picture of them."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from jaxtyping import Float, UInt8

from jensen.envs.canvas import AGENT, GOALS, OBSTACLE, PATH, START, Canvas, Circle, Rectangle


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
    canvas = Canvas(scene["bounds"], size)
    canvas.disc(scene["start"], START)
    for goal, colour in zip(scene["goals"], GOALS[-len(scene["goals"]) :], strict=True):
        canvas.disc(goal, colour)
    for circle in scene["circles"]:
        canvas.disc(circle, OBSTACLE)
    for rectangle in scene["rectangles"]:
        canvas.box(rectangle, OBSTACLE)
    canvas.line(path, 0.8 * canvas.pixel, PATH)
    canvas.disc(Circle(float(path[-1, 0]), float(path[-1, 1]), agent), AGENT)
    return canvas.array()
