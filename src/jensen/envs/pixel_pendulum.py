"""Gymnasium's pendulum, seen only as a small grey picture."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.datasets.pendulum import MAX_TORQUE, SIDE, drawn, move
from jensen.envs.frames import frame_space, framed
from jensen.envs.simulator import Simulator
from jensen.typing import Array, Float, PRNGKey, Scalar


class PixelPendulum(Simulator):
    """Swing a pendulum up and hold it there, seeing where it is but not how fast it moves.

    Dynamics, reward, reset and the limit of 200 steps are those of ``Pendulum-v1``:
    r = −(θ² + 0.1 θ̇² + 0.001 u²), θ within ±π and upright at 0, before the step. The state is θ (counted
    on through whole turns) in rad and θ̇ in rad/s, (2,); the action the torque u in ±2, (1,). One picture of
    32 × 32 is the whole observation, as `datasets.pendulum` draws it.

    Args:
        observations: ``"vector"`` for a row of 1024 floats from 0 to 1, as models read it; ``"image"`` for
            bytes (32, 32, 1).

    Source: Gymnasium's Pendulum-v1.

    Example:
        >>> import jax
        >>> world = PixelPendulum()
        >>> state = world.initial(key=jax.random.key(0))
        >>> world.observe(state).shape, state.shape
        ((1024,), (2,))
    """

    action_dim: ClassVar[int] = 1
    max_steps: ClassVar[int | None] = 200
    image_shape: ClassVar[tuple[int, int]] = (SIDE, SIDE)
    observations: str = eqx.field(static=True)

    def __init__(self, observations: str = "vector"):
        frame_space(observations, SIDE, "PixelPendulum")
        self.observations = observations

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        """Torques."""
        return gymnasium.spaces.Box(-MAX_TORQUE, MAX_TORQUE, (1,), np.float32)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Pictures."""
        return frame_space(self.observations, SIDE, "PixelPendulum")

    def initial(self, *, key: PRNGKey) -> Float[Array, "2"]:
        """Draw θ uniformly within ±π and θ̇ within ±1."""
        return jax.random.uniform(key, (2,), minval=-1.0) * jnp.array([jnp.pi, 1.0])

    def step(self, state: Float[Array, "2"], action: Float[Array, "1"], *, key: PRNGKey) -> Moved:
        """Swing on for 0.05 s; no episode ends by itself."""
        return Moved(move(state, action[0]), reward(state, action[0]), jnp.ones(()))

    def observe(self, state: Float[Array, "2"]) -> Array:
        """Draw the rod."""
        return framed(drawn(state[:1])[0], self.observations, SIDE)

    def info(self, state: Float[Array, "2"]) -> dict[str, Array]:
        """Return the true ``state``."""
        return {"state": state}

    def picture(self, state: np.ndarray) -> np.ndarray:
        """Draw the observation six times as large."""
        grey = np.asarray(drawn(np.asarray(state[:1], np.float64))[0]).reshape(SIDE, SIDE)
        return np.kron(np.round(255 * grey).astype(np.uint8), np.ones((6, 6), np.uint8))[..., None].repeat(
            3, 2
        )


def reward(state: Float[Array, "2"], torque: Scalar) -> Scalar:
    """Return −(θ² + 0.1 θ̇² + 0.001 u²), θ taken within ±π."""
    angle = jnp.mod(state[0] + jnp.pi, 2 * jnp.pi) - jnp.pi
    torque = jnp.clip(torque, -MAX_TORQUE, MAX_TORQUE)
    return -(angle**2 + 0.1 * state[1] ** 2 + 0.001 * torque**2)
