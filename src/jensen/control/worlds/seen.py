"""Worlds whose state can be read off one observation."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from jensen.control.worlds.base import ObservedWorld
from jensen.core import AbstractWorld, Moved
from jensen.typing import Array, Float, PRNGKey, PyTree


class SeenWorld(ObservedWorld):
    """A world whose state can be read off one observation: a simulator's true dynamics, to plan with.

    Args:
        world: The dynamics.
        read: From an observation to the state.
        observation_dim: Columns of an observation.
    """

    world: AbstractWorld
    read: Callable[[Array], PyTree]
    observation_dim: int

    def __init__(self, world: AbstractWorld, read: Callable[[Array], PyTree], observation_dim: int):
        self.world, self.read, self.observation_dim = world, read, observation_dim

    @property
    def action_dim(self) -> int:
        """Columns of an action."""
        return self.world.action_dim

    def step(self, state: PyTree, action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Take the world's step."""
        return self.world.step(state, action, key=key)

    def begin(self) -> PyTree:
        """Return a state nobody looks at."""
        return self.read(jnp.zeros(self.observation_dim))

    def observe(
        self, belief: PyTree, observation: Float[Array, "s"], action: Float[Array, "a"], *, key: PRNGKey
    ) -> PyTree:
        """Read the state, in the precision that the world computes in."""
        return self.read(jnp.asarray(observation, jnp.result_type(float)))

    def expected(self, belief: PyTree) -> PyTree:
        """Return the state."""
        return belief

    def drawn(self, belief: PyTree, *, key: PRNGKey) -> PyTree:
        """Return the state."""
        return belief
