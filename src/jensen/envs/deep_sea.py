"""Deep Sea: one treasure at the end of N right choices, and a small cost on the way to it."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.envs.canvas import BACKGROUND, GOALS, OBSTACLE
from jensen.envs.grid import cell_picture
from jensen.envs.tabular import Outcomes, TabularSimulator, one_hot, share
from jensen.errors import InputError
from jensen.typing import Array, ArrayLike, Float, Int

COST = 0.01
"""Of going right all the way down."""


class DeepSea(TabularSimulator):
    r"""Fall N rows, going left or right in each; only right in every row finds the treasure.

    An N × N grid, from the upper left corner one row down a step, one column left or right; walls stop.
    Going right costs 0.01/N; right in the lower right corner pays 1. So the best return is 0.99, and a
    random policy finds the treasure once in 2^N episodes. Which of the two actions is right is drawn for
    each cell, once, from ``mapping_seed``, and stays. The episode ends after N steps.

    The stochastic variant: right slips with probability 1/N, falling straight down (its cost is paid), and
    the reward in both ends of the last row carries noise of standard deviation 1. With p = 1 − 1/N the best
    return is p^{N−1} − (0.01/N) Σ_{k<N} p^k: who has slipped need not pay on, which the usual formula
    p^{N−1} − 0.01 overlooks. As in bsuite, the last step right, which pays, does not slip.

    The observation is a one-hot row of N², row by row; zeros after the end.

    Args:
        size: N.
        stochastic: Whether it is that variant.
        mapping_seed: Of what the actions mean; None for 0 left and 1 right in every cell.

    References:
        Osband et al. 2019, "Deep exploration via randomized value functions"; Osband et al. 2020,
        "Behaviour suite for reinforcement learning".

    Example:
        >>> from jensen.algorithms.mdp import backward_induction
        >>> sea = DeepSea(4)
        >>> round(float(backward_induction(sea.mdp(), 4).values[0, 0]), 4)
        0.99
    """

    action_dim: ClassVar[int] = 2
    max_steps: ClassVar[int | None] = None
    size: int = eqx.field(static=True)
    stochastic: bool = eqx.field(static=True)
    mapping: Int[Array, "n n"]

    def __init__(self, size: int = 10, stochastic: bool = False, mapping_seed: int | None = 0):
        if size < 2:
            raise InputError(f"DeepSea: size is {size}; it must be at least 2")
        self.size, self.stochastic = int(size), bool(stochastic)
        shape = self.size, self.size
        self.mapping = jnp.ones(shape, jnp.int32)
        if mapping_seed is not None:
            self.mapping = jax.random.bernoulli(jax.random.key(mapping_seed), 0.5, shape).astype(jnp.int32)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Two choices."""
        return gymnasium.spaces.Discrete(2)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """One-hot rows."""
        return gymnasium.spaces.Box(0.0, 1.0, (self.num_states,), np.float32)

    @property
    def num_states(self) -> int:
        """N²."""
        return self.size**2

    @property
    def start(self) -> Float[Array, "s"]:
        """The upper left corner."""
        return one_hot(jnp.int32(0), self.num_states)

    @property
    def cells(self) -> Int[np.ndarray, "s 2"]:
        """Rows and columns, row by row."""
        return np.stack(np.divmod(np.arange(self.num_states), self.size), -1)

    @property
    def moves(self) -> Int[np.ndarray, "s a 2"]:
        """Down, and left or right."""
        right = np.arange(2) == np.asarray(self.mapping).reshape(-1, 1)
        return np.stack([np.ones_like(right, int), np.where(right, 1, -1)], -1)

    def outcomes(self, state: Int[Array, ""], action: Int[Array, ""]) -> Outcomes:
        """List where the action leads, and where its slip does."""
        n = self.size
        row, column = jnp.divmod(state, n)
        right = action == self.mapping[row, column]
        last = row == n - 1
        slips = right / n if self.stochastic else jnp.zeros(())
        noisy = (last & ((column == 0) | (column == n - 1))) if self.stochastic else jnp.zeros(())
        columns = jnp.stack([column, jnp.clip(column + jnp.where(right, 1, -1), 0, n - 1)])
        reward = jnp.where(right, (column == n - 1) - COST / n, 0.0)
        return Outcomes(
            share(slips),
            (row + 1) * n + columns,
            jnp.broadcast_to(reward, (2,)),
            jnp.broadcast_to(1.0 * noisy, (2,)),
            jnp.broadcast_to(1.0 - last, (2,)),
        )

    def observe(self, state: Int[Array, ""]) -> Float[Array, "s"]:
        """Return the one-hot row of the cell."""
        return one_hot(state, self.num_states)

    def picture(self, state: ArrayLike) -> np.ndarray:
        """Draw the sea, its reachable half light, the treasure and the diver."""
        n = self.size
        colours = np.where(np.tri(n, dtype=bool)[..., None], BACKGROUND, OBSTACLE)
        colours[-1, -1] = GOALS[0]
        return cell_picture(colours, divmod(int(np.asarray(state)), n))
