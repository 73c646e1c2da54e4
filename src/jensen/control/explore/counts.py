"""Exact visit counts."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.control.explore.transitions import Foresees, Transitions
from jensen.errors import at_least, positive
from jensen.typing import Array, Int, PRNGKey, Scalar, Shaped


class Counts(Foresees):
    r"""(n(s, a) + 1)^−exponent, n the visits before: exponent ½ is 1/√n with this visit counted.

    Args:
        num_states: States have codes 0..S−1.
        num_actions: Actions have codes 0..A−1.
        exponent: Of the count. ½ is the width of a confidence interval; 1 adds up to finite sums.

    Raises:
        InputError: A number that is not positive.

    References:
        Strehl & Littman 2008, Journal of Computer and System Sciences.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> step = Transitions(jnp.array([0]), jnp.array([1]), jnp.array([2]))
        >>> seen = Counts(3, 2)
        >>> for _ in range(3):
        ...     seen = seen.update(step, key=jax.random.key(0))
        >>> seen.bonus(step).tolist(), int(seen.visits[0, 1])
        ([0.5], 3)
    """

    visits: Int[Array, "s a"]
    exponent: float

    def __init__(self, num_states: int, num_actions: int, *, exponent: float = 0.5):
        at_least("Counts", 1, num_states=num_states, num_actions=num_actions)
        positive("Counts", exponent=exponent)
        self.visits = jnp.zeros((num_states, num_actions), jnp.int32)
        self.exponent = exponent

    def ahead(self, observation: Shaped[Array, ""], action: Shaped[Array, ""]) -> Scalar:
        """Return (n(s, a) + 1)^−exponent."""
        return (self.visits[observation, action] + 1.0) ** -self.exponent

    def bonus(self, transitions: Transitions) -> Array:
        """Return the same for every transition."""
        state, action, _ = transitions.codes("Counts", *self.visits.shape)
        worth = jax.vmap(self.ahead)(state, action)
        return transitions.earned(worth)

    def update(self, transitions: Transitions, *, key: PRNGKey) -> Counts:
        """Count."""
        where = transitions.codes("Counts", *self.visits.shape)[:2]
        more = (transitions.happened > 0).astype(jnp.int32)
        return eqx.tree_at(lambda b: b.visits, self, self.visits.at[where].add(more))
