"""A simulated pendulum under random torques, seen as vectors or as small pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.errors import InputError

GRAVITY, MASS, LENGTH, STEP = 10.0, 1.0, 1.0, 0.05
MAX_TORQUE, MAX_SPEED = 2.0, 8.0
HOLD = 10
"""Mean number of steps a torque lasts."""
SIDE, REACH, HALF_WIDTH = 32, 1.2, 0.1
"""Pixels a side; half the side and half the rod's width, in the rod's lengths."""
_BLOCK = 1024


@dataclass(frozen=True)
class Pendulum:
    """Episodes of a pendulum.

    Attributes:
        x: Observations, (N, T, D), float32: pixels from 0 to 1, or cos θ, sin θ, θ̇.
        actions: Torques, (N, T − 1, 1), float32; a_t acts between observations t and t + 1.
        states: θ (upright at 0, counted on through whole turns) in rad and θ̇ in rad/s, (N, T, 2), float64.
        image_shape: Height and width of a picture; ``None`` for vectors.
    """

    x: np.ndarray
    actions: np.ndarray
    states: np.ndarray
    image_shape: tuple[int, int] | None


def pendulum(
    episodes: int,
    steps: int,
    *,
    observations: str = "pixels",
    noise: float = 0.0,
    seed: int = 0,
) -> Pendulum:
    """Simulate a pendulum that starts anywhere and is driven by torques that change now and then.

    Step by step it is Gymnasium's ``Pendulum-v1``. A torque is uniform in ±2 and lasts 10 steps on average
    (a geometric number of them). A picture shows where the rod is, not how fast it moves.

    Args:
        episodes: N.
        steps: Observations T of an episode, 0.05 s apart.
        observations: ``"pixels"`` for 32 × 32 grey pictures, flattened; ``"states"`` for cos θ, sin θ, θ̇.
        noise: Standard deviation of Gaussian noise on every entry of x; pictures stay within 0 and 1.
        seed: Randomness of starts, torques and noise.

    Returns:
        Observations, actions and the true states.

    Raises:
        InputError: If a number is out of range or the kind of observations is unknown.

    Example:
        >>> data = pendulum(3, 5)
        >>> data.x.shape, data.actions.shape, data.states.shape, data.image_shape
        ((3, 5, 1024), (3, 4, 1), (3, 5, 2), (32, 32))
    """
    if episodes < 1 or steps < 2 or not noise >= 0:
        raise InputError(f"pendulum: episodes={episodes}, steps={steps}, noise={noise}; at least 1, 2 and 0")
    if observations not in ("pixels", "states"):
        raise InputError(f"pendulum: observations is {observations!r}; choose pixels or states")
    to_start, to_torque, to_noise = np.random.default_rng(seed).spawn(3)
    states = np.empty((episodes, steps, 2))
    states[:, 0] = to_start.uniform((-np.pi, -1.0), (np.pi, 1.0), (episodes, 2))
    torques = _torques(to_torque, (episodes, steps - 1))
    for t in range(steps - 1):
        states[:, t + 1] = move(states[:, t], torques[:, t])
    pixels = observations == "pixels"
    x = render(states[..., 0]) if pixels else vectors(states)
    if noise:
        x = x + noise * to_noise.standard_normal(x.shape)
        x = np.clip(x, 0, 1) if pixels else x
    shape = (SIDE, SIDE) if pixels else None
    return Pendulum(x.astype(np.float32), torques[..., None].astype(np.float32), states, shape)


def move(states: Any, torque: Any) -> Any:
    """Return the states one step later.

    θ̇' = θ̇ + (3g/2l · sin θ + 3u/ml²) dt, kept within ±8 rad/s, and θ' = θ + θ̇' dt.

    Args:
        states: θ and θ̇, (..., 2); an array of numpy or of jax, as is what is returned.
        torque: u, (...,), kept within ±2.

    References:
        Gymnasium's Pendulum-v1.

    Example:
        >>> move(np.array([np.pi, 0.0]), np.array(2.0)).round(3).tolist()
        [3.157, 0.3]
    """
    xp = states.__array_namespace__()
    angle, speed = states[..., 0], states[..., 1]
    torque = xp.clip(torque, -MAX_TORQUE, MAX_TORQUE)
    push = 1.5 * GRAVITY / LENGTH * xp.sin(angle) + 3.0 / (MASS * LENGTH**2) * torque
    speed = xp.clip(speed + push * STEP, -MAX_SPEED, MAX_SPEED)
    return xp.stack([angle + speed * STEP, speed], -1)


def vectors(states: np.ndarray) -> np.ndarray:
    """Return cos θ, sin θ, θ̇, (..., 3), of states (..., 2)."""
    angle, speed = states[..., 0], states[..., 1]
    return np.stack([np.cos(angle), np.sin(angle), speed], -1)


def render(angle: np.ndarray) -> np.ndarray:
    """Draw the rod white on black, its edge smoothed over one pixel; positive angles turn to the left.

    Args:
        angle: θ in rad, (...,); the rod stands upright at 0.

    Returns:
        Pictures row by row from the top, (..., 1024), float32 from 0 to 1.

    Example:
        >>> up = render(np.array(0.0)).reshape(32, 32)
        >>> float(up[:16].sum() / up.sum()).__round__(2)
        0.93
    """
    flat = np.asarray(angle, np.float64).reshape(-1)
    pictures = np.empty((len(flat), SIDE * SIDE), np.float32)
    for start in range(0, len(flat), _BLOCK):
        pictures[start : start + _BLOCK] = drawn(flat[start : start + _BLOCK])
    return pictures.reshape(*np.shape(angle), SIDE * SIDE)


def drawn(angle: Any) -> Any:
    """Return the pictures of angles (N,), numpy's or jax's, row by row from the top, (N, 1024)."""
    xp = angle.__array_namespace__()
    pixel = 2 * REACH / SIDE
    line = (np.arange(SIDE) + 0.5) * pixel - REACH
    across, up = (grid.reshape(-1).astype(np.float32) for grid in np.meshgrid(line, -line))
    tip = xp.stack([-xp.sin(angle), xp.cos(angle)], -1).astype(xp.float32)
    along = xp.clip(tip[:, :1] * across + tip[:, 1:] * up, 0.0, 1.0)  # nearest point of the rod's axis
    distance = xp.hypot(across - along * tip[:, :1], up - along * tip[:, 1:])
    return xp.clip(0.5 + (HALF_WIDTH - distance) / pixel, 0.0, 1.0)


def _torques(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Return torques that are drawn anew with probability 1/HOLD at every step."""
    fresh = rng.uniform(-MAX_TORQUE, MAX_TORQUE, shape)
    anew = rng.random(shape) < 1 / HOLD
    anew[:, 0] = True
    last = np.maximum.accumulate(np.where(anew, np.arange(shape[1]), 0), 1)
    return np.take_along_axis(fresh, last, 1)
