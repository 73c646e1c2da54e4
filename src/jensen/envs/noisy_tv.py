"""Two rooms: a television that never shows the same twice in one, the goal in the other."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Moved
from jensen.envs.canvas import BACKGROUND, GOALS, OBSTACLE, PATH
from jensen.envs.grid import cell_picture
from jensen.envs.simulator import Simulator
from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, Int, PRNGKey

MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))
"""Rows and columns: up, down, left, right; the last action presses the remote control."""
_PRESS = 4


class Watching(NamedTuple):
    """A state of `NoisyTV`.

    Attributes:
        cell: Where the agent is, row · columns + column.
        screen: Pixels, 0 or 1, (P,).
        fresh: 1 where the last step redrew them.
    """

    cell: Int[Array, ""]
    screen: Float[Array, "p"]
    fresh: Float[Array, ""]


class NoisyTV(Simulator):
    """Find the goal, next door to a screen that shows fresh noise whenever the remote control is pressed.

    Two square rooms with a door between them. Four actions move, walls stop. The fifth presses the remote
    control: in the left room every pixel of the screen is drawn anew, 0 or 1 with equal probability;
    elsewhere nothing happens. Outside the left room the screen is dark, and stays so until it is pressed.
    Episodes begin in the middle of the left room. The far corner of the right room pays 1 and ends the
    episode; nothing else pays.

    The observation is a one-hot row of the cells, then the pixels. ``noise_mask`` says which columns are the
    screen; ``info["noise"]`` is 1 after a step that redrew it, so that the share of a bonus spent on noise
    is its sum over those steps over its sum.

    Args:
        room: Side of a room, in cells.
        pixels: P; the screen has 2^P pictures.

    References:
        Burda et al. 2019, "Large-scale study of curiosity-driven learning", where the television is.

    Example:
        >>> world = NoisyTV()
        >>> world.observation_space.shape, int(world.noise_mask.sum())
        ((63,), 8)
    """

    action_dim: ClassVar[int] = 5
    max_steps: ClassVar[int | None] = 100
    room: int = eqx.field(static=True)
    pixels: int = eqx.field(static=True)

    def __init__(self, room: int = 5, pixels: int = 8):
        if room < 2 or not 1 <= pixels <= 24:
            raise InputError(f"NoisyTV: room={room}, pixels={pixels}; at least 2, and 1 to 24")
        self.room, self.pixels = int(room), int(pixels)

    @property
    def action_space(self) -> gymnasium.spaces.Discrete:
        """Four moves and the remote control."""
        return gymnasium.spaces.Discrete(5)

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        """Cells and pixels."""
        return gymnasium.spaces.Box(0.0, 1.0, (self.num_cells + self.pixels,), np.float32)

    @property
    def num_cells(self) -> int:
        """Cells of the grid, the wall's included."""
        return self.room * (2 * self.room + 1)

    @property
    def num_states(self) -> int:
        """Cells times pictures."""
        return self.num_cells * 2**self.pixels

    @property
    def cells(self) -> Int[np.ndarray, "c 2"]:
        """Row and column of each cell."""
        return np.stack(np.divmod(np.arange(self.num_cells), 2 * self.room + 1), -1)

    @property
    def noise_mask(self) -> Bool[np.ndarray, "o"]:
        """Which columns of an observation are the screen."""
        return np.arange(self.num_cells + self.pixels) >= self.num_cells

    def index(self, state: Watching) -> Int[Array, ""]:
        """Number a state, 0 to ``num_states`` − 1: cell · 2^P + picture."""
        bits = 2 ** jnp.arange(self.pixels)
        return state.cell * 2**self.pixels + (state.screen.astype(jnp.int32) * bits).sum()

    def initial(self, *, key: PRNGKey) -> Watching:
        """Begin in the middle of the left room, the screen dark."""
        middle = self.room // 2 * (2 * self.room + 2)
        return Watching(jnp.int32(middle), jnp.zeros(self.pixels), jnp.zeros(()))

    def step(self, state: Watching, action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Move, or press."""
        columns = 2 * self.room + 1
        choice = jnp.argmax(action)
        row, column = (jnp.array(jnp.divmod(state.cell, columns)) + jnp.array(MOVES)[choice]).astype(
            jnp.int32
        )
        row, column = jnp.clip(row, 0, self.room - 1), jnp.clip(column, 0, columns - 1)
        blocked = (column == self.room) & (row != self.room // 2)
        cell = jnp.where(blocked, state.cell, row * columns + column)
        at_home = cell % columns < self.room
        fresh = at_home & (choice == _PRESS)
        new = jax.random.bernoulli(key, 0.5, (self.pixels,)).astype(jnp.float32)
        screen = jnp.where(fresh, new, jnp.where(at_home, state.screen, 0.0))
        found = (cell == self.num_cells - 1).astype(jnp.float32)
        return Moved(Watching(cell, screen, fresh.astype(jnp.float32)), found, 1.0 - found)

    def observe(self, state: Watching) -> Float[Array, "o"]:
        """Return the cell as a one-hot row, and the screen."""
        return jnp.concatenate([jax.nn.one_hot(state.cell, self.num_cells), state.screen])

    def info(self, state: Watching) -> dict[str, Array]:
        """Return the ``cell``, and ``noise``: 1 where the screen was redrawn."""
        return {"cell": state.cell, "noise": state.fresh}

    def picture(self, state: Watching) -> np.ndarray:
        """Draw the rooms, the goal, and the screen on top of them."""
        columns = 2 * self.room + 1
        colours = np.full((self.room, columns, 3), BACKGROUND)
        colours[:, self.room] = OBSTACLE
        colours[self.room // 2, self.room] = BACKGROUND
        colours[-1, -1] = GOALS[-1]
        rooms = cell_picture(colours, divmod(int(state.cell), columns))
        lit = np.where(np.asarray(state.screen)[:, None] > 0.5, GOALS[0], PATH).astype(np.uint8)
        shown = lit[np.arange(rooms.shape[1]) * self.pixels // rooms.shape[1]]
        return np.concatenate([np.broadcast_to(shown, (16, *shown.shape)), rooms])
