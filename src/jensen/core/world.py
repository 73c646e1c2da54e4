"""Worlds that can be stepped without being observed: a simulator's own dynamics, or a learned model's."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx

from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar


class Moved(NamedTuple):
    """What one action brought.

    Attributes:
        state: The state after it, like the one before.
        reward: r(s_t, a_t, s_{t+1}).
        continues: 1 where the episode goes on, 0 where it has ended by itself; a probability where a model
            foresees it.
    """

    state: PyTree
    reward: Scalar
    continues: Scalar


class AbstractWorld(eqx.Module):
    """Something an agent can act in, one state at a time; ``jax.vmap`` is the caller's.

    Attributes:
        action_dim: Columns of an action: those of a Box in its own units, or one per choice of a Discrete
            space, of which the world reads a one-hot row.
    """

    action_dim: eqx.AbstractVar[int]

    @abstractmethod
    def step(self, state: PyTree, action: Float[Array, "a"], *, key: PRNGKey) -> Moved:
        """Return what the action brings."""
