"""Pictures of worlds made of cells."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from jensen.envs.canvas import AGENT, START, Canvas, Circle, Rectangle

_RULED = 24
"""Cells a side up to which lines are drawn between them."""


def cell_picture(colours: np.ndarray, agent: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw a grid of colours and who is in it.

    Args:
        colours: Of each cell, (rows, columns, 3).
        agent: Row and column; outside the grid it is not seen.
    """
    rows, columns, _ = colours.shape
    canvas = Canvas(Rectangle(0.0, 0.0, float(columns), float(rows)))
    canvas.cells(colours)
    if max(rows, columns) <= _RULED:
        for x in range(1, columns):
            canvas.line(np.array([[x, 0.0], [x, rows]]), 0.01, START)
        for y in range(1, rows):
            canvas.line(np.array([[0.0, y], [columns, y]]), 0.01, START)
    canvas.disc(Circle(agent[1] + 0.5, rows - agent[0] - 0.5, 0.3), AGENT)
    return canvas.array()
