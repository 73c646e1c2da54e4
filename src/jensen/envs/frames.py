"""Grey pictures as observations: rows of numbers for models, or images for learners from outside."""

from __future__ import annotations

import gymnasium
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError, nearest
from jensen.typing import Array, Float

FORMS = ("vector", "image")
"""A row of floats from 0 to 1, line by line from the top; or bytes (side, side, 1)."""


def frame_space(form: str, side: int, name: str) -> gymnasium.spaces.Box:
    """Return the space of square grey pictures.

    Raises:
        InputError: There is no such form.
    """
    if form not in FORMS:
        raise InputError(f"{name}: observations is {form!r}{nearest(form, FORMS)}")
    if form == "image":
        return gymnasium.spaces.Box(0, 255, (side, side, 1), np.uint8)
    return gymnasium.spaces.Box(0.0, 1.0, (side * side,), np.float32)


def framed(picture: Float[Array, "p"], form: str, side: int) -> Array:
    """Return a picture in the form asked for."""
    if form == "vector":
        return picture
    return jnp.round(255 * picture).astype(jnp.uint8).reshape(side, side, 1)


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """Return a picture about 192 pixels wide, as red, green and blue."""
    grey = np.round(255 * picture).astype(np.uint8).reshape(side, side)
    times = max(round(192 / side), 1)
    return grey.repeat(times, 0).repeat(times, 1)[..., None].repeat(3, 2)
