"""A goal beside a cliff, and a wind that blows towards it."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import gymnasium
import jax.numpy as jnp
import numpy as np

from jensen.envs.canvas import BACKGROUND, GOALS, OBSTACLE, START
from jensen.envs.grid import cell_picture
from jensen.envs.tabular import Outcomes, TabularSimulator, one_hot, share
from jensen.errors import InputError
from jensen.typing import Array, ArrayLike, Float, Int


class CliffWorld(TabularSimulator):
    """Walk over a grid to the goal in its upper right corner; all between it and the upper left is cliff.

    Actions move diagonally: up or down *and* left or right (0 up left, 1 up right, 2 down left, 3 down
    right); walls stop. With probability ``wind`` one row further up. Nothing ends an episode but its 8
    steps; r(s) of the state that is left: goal 10, cliff −10, elsewhere −1. Starts are uniform over the
    grid. With these sizes the best mean return is 39.22.

    The observation is a one-hot row, row by row from the top.

    Args:
        width: Columns, 3 or more.
        height: Rows, 2 or more.
        wind: Probability from 0 to 1.

    References:
        ``CliffWorldEnv`` of the package seals, as the inverse RL of the package imitation uses it.

    Example:
        >>> from jensen.algorithms.mdp import backward_induction
        >>> world = CliffWorld()
        >>> best = backward_induction(world.mdp(), world.max_steps).values[0]
        >>> round(float(best @ world.start), 2)
        39.22
    """

    action_dim: ClassVar[int] = 4
    max_steps: ClassVar[int | None] = 8
    width: int = eqx.field(static=True)
    height: int = eqx.field(static=True)
    wind: float = eqx.field(static=True)

    def __init__(self, width: int = 7, height: int = 4, wind: float = 0.3):
        if width < 3 or height < 2 or not 0 <= wind <= 1:
            raise InputError(
                f"CliffWorld: width={width}, height={height}, wind={wind}; at least 3, at least 2, 0 to 1"
            )
        self.width, self.height, self.wind = int(width), int(height), float(wind)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Four diagonals."""
        return gymnasium.spaces.Discrete(4)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One-hot rows."""
        return gymnasium.spaces.Box(0.0, 1.0, (self.num_states,), np.float32)

    @property
    def num_states(self) -> int:
        """Cells."""
        return self.width * self.height

    @property
    def start(self) -> Float[Array, "s"]:
        """Anywhere."""
        return jnp.full(self.num_states, 1 / self.num_states)

    @property
    def cells(self) -> Int[np.ndarray, "s 2"]:
        """Rows and columns, row by row."""
        return np.stack(np.divmod(np.arange(self.num_states), self.width), -1)

    @property
    def moves(self) -> Int[np.ndarray, "s a 2"]:
        """Up or down, left or right."""
        one = np.stack(np.divmod(np.arange(4), 2), -1) * 2 - 1
        return np.broadcast_to(one, (self.num_states, 4, 2))

    @property
    def rewards(self) -> Float[Array, "s"]:
        """r(s)."""
        top = jnp.full(self.width, -10.0).at[0].set(-1.0).at[-1].set(10.0)
        return jnp.full(self.num_states, -1.0).at[: self.width].set(top)

    def outcomes(self, state: Int[Array, ""], action: Int[Array, ""]) -> Outcomes:
        """List where the wind blows it, and where it goes without."""
        row, column = jnp.divmod(state, self.width)
        up, side = jnp.divmod(action, 2)
        columns = jnp.clip(column + 2 * side - 1, 0, self.width - 1)
        rows = jnp.clip(row + 2 * up - 1 - jnp.array([1, 0]), 0, self.height - 1)
        reward = jnp.broadcast_to(self.rewards[state], (2,))
        return Outcomes(share(self.wind), rows * self.width + columns, reward, jnp.zeros(2), jnp.ones(2))

    def observe(self, state: Int[Array, ""]) -> Float[Array, "s"]:
        """Return the one-hot row of the cell."""
        return one_hot(state, self.num_states)

    def picture(self, state: ArrayLike) -> np.ndarray:
        """Draw the grid, the cliff dark, the goal blue."""
        colours = np.full((self.height, self.width, 3), BACKGROUND)
        colours[0] = OBSTACLE
        colours[0, 0], colours[0, -1] = START, GOALS[-1]
        return cell_picture(colours, divmod(int(np.asarray(state)), self.width))
