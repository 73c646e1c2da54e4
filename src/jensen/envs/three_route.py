"""A wall with three gaps: three ways of unequal length."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jensen.envs.canvas import Circle, Rectangle
from jensen.envs.walk import Walk

GAPS = {"left": -1.0, "middle": 0.4, "right": 0.85}
HALF_GAP, HALF_WALL, EDGE = 0.1, 0.1, 1.25


def _wall() -> tuple[Rectangle, ...]:
    """The blocks between the world's edges and the gaps."""
    sides = [-EDGE, *(x for gap in GAPS.values() for x in (gap - HALF_GAP, gap + HALF_GAP)), EDGE]
    return tuple(
        Rectangle(left, -HALF_WALL, right, HALF_WALL)
        for left, right in zip(sides[::2], sides[1::2], strict=True)
    )


class ThreeRoute(Walk):
    """Walk through one of three gaps in a wall to the goal behind it.

    The gaps are at x = −1, 0.4 and 0.85, 0.2 wide; the ways through them are about 3.0, 2.2 and 2.7 long.
    Demonstrations head for the mouth of one gap, chosen independently of the start, walk through and go to
    the goal. The mean of the three headings leads to the wall, between left and middle.

    The world is [−1.25, 1.25]², the wall 0.2 thick about y = 0, the start (0, −1) and the goal (0, 1) of
    radius 0.1.
    """

    modes = tuple(GAPS)
    step_length = 0.1
    start = (0.0, -1.0)
    start_noise = 0.02
    goal = Circle(0.0, 1.0, 0.1)
    bounds = Rectangle(-EDGE, -EDGE, EDGE, EDGE)
    rectangles = _wall()
    demonstration_noise = 0.05

    def passed(self, x: float) -> str:
        """Return the gap nearest to x."""
        return min(GAPS, key=lambda mode: abs(GAPS[mode] - x))

    def heading(self, mode: str, position: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
        """Return the direction of the gap's mouth, then of its far end, then of the goal."""
        gap, mouth = GAPS[mode], HALF_WALL + self.step_length
        inside = abs(position[0] - gap) < HALF_GAP / 2
        if position[1] < mouth and inside and position[1] > -mouth - self.step_length / 2:
            return self.toward(position, (gap, mouth + self.step_length))
        if position[1] < 0:
            return self.toward(position, (gap, -mouth))
        return self.to_goal(position)
