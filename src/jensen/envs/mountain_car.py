"""Gymnasium's mountain cars, paid only at the top."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.envs.canvas import AGENT, GOALS, OBSTACLE, Canvas, Circle, Rectangle
from jensen.envs.simulator import Simulator
from jensen.typing import Array, Float, PRNGKey, Scalar

LEFT, RIGHT, FASTEST, GRAVITY = -1.2, 0.6, 0.07, 0.0025


class SparseMountainCar(Simulator):
    """Swing a weak car out of a valley; the top pays 1 and ends the episode, nothing else pays.

    The dynamics, the start and the limit of 200 steps are those of ``MountainCar-v0``. The state, which is
    the observation, is position and velocity, (2,). Actions: push left, none, right.

    Source: Gymnasium's MountainCar-v0; Moore 1990.
    """

    action_dim: ClassVar[int] = 3
    max_steps: ClassVar[int | None] = 200
    force: ClassVar[float] = 0.001
    goal: ClassVar[float] = 0.5

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Left, none, right."""
        return gymnasium.spaces.Discrete(3)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Position and velocity."""
        return _space()

    def initial(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """Rest near the bottom."""
        return _rest(key)

    def step(self, state: Float[Array, "2"], action: Float[Array, "3"], *, key: PRNGKey) -> Moved:
        """Push."""
        return _pushed(state, self.force * (jnp.argmax(action) - 1.0), self.goal)

    def observe(self, state: Float[Array, "2"]) -> Float[Array, "2"]:
        """Return the state."""
        return state

    def info(self, state: Float[Array, "2"]) -> dict[str, Array]:
        """Return ``is_success``."""
        return {"is_success": _there(state, self.goal)}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the hill, the car and the goal."""
        return _hill(state, self.goal)


class SparseMountainCarContinuous(Simulator):
    """As `SparseMountainCar`, pushed by any force in [−1, 1]; pushing costs nothing.

    The dynamics, the start and the limit of 999 steps are those of ``MountainCarContinuous-v0``.

    Source: Gymnasium's MountainCarContinuous-v0; the sparse reward is that of Houthooft et al. 2016.
    """

    action_dim: ClassVar[int] = 1
    max_steps: ClassVar[int | None] = 999
    force: ClassVar[float] = 0.0015
    goal: ClassVar[float] = 0.45

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Forces."""
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Position and velocity."""
        return _space()

    def initial(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """Rest near the bottom."""
        return _rest(key)

    def step(self, state: Float[Array, "2"], action: Float[Array, "1"], *, key: PRNGKey) -> Moved:
        """Push."""
        return _pushed(state, self.force * jnp.clip(action[0], -1.0, 1.0), self.goal)

    def observe(self, state: Float[Array, "2"]) -> Float[Array, "2"]:
        """Return the state."""
        return state

    def info(self, state: Float[Array, "2"]) -> dict[str, Array]:
        """Return ``is_success``."""
        return {"is_success": _there(state, self.goal)}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the hill, the car and the goal."""
        return _hill(state, self.goal)


def _space() -> gymnasium.spaces.Box:
    low, high = np.array([LEFT, -FASTEST], np.float32), np.array([RIGHT, FASTEST], np.float32)
    return gymnasium.spaces.Box(low, high, dtype=np.float32)


def _rest(key: PRNGKey) -> Float[Array, "2"]:
    return jnp.array([1.0, 0.0]) * jax.random.uniform(key, (), minval=-0.6, maxval=-0.4)


def _pushed(state: Float[Array, "2"], push: Scalar, goal: float) -> Moved:
    """V' = v + push − 0.0025 cos 3x and x' = x + v', both bounded; the left wall takes the speed."""
    position, velocity = state
    velocity = jnp.clip(velocity + push - GRAVITY * jnp.cos(3 * position), -FASTEST, FASTEST)
    position = jnp.clip(position + velocity, LEFT, RIGHT)
    velocity = jnp.where((position <= LEFT) & (velocity < 0), 0.0, velocity)
    after = jnp.stack([position, velocity])
    there = _there(after, goal).astype(jnp.float32)
    return Moved(after, there, 1.0 - there)


def _there(state: Float[Array, "2"], goal: float) -> Array:
    return (state[0] >= goal) & (state[1] >= 0)


def _hill(state: Float[np.ndarray, "2"], goal: float) -> np.ndarray:
    canvas = Canvas(Rectangle(LEFT, -0.1, RIGHT, 1.2))
    x = np.linspace(LEFT, RIGHT, 60)
    canvas.line(np.stack([x, _height(x)], -1), 0.01, OBSTACLE)
    canvas.disc(Circle(goal, float(_height(goal)), 0.05), GOALS[-1])
    canvas.disc(Circle(float(state[0]), float(_height(state[0])) + 0.05, 0.05), AGENT)
    return canvas.array()


def _height(x: Any) -> Any:
    return 0.45 * np.sin(3 * np.asarray(x)) + 0.55
