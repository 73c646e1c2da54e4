"""Disagreement of an ensemble of tables."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.control.explore.gain import check_outcomes, next_state, place_of
from jensen.control.explore.transitions import Foresees, Transitions
from jensen.errors import at_least, check_key, positive
from jensen.typing import Array, Float, PRNGKey, Scalar, Shaped


class TableDisagreement(Foresees):
    """Variance over M tables of p(outcome | s, a), summed over outcomes; states and actions are codes.

    Tables start at random beliefs of their own, worth ``prior`` visits, and each counts about half of the
    transitions: they agree where much was seen, and nowhere else. An outcome outside 0..K−1, like the −1
    shown after an end, earns nothing and is not counted.

    Args:
        num_states: S.
        num_actions: A.
        num_outcomes: K; by default the next state is the outcome, K = S.
        outcome: (s, s') to a code 0..K−1.
        members: M.
        prior: Visits that the random beliefs are worth.
        key: Randomness of the beliefs.

    Raises:
        InputError: A number that is not positive, fewer than two members, unnamed outcomes.

    References:
        Osband, Aslanides & Cassirer 2018, Randomized prior functions.
    """

    counts: Float[Array, "m s a k"]
    outcome: Callable[[Array, Array], Array]

    def __init__(
        self,
        num_states: int,
        num_actions: int,
        num_outcomes: int | None = None,
        *,
        outcome: Callable[[Array, Array], Array] | None = None,
        members: int = 10,
        prior: float = 1.0,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("TableDisagreement", 1, num_states=num_states, num_actions=num_actions)
        at_least("TableDisagreement", 2, members=members)
        check_outcomes("TableDisagreement", num_outcomes, outcome)
        positive("TableDisagreement", prior=prior)
        shape = (members, num_states, num_actions, num_outcomes or num_states)
        drawn = jax.random.exponential(key, shape)
        self.counts = prior * drawn / drawn.sum(-1, keepdims=True)
        self.outcome = next_state if outcome is None else outcome

    def ahead(self, observation: Shaped[Array, ""], action: Shaped[Array, ""]) -> Scalar:
        """Return the variance."""
        rows = self.counts[:, observation, action]
        return (rows / rows.sum(-1, keepdims=True)).var(0).sum()

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the same for every transition, 0 of an outcome outside 0..K−1."""
        seen, action, place = self._places(transitions)
        worth = jax.vmap(self.ahead)(seen, action)
        return transitions.earned(jnp.where(place < self.counts.shape[3], worth, 0.0))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> TableDisagreement:
        """Let each table count its half."""
        where = self._places(transitions)
        weight = transitions.happened * jax.random.bernoulli(key, 0.5, (len(self.counts), len(where[0])))
        counts = jax.vmap(lambda table, weight: table.at[where].add(weight))(self.counts, weight)
        return eqx.tree_at(lambda b: b.counts, self, counts)

    def _places(self, transitions: Transitions) -> tuple[Array, Array, Array]:
        """Return states, actions and outcomes."""
        seen, action, after = transitions.codes("TableDisagreement", *self.counts.shape[1:3])
        return seen, action, place_of(jax.vmap(self.outcome)(seen, after), self.counts.shape[3])
