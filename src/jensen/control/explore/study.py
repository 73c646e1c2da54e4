"""Ways to explore a table, side by side: each by its name, many runs in one program."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.mdp import MDP, ended
from jensen.control.explore.counts import Counts
from jensen.control.explore.density import Empirical
from jensen.control.explore.ensemble_table import TableDisagreement
from jensen.control.explore.gain import DirichletGain
from jensen.control.explore.pseudo import PseudoCounts
from jensen.control.explore.tabular import Enumerated, QLearner, enumerated, learn
from jensen.control.explore.transitions import Foresees
from jensen.errors import InputError, at_least, check_key, nearest, positive
from jensen.typing import Array, Float, Int, PRNGKey

METHODS = (
    "epsilon-greedy",
    "counts",
    "untried-first",
    "optimistic-counts",
    "pseudo-counts",
    "information-gain",
    "disagreement",
    "foreseen-counts",
    "foreseen-gain",
    "foreseen-disagreement",
)
"""``epsilon-greedy``: ε = 0.1 and no bonus. ``counts``: β/√n in the reward and nothing else, which makes the
untried look worse than the tried. ``untried-first``: values start above any return, no bonus. The next four:
that, and β·bonus in the reward. ``foreseen-...``: values start at 0, and C·bonus is added to those of all
actions, tried or not, when acting and in targets (of counts 1/(n + 1)²)."""


class Outcomes(eqx.Module):
    """Which states can follow each, whatever the action; an outcome is a place in that list.

    Attributes:
        following: (S, K), repeated at the end where fewer follow.
    """

    following: Int[Array, "s k"]

    @classmethod
    def of(cls, mdp: MDP) -> Outcomes:
        """List them; the end of an episode counts as staying. Host code."""
        edges = (np.asarray(mdp.transitions) > 0).any(1)
        edges |= np.diag((np.asarray(ended(mdp)) > 0).any(-1))
        most = max(int(edges.sum(1).max()), 2)
        order = np.argsort(~edges, axis=1, kind="stable")[:, :most]
        known = np.take_along_axis(edges, order, 1)
        return cls(jnp.asarray(np.where(known, order, order[:, :1]), jnp.int32))

    @property
    def num(self) -> int:
        """K."""
        return self.following.shape[1]

    def __call__(self, state: Int[Array, ""], after: Int[Array, ""]) -> Int[Array, ""]:
        """Return the place."""
        return jnp.argmax(self.following[state] == after)


class Study(NamedTuple):
    """What R runs of a method did.

    Attributes:
        returns: Return of each episode, without any bonus, (R, E).
        covered: States ever visited by its end, (R, E).
        visits: (R, S, A).
        bonus: What the bonus foresees of each state and action in the end, (R, S, A); None without a bonus.
    """

    returns: Float[np.ndarray, "r e"]
    covered: Int[np.ndarray, "r e"]
    visits: Int[np.ndarray, "r s a"]
    bonus: Float[np.ndarray, "r s a"] | None


def study(
    mdp: MDP,
    method: str,
    episodes: int,
    *,
    horizon: int,
    runs: int = 10,
    learning_rate: float = 1.0,
    scale: float | None = None,
    key: PRNGKey,
) -> Study:
    """Let a Q-learner explore by one of `METHODS`; all runs are one compiled program.

    Args:
        mdp: The problem.
        method: One of `METHODS`.
        episodes: E.
        horizon: H, steps of an episode that does not end by itself; γ is 1 − 1/(10 H).
        runs: R.
        learning_rate: 1 where the world is deterministic, less where it is not.
        scale: β, and C of what is foreseen: the worth of a bonus of 1. A tenth of the largest |r| by default.
        key: Randomness.

    Raises:
        InputError: An unknown method, a number out of range, an MDP that cannot be read.

    Example:
        >>> ring = MDP(jnp.eye(2)[::-1][:, None], jnp.array([[0.0], [1.0]]), jnp.array([1.0, 0.0]))
        >>> study(ring, "counts", 3, horizon=4, runs=2, key=jax.random.key(0)).returns.tolist()
        [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """
    check_key(key)
    at_least("study", 1, episodes=episodes, horizon=horizon, runs=runs)
    positive("study", learning_rate=learning_rate)
    world = enumerated(mdp, horizon)
    rewards = np.asarray(mdp.rewards)
    largest = float(np.abs(rewards[np.isfinite(rewards)]).max(initial=0.0)) or 1.0
    scale = 0.1 * largest if scale is None else scale
    positive("study", scale=scale)
    long = 10 * horizon
    limit = long * (max(float(rewards.max()), 0.0) + scale)
    to_bonus, to_runs = jax.random.split(key)
    named = partial(by_name, method, world, Outcomes.of(mdp), scale=scale, limit=limit, rate=learning_rate)
    learner, _ = named(key=to_bonus)
    # a bonus that begins at random begins anew in every run
    bonuses = eqx.filter_vmap(lambda key: named(key=key)[1])(jax.random.split(to_bonus, runs))
    # values do not know when the horizon comes: without a discount they would grow for ever
    learner = eqx.tree_at(lambda learner: learner.discount, learner, jnp.asarray(1 - 1 / long))
    keys = jax.random.split(to_runs, runs)
    returns, covered, visits, ahead = _run(world, learner, bonuses, episodes, keys)
    return Study(np.asarray(returns), np.asarray(covered), np.asarray(visits), _host(ahead))


def by_name(
    method: str,
    world: Enumerated,
    outcomes: Outcomes,
    *,
    scale: float,
    limit: float,
    rate: float = 1.0,
    key: PRNGKey,
) -> tuple[QLearner, Foresees | None]:
    """Return how to learn and what is new, by one of `METHODS`.

    Args:
        method: The name.
        world: Whose states and actions are counted.
        outcomes: What can follow each state.
        scale: β or C.
        limit: More than any sum of rewards and bonuses.
        rate: Learning rate.
        key: Randomness of the tables that disagree.

    Raises:
        InputError: An unknown name.
    """
    states, actions = world.num_states, world.world.action_dim
    kind = method.removeprefix("foreseen-").removeprefix("optimistic-").removeprefix("information-")
    bonus: Foresees | None = None
    if method not in METHODS:
        raise InputError(f"method {method!r} is unknown{nearest(method, METHODS)}")
    if kind == "counts":
        bonus = Counts(states, actions, exponent=2.0 if method == "foreseen-counts" else 0.5)
    elif kind == "pseudo-counts":
        bonus = PseudoCounts(Empirical((states, actions), prior=1.0 / (states * actions)), _codes)
    elif kind == "gain":
        bonus = DirichletGain(states, actions, outcomes.num, outcome=outcomes)
    elif kind == "disagreement":
        bonus = TableDisagreement(states, actions, outcomes.num, outcome=outcomes, key=key)
    if method == "epsilon-greedy":
        return QLearner(epsilon=0.1, learning_rate=rate), None
    if method == "counts":
        return QLearner(bonus=scale, learning_rate=rate), bonus
    if method == "untried-first":
        return QLearner(initial=limit, learning_rate=rate), None
    if method.startswith("foreseen"):
        return QLearner(optimism=scale, learning_rate=rate), bonus
    return QLearner(initial=limit, bonus=scale, learning_rate=rate), bonus


def episodes_to_solve(
    returns: Float[np.ndarray, "r e"], threshold: float, *, share: float = 0.1
) -> list[int | None]:
    """Return, for each run, the first episode (from 1) by which a share of all so far reached a return.

    Args:
        returns: (R, E).
        threshold: The return.
        share: Of the episodes so far; a tenth is bsuite's rule for DeepSea.

    Returns:
        None for a run that never did.

    Example:
        >>> episodes_to_solve(np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), 0.5)
        [2, None]
    """
    reached = np.cumsum(returns >= threshold, 1) >= share * np.arange(1, returns.shape[1] + 1)
    return [int(np.argmax(row)) + 1 if row.any() else None for row in reached]


@eqx.filter_jit
def _run(
    world: Enumerated, learner: QLearner, bonuses: Foresees | None, episodes: int, keys: Array
) -> tuple[Array, Array, Array, Array | None]:
    def one(bonus: Foresees | None, key: PRNGKey) -> tuple[Array, Array, Array, Array | None]:
        learnt = learn(world, learner, bonus, episodes, key=key)
        return learnt.returns, learnt.covered, learnt.visits, _table(learnt.bonus, world)

    return eqx.filter_vmap(one)(bonuses, keys)


def _table(bonus: object, world: Enumerated) -> Float[Array, "s a"] | None:
    if not isinstance(bonus, Foresees):
        return None
    ahead = jax.vmap(jax.vmap(bonus.ahead, in_axes=(None, 0)), in_axes=(0, None))
    return ahead(jnp.arange(world.num_states), jnp.arange(world.world.action_dim))


def _codes(state: Int[Array, ""], action: Int[Array, ""]) -> Float[Array, "2"]:
    return jnp.stack([state, action]).astype(jnp.float32)


def _host(value: Array | None) -> np.ndarray | None:
    return None if value is None else np.asarray(value)
