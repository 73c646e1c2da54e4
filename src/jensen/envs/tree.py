"""A point right in front of a tree: left or right, but not the mean of both."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from jensen.envs.canvas import Circle, Rectangle
from jensen.envs.walk import Walk


class Tree(Walk):
    """Walk past a round tree that stands between start and goal, on its left or its right.

    Demonstrations leave the start at 45° to one side, chosen independently of where exactly they start, go
    on until they are clear of the tree, and then head for the goal. Walking straight on for one step is
    already too late: no way at 45° from there clears the tree. So the mean action at the start, straight
    ahead, drives into it. Positions after the first step show the side.

    The world is [−1, 1]², the tree has radius 0.35 about the origin, the goal radius 0.1 about (0, 0.9).
    """

    modes = ("left", "right")
    step_length = 0.15
    start = (0.0, -0.58)
    start_noise = 0.008
    goal = Circle(0.0, 0.9, 0.1)
    bounds = Rectangle(-1.0, -1.0, 1.0, 1.0)
    circles = (Circle(0.0, 0.0, 0.35),)
    demonstration_noise = 0.065

    clear_at = 0.5
    """Distance from the axis at which a demonstration turns to the goal."""

    def passed(self, x: float) -> str:
        """Return the side of the tree."""
        return "left" if x < 0 else "right"

    def heading(self, mode: str, position: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """Return 45° to the side until clear of the tree, then the goal's direction."""
        side = -1.0 if mode == "left" else 1.0
        if side * position[0] < self.clear_at and position[1] < 0:
            return np.array([side, 1.0]) * math.sqrt(0.5)
        return self.to_goal(position)
