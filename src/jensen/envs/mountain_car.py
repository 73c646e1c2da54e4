"""Gymnasium's mountain cars, paid only at the top."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.envs.canvas import AGENT, GOALS, OBSTACLE, Canvas, Circle, Rectangle
from jensen.envs.simulator import Simulator
from jensen.typing import Array, Float, PRNGKey, Scalar

LEFT, RIGHT, FASTEST, GRAVITY = -1.2, 0.6, 0.07, 0.0025


class MountainCar(Simulator):
    """A weak car in a valley; the top pays 1 and ends the episode, nothing else pays.

    Attributes:
        goal: Where the top is.
    """

    goal: eqx.AbstractVar[float]

    @abstractmethod
    def push(self, action: Float[Array, "a"]) -> Scalar:
        """Return what the action adds to the velocity."""

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Position and velocity."""
        low, high = np.array([LEFT, -FASTEST], np.float32), np.array([RIGHT, FASTEST], np.float32)
        return gymnasium.spaces.Box(low, high, dtype=np.float32)

    def initial(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """Rest near the bottom."""
        return jnp.array([1.0, 0.0]) * jax.random.uniform(key, (), minval=-0.6, maxval=-0.4)

    def step(self, state: Float[Array, "2"], action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Push: v' = v + push − 0.0025 cos 3x, x' = x + v', both bounded; the left wall takes the speed."""
        position, velocity = state
        velocity = velocity + self.push(action) - GRAVITY * jnp.cos(3 * position)
        velocity = jnp.clip(velocity, -FASTEST, FASTEST)
        position = jnp.clip(position + velocity, LEFT, RIGHT)
        velocity = jnp.where((position <= LEFT) & (velocity < 0), 0.0, velocity)
        after = jnp.stack([position, velocity])
        there = self.info(after)["is_success"].astype(jnp.float32)
        return Moved(after, there, 1.0 - there)

    def observe(self, state: Float[Array, "2"]) -> Float[Array, "2"]:
        """Return the state."""
        return state

    def info(self, state: Float[Array, "2"]) -> dict[str, Array]:
        """Return ``is_success``: at the top, and not on the way back."""
        return {"is_success": (state[0] >= self.goal) & (state[1] >= 0)}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the hill, the car and the goal."""
        canvas = Canvas(Rectangle(LEFT, -0.1, RIGHT, 1.2))
        x = np.linspace(LEFT, RIGHT, 60)
        canvas.line(np.stack([x, _height(x)], -1), 0.01, OBSTACLE)
        canvas.disc(Circle(self.goal, float(_height(self.goal)), 0.05), GOALS[-1])
        canvas.disc(Circle(float(state[0]), float(_height(state[0])) + 0.05, 0.05), AGENT)
        return canvas.array()


class SparseMountainCar(MountainCar):
    """Swing a weak car out of a valley, pushing left, not at all, or right.

    The dynamics, the start and the limit of 200 steps are those of ``MountainCar-v0``. The state, which is
    the observation, is position and velocity, (2,).

    Source: Gymnasium's MountainCar-v0; Moore 1990.
    """

    action_dim: ClassVar[int] = 3
    max_steps: ClassVar[int | None] = 200
    goal: ClassVar[float] = 0.5

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Left, none, right."""
        return gymnasium.spaces.Discrete(3)

    def push(self, action: Float[Array, "3"]) -> Scalar:
        """Return ±0.001 or 0."""
        return 0.001 * (jnp.argmax(action) - 1.0)


class SparseMountainCarContinuous(MountainCar):
    """As `SparseMountainCar`, pushed by any force in [−1, 1]; pushing costs nothing.

    The dynamics, the start and the limit of 999 steps are those of ``MountainCarContinuous-v0``.

    Source: Gymnasium's MountainCarContinuous-v0; the sparse reward is that of Houthooft et al. 2016.
    """

    action_dim: ClassVar[int] = 1
    max_steps: ClassVar[int | None] = 999
    goal: ClassVar[float] = 0.45

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Forces."""
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def push(self, action: Float[Array, "1"]) -> Scalar:
        """Return up to ±0.0015."""
        return 0.0015 * jnp.clip(action[0], -1.0, 1.0)


def _height(x: Any) -> Any:
    return 0.45 * np.sin(3 * np.asarray(x)) + 0.55
