"""Markov decision problems in tables: what is best to do, what a policy earns, and where it goes.

States and actions are counted from 0. A row of transitions may sum to less than one: with the rest of the
probability the episode ends there and then, after the reward of that step, and nothing more is earned. So an
episode that ends needs no absorbing state, and one that goes on in an absorbing state says so by a row of its
own. ``discount`` is γ; γ = 1 without a horizon needs episodes that end by themselves.

Source:
    Puterman (1994), Markov decision processes, chapters 4 and 6.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, Scalar

SLACK = 1e-5
"""What rows of probabilities may miss one by: the rounding of float32 over long rows, and no end."""


class MDP(NamedTuple):
    """A Markov decision problem.

    Attributes:
        transitions: p(s' | s, a), (S, A, S); rows sum to 1, or to less where the rest ends the episode.
        rewards: r(s, a), in the environment's own units; −∞ forbids an action.
        start: p(s_0), sums to 1.

    Example:
        Two states; action 1 goes from one to the other and pays in the second.

        >>> stay, go = jnp.eye(2), jnp.eye(2)[::-1]
        >>> rewards = jnp.array([[0.0, 0.0], [0.0, 1.0]])
        >>> problem = MDP(jnp.stack([stay, go], 1), rewards, jnp.array([1.0, 0.0]))
        >>> [round(v, 3) for v in value_iteration(problem, discount=0.5).values.tolist()]
        [0.667, 1.333]
    """

    transitions: Float[Array, "s a s"]
    rewards: Float[Array, "s a"]
    start: Float[Array, "s"]

    @property
    def num_states(self) -> int:
        """S."""
        return self.rewards.shape[-2]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.rewards.shape[-1]


class Values(NamedTuple):
    """What can be earned from here on. Over a horizon every array gains a leading axis, the step.

    Attributes:
        values: V(s), (S,).
        action_values: Q(s, a), (S, A).
    """

    values: Float[Array, "*t s"]
    action_values: Float[Array, "*t s a"]


def checked(mdp: MDP) -> MDP:
    """Return the problem as float32 arrays, or say what is wrong with it. Host code.

    Args:
        mdp: Arrays of any kind.

    Raises:
        InputError: Shapes that do not fit, negative or missing probabilities, rows that sum to more than one,
            rewards that are NaN or +∞: which state, which action.
    """
    transitions, rewards, start = (np.asarray(part, np.float32) for part in mdp)
    if rewards.ndim != 2 or 0 in rewards.shape:
        raise InputError(f"MDP: rewards have shape {rewards.shape}; they must be (states, actions)")
    states, actions = rewards.shape
    for name, part, shape in (
        ("transitions", transitions, (states, actions, states)),
        ("start", start, (states,)),
    ):
        if part.shape != shape:
            raise InputError(f"MDP: {name} have shape {part.shape}, but rewards say {shape}")
    _refuse(~(transitions >= 0), "transitions: p(s'={2} | s={0}, a={1}) is {value}", transitions)
    sums = transitions.sum(-1)
    _refuse(sums > 1 + SLACK, "transitions from state {0} under action {1} sum to {value}, over 1", sums)
    _refuse(np.isnan(rewards) | (rewards == np.inf), "rewards: r(s={0}, a={1}) is {value}", rewards)
    _refuse(~(start >= 0), "start: p(s_0={0}) is {value}", start)
    if abs(start.sum() - 1) > SLACK:
        raise InputError(f"MDP: start sums to {start.sum():.6g}; it must sum to 1")
    return MDP(jnp.asarray(transitions), jnp.asarray(rewards), jnp.asarray(start))


def exact_rows(mdp: MDP) -> MDP:
    """Return the problem in float64, its rows summing to 1 where only rounding kept them from it. Host code.

    At γ = 0.9999 a row of float32 that misses 1 by 10⁻⁷ moves values by 10⁻³ of themselves.

    Args:
        mdp: A problem that ``checked`` lets pass.
    """
    transitions, rewards, start = (np.asarray(part, np.float64) for part in mdp)
    return MDP(whole(transitions), rewards, whole(start))  # pyright: ignore[reportArgumentType]


def whole(rows: Float[np.ndarray, "*n s"]) -> Float[np.ndarray, "*n s"]:
    """Return probabilities whose rows sum to 1 where they miss it by no more than ``SLACK``. Host code."""
    sums = rows.sum(-1, keepdims=True)
    return rows / np.where(np.abs(sums - 1) <= SLACK, sums, 1.0)


def reachable(mdp: MDP) -> Bool[np.ndarray, "s"]:
    """Return which states any policy can come to from the start. Host code."""
    edges = np.asarray(np.any(np.asarray(mdp.transitions) > 0, axis=1))
    found = np.asarray(mdp.start) > 0
    while True:
        more = found | edges[found].any(0)
        if (more == found).all():
            return found
        found = more


def ends(mdp: MDP) -> Bool[np.ndarray, "s"]:
    """Return from which states an episode can end by itself, if every action is tried. Host code.

    Where all of them are, γ = 1 needs no horizon for policies that try every action.
    """
    transitions = np.asarray(mdp.transitions)
    found = np.asarray(np.any(transitions.sum(-1) < 1 - SLACK, axis=1))
    edges = np.asarray(np.any(transitions > 0, axis=1))
    while True:
        more = found | edges[:, found].any(1)
        if (more == found).all():
            return found
        found = more


def ended(mdp: MDP) -> Float[Array, "s a"]:
    """Return the probability that the episode ends with this step; rounding is no end."""
    rest = 1 - mdp.transitions.sum(-1)
    return jnp.where(rest > SLACK, rest, 0.0)


def expected(mdp: MDP, values: Float[Array, "s"]) -> Float[Array, "s a"]:
    """Return Σ_{s'} p(s' | s, a) V(s'); an ended episode is worth 0. V may be −∞ where nothing is allowed."""
    finite = jnp.isfinite(values)
    mean = mdp.transitions @ jnp.where(finite, values, 0.0)
    lost = (mdp.transitions * ~finite).sum(-1) > 0
    return jnp.where(lost, -jnp.inf, mean)


def backward_induction(mdp: MDP, horizon: int, *, discount: float | Scalar = 1.0) -> Values:
    """Return the optimal values of each of ``horizon`` steps, by dynamic programming (Bellman 1957).

    Args:
        mdp: The problem.
        horizon: Number of steps, all earned from the first.
        discount: γ.

    Returns:
        Values (H, S) and action values (H, S, A), the first step first.
    """

    def step(values: Array, _: None) -> tuple[Array, Values]:
        q = mdp.rewards + discount * expected(mdp, values)
        return q.max(-1), Values(q.max(-1), q)

    _, found = jax.lax.scan(step, jnp.zeros_like(mdp.start), None, length=horizon, reverse=True)
    return found


def value_iteration(
    mdp: MDP, *, discount: float | Scalar, tolerance: float = 1e-7, max_steps: int = 100_000
) -> Values:
    """Return the optimal values of an episode without a horizon.

    Args:
        mdp: The problem.
        discount: γ < 1, or 1 where episodes end whatever is done.
        tolerance: Greatest change of a value in the last step, as a share of the greatest value.
        max_steps: Where it stops at the latest.
    """

    def q_of(values: Array) -> Array:
        return mdp.rewards + discount * expected(mdp, values)

    def goes_on(carry: tuple[Array, Array, Array]) -> Array:
        values, change, step = carry
        size = jnp.abs(jnp.where(jnp.isfinite(values), values, 0.0)).max()
        return (change > tolerance * jnp.maximum(size, 1.0)) & (step < max_steps)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        values, _, count = carry
        new = q_of(values).max(-1)
        return new, jnp.where(new == values, 0.0, jnp.abs(new - values)).max(), count + 1

    begin = (jnp.zeros_like(mdp.start), jnp.full_like(mdp.start, jnp.inf, shape=()), jnp.zeros((), jnp.int32))
    values, _, _ = jax.lax.while_loop(goes_on, step, begin)
    q = q_of(values)
    return Values(q.max(-1), q)


def greedy(action_values: Float[Array, "*t s a"]) -> Float[Array, "*t s a"]:
    """Return the policy that takes a best action; equal ones are equally probable, forbidden ones never.

    A state where nothing is allowed has an empty row.
    """
    top = action_values.max(-1, keepdims=True)
    nothing = top == -jnp.inf
    best = (action_values == top) & ~nothing
    return best / jnp.where(nothing, 1, best.sum(-1, keepdims=True))


def evaluate(mdp: MDP, policy: Float[Array, "s a"], *, discount: float | Scalar) -> Float[Array, "s"]:
    """Return V(s) of a policy: the solution of V = r_π + γ P_π V.

    Args:
        mdp: The problem.
        policy: π(a | s), rows sum to 1.
        discount: γ < 1, or 1 where the policy ends its episodes.
    """
    moves, rewards = induced(mdp, policy)
    return jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=moves.dtype) - discount * moves, rewards)


def evaluate_over(
    mdp: MDP, policies: Float[Array, "t s a"], *, discount: float | Scalar = 1.0
) -> Float[Array, "t s"]:
    """Return V_t(s) of a policy for each step of a horizon.

    Args:
        mdp: The problem.
        policies: π_t(a | s), the first step first.
        discount: γ.
    """

    def step(values: Array, policy: Array) -> tuple[Array, Array]:
        moves, rewards = induced(mdp, policy)
        values = rewards + discount * (moves @ values)
        return values, values

    table = policies.astype(mdp.start.dtype)
    return jax.lax.scan(step, jnp.zeros_like(mdp.start), table, reverse=True)[1]


def induced(mdp: MDP, policy: Float[Array, "s a"]) -> tuple[Float[Array, "s s"], Float[Array, "s"]]:
    """Return P_π(s' | s) and r_π(s), the chain and the rewards under a policy."""
    taken = policy > 0
    rewards = jnp.where(taken, policy * jnp.where(taken, mdp.rewards, 0.0), 0.0).sum(-1)
    return jnp.einsum("sa,sat->st", policy, mdp.transitions), rewards


def occupancy(mdp: MDP, policy: Float[Array, "s a"], *, discount: float | Scalar) -> Float[Array, "s a"]:
    """Return Σ_t γ^t p(s_t = s, a_t = a), how often a policy is where, discounted.

    Its product with the rewards, summed, is the policy's return. It sums to 1/(1 − γ) where no episode ends.

    Args:
        mdp: The problem.
        policy: π(a | s).
        discount: γ < 1, or 1 where the policy ends its episodes.
    """
    moves, _ = induced(mdp, policy)
    visits = jnp.linalg.solve((jnp.eye(mdp.num_states, dtype=moves.dtype) - discount * moves).T, mdp.start)
    return visits[:, None] * policy


def occupancy_over(
    mdp: MDP, policies: Float[Array, "t s a"], *, discount: float | Scalar = 1.0
) -> Float[Array, "t s a"]:
    """Return γ^t p(s_t = s, a_t = a) for each step of a horizon; the sum over t is the occupancy.

    Args:
        mdp: The problem.
        policies: π_t(a | s), the first step first.
        discount: γ.
    """

    def step(visits: Array, policy: Array) -> tuple[Array, Array]:
        moves, _ = induced(mdp, policy)
        return discount * (visits @ moves), visits[:, None] * policy

    return jax.lax.scan(step, mdp.start, policies.astype(mdp.start.dtype))[1]


def _refuse(wrong: Any, message: str, values: np.ndarray) -> None:
    if wrong.any():
        where = np.argwhere(wrong)[0]
        raise InputError("MDP: " + message.format(*where, value=f"{values[tuple(where)]:.6g}"))
