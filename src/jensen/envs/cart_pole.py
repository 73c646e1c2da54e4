"""Gymnasium's cart and pole, which hangs at first."""

from __future__ import annotations

from typing import ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.envs.canvas import AGENT, OBSTACLE, PATH, Canvas, Circle, Rectangle
from jensen.envs.simulator import Simulator
from jensen.typing import Array, Float, PRNGKey

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TIME_STEP = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TRACK = 2.4


class CartPoleSwingUp(Simulator):
    """Swing a pole up by pushing the cart it hangs from, and balance it.

    The dynamics are those of ``CartPole-v1`` (Euler, 0.02 s), the force any in ±10 N. The pole starts
    hanging, all within ±0.05 of rest. r = (1 + cos θ)/2 after the step; leaving the track ends the episode,
    else 500 steps do. The state is x, ẋ, θ (upright at 0), θ̇; the observation x, ẋ, cos θ, sin θ, θ̇; the
    action the share of the force in [−1, 1], (1,).

    Source: Gymnasium's CartPole-v1; Barto, Sutton & Anderson 1983.
    """

    action_dim: ClassVar[int] = 1
    max_steps: ClassVar[int | None] = 500

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Shares of the force."""
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Cart, then pole."""
        high = np.array([2 * TRACK, np.inf, 1.0, 1.0, np.inf], np.float32)
        return gymnasium.spaces.Box(-high, high, dtype=np.float32)

    def initial(self, *, key: PRNGKey) -> Float[Array, "4"]:
        """Hang, nearly at rest."""
        return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05) + jnp.array([0.0, 0.0, jnp.pi, 0.0])

    def step(self, state: Float[Array, "4"], action: Float[Array, "1"], *, key: PRNGKey) -> Moved:
        """Push for 0.02 s."""
        x_dot, angle, angle_dot = state[1:]
        force = FORCE * jnp.clip(action[0], -1.0, 1.0)
        sin, cos, mass = jnp.sin(angle), jnp.cos(angle), CART + POLE
        push = (force + POLE * HALF_LENGTH * angle_dot**2 * sin) / mass
        turn = (GRAVITY * sin - cos * push) / (HALF_LENGTH * (4 / 3 - POLE * cos**2 / mass))
        pull = push - POLE * HALF_LENGTH * turn * cos / mass
        after = state + TIME_STEP * jnp.stack([x_dot, pull, angle_dot, turn])
        on_track = jnp.abs(after[0]) <= TRACK
        return Moved(after, (1 + jnp.cos(after[2])) / 2, on_track.astype(jnp.float32))

    def observe(self, state: Float[Array, "4"]) -> Float[Array, "5"]:
        """Return x, ẋ, cos θ, sin θ, θ̇."""
        x, x_dot, angle, angle_dot = state
        return jnp.stack([x, x_dot, jnp.cos(angle), jnp.sin(angle), angle_dot])

    def info(self, state: Float[Array, "4"]) -> dict[str, Array]:
        """Return nothing."""
        return {}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw track, cart and pole."""
        x, angle = float(state[0]), float(state[2])
        canvas = Canvas(Rectangle(-TRACK - 0.3, -1.3, TRACK + 0.3, 1.3))
        canvas.line(np.array([[-TRACK, 0.0], [TRACK, 0.0]]), 0.02, OBSTACLE)
        canvas.box(Rectangle(x - 0.25, -0.12, x + 0.25, 0.12), PATH)
        tip = [x + 2 * HALF_LENGTH * np.sin(angle), 2 * HALF_LENGTH * np.cos(angle)]
        canvas.line(np.array([[x, 0.0], tip]), 0.05, AGENT)
        canvas.disc(Circle(x, 0.0, 0.06), OBSTACLE)
        return canvas.array()
