"""What a simulated world is: pure functions of a state, so that thousands run in one ``vmap``."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod

import equinox as eqx
import gymnasium
import numpy as np

from jensen.core import AbstractWorld
from jensen.typing import Array, PRNGKey, PyTree


class Simulator(AbstractWorld):
    """A world with a start, an observation and a picture; `SimulatorEnv` and `SimulatorVectorEnv` wrap it.

    Members give, besides these, ``step(state, action, *, key)`` of `core.AbstractWorld`, which trusts the
    action to lie in the space; of a Discrete space it reads a one-hot row.

    Attributes:
        action_space: A Box of reals, or a Discrete space from 0.
        observation_space: A Box.
        max_steps: After how many steps an episode is cut off; None where the world ends it.
    """

    action_space: eqx.AbstractVar[gymnasium.spaces.Box | gymnasium.spaces.Discrete]
    observation_space: eqx.AbstractVar[gymnasium.spaces.Box]
    max_steps: eqx.AbstractVar[int | None]

    @abstractmethod
    def initial(self, *, key: PRNGKey) -> PyTree:
        """Draw the state in which an episode begins."""

    @abstractmethod
    def observe(self, state: PyTree) -> Array:
        """Return what is seen of a state, of the observation space's shape and type."""

    @abstractmethod
    def info(self, state: PyTree) -> dict[str, Array]:
        """Return what else Gymnasium's ``info`` says of a state; {} for nothing."""

    @abstractmethod
    def picture(self, state: PyTree) -> np.ndarray:
        """Draw a state as red, green and blue, (H, W, 3) uint8; on the host, not traced."""
