"""What was demonstrated, held against the world it is said to come from, and counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.algorithms import mdp as tables
from jensen.algorithms.mdp import MDP
from jensen.control.policies.tabular import state_codes
from jensen.control.soft import check_control
from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError
from jensen.fit import Data
from jensen.typing import Float, Int


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """How often each action was taken in each state, step by step.

    Episodes may be of any length: one that was cut off says nothing of what came after, and one that came to
    an absorbing state was seen to come there.

    Attributes:
        states: The state of each row, (M,).
        actions: The action, (M,).
        steps: The step t, (M,).
        counts: How often; shares of a policy's own visits where demonstrations are exact, (M,).
        discount: γ: a row weighs γ^t.
        size: Number of actions behind the counts; infinite for exact ones.
        shape: (S, A).
        horizon: Steps of an episode, where that was said; None where not.
    """

    states: Int[np.ndarray, "m"]
    actions: Int[np.ndarray, "m"]
    steps: Int[np.ndarray, "m"]
    counts: Float[np.ndarray, "m"]
    discount: float
    size: float
    shape: tuple[int, int]
    horizon: int | None = None

    @property
    def weights(self) -> Float[np.ndarray, "m"]:
        """γ^t times the counts, (M,)."""
        return self.counts * self.discount**self.steps

    @property
    def occupancy(self) -> Float[np.ndarray, "s a"]:
        """Discounted share of each state and action, sums to 1."""
        total = np.zeros(self.shape)
        np.add.at(total, (self.states, self.actions), self.weights)
        return total / total.sum()

    def data(self, horizon: int | None = None) -> Data:
        """Return rows for ``fit.gradient``: actions given states (and steps), weighted by γ^t.

        Rows without weight fill them up to a power of two, so that few sizes are ever compiled.
        """
        cond = self.states[:, None] if horizon is None else np.stack([self.states, self.steps], 1)
        fill = 2 ** math.ceil(math.log2(len(cond))) - len(cond)
        rows = np.concatenate([np.arange(len(cond)), np.zeros(fill, int)])
        weights = np.concatenate([self.weights, np.zeros(fill)])
        return Data(self.actions[rows, None], cond=cond[rows].astype(np.float64), weights=weights)

    def nll(self, policy: Any) -> float:
        """Return −log π per action under a policy, (S, A) or (H, S, A), nats; every action counts alike.

        Args:
            policy: Probabilities; of a policy that changes with the step, one table a step.
        """
        table = np.asarray(policy, np.float64)
        table = table[None] if table.ndim == 2 else table
        step = np.minimum(self.steps, len(table) - 1)
        with np.errstate(divide="ignore"):
            each = -np.log(table[step, self.states, self.actions])
        return float((self.counts * each).sum() / self.counts.sum())


def coded(episodes: Episodes, num_states: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the states, T + 1 codes with −1 for none, and the T actions of each episode.

    Raises:
        InputError: Actions that are vectors, observations of another width.
    """
    if not episodes.discrete:
        raise InputError(f"{episodes.name}: actions are vectors; tables need integer codes (T,)")
    for rows, actions in zip(episodes.observations, episodes.actions, strict=True):
        yield state_codes(rows, num_states, episodes.name), actions


def demonstrated(
    mdp: MDP, episodes: Any, *, discount: float = 1.0, horizon: int | None = None
) -> Demonstrations:
    """Read episodes of states and actions, and hold them against the world.

    Args:
        mdp: The world; its rewards are not looked at.
        episodes: ``datasets.Episodes`` with discrete actions, or anything ``datasets.load_episodes`` reads,
            as a pair (states, actions) of lists of codes: T + 1 states go with T actions. States are codes
            0..S−1 or one-hot rows.
        discount: γ.
        horizon: Longest episode, if there is one.

    Raises:
        InputError: A state or action outside the world, a transition or start that cannot be, an end where
            the world goes on, an episode longer than the horizon: which episode, which step.

    Example:
        >>> import jax.numpy as jnp
        >>> world = MDP(jnp.eye(2)[:, None].repeat(3, 1), jnp.zeros((2, 3)), jnp.array([1.0, 0.0]))
        >>> demonstrated(world, ([np.array([0, 0, 0])], [np.array([2, 1])])).occupancy.tolist()
        [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    """
    check_control(0.0, horizon, discount)
    problem, recorded = tables.checked(mdp), load_episodes(episodes)
    seen, done, times = [], [], []
    for number, (codes, actions) in enumerate(coded(recorded, problem.num_states)):
        if horizon is not None and len(actions) > horizon:
            raise InputError(
                f"{recorded.name}: episode {number} has {len(actions)} steps, the horizon is {horizon}"
            )
        _check(problem, recorded, number, codes, actions)
        seen.append(codes[:-1])
        done.append(actions)
        times.append(np.arange(len(actions)))
    rows = np.stack([np.concatenate(part) for part in (seen, done, times)], 1)
    rows, counts = np.unique(rows, axis=0, return_counts=True)
    states, acts, when = rows.T
    shape = (problem.num_states, problem.num_actions)
    size = float(counts.sum())
    counts = counts.astype(np.float64)
    return Demonstrations(states, acts, when, counts, float(discount), size, shape, horizon)


def exact_demonstrations(
    mdp: MDP, policy: Any, *, discount: float = 1.0, horizon: int | None = None
) -> Demonstrations:
    """Return what infinitely many episodes of a policy would show.

    Args:
        mdp: The world.
        policy: π(a | s), (S, A); or (H, S, A), one table a step.
        discount: γ.
        horizon: Steps of an episode; None for none.

    Raises:
        InputError: A policy of another shape.
    """
    problem = tables.checked(mdp)
    table = jnp.asarray(policy, problem.start.dtype)
    shape = (problem.num_states, problem.num_actions)
    if table.shape[-2:] != shape or (table.ndim == 3 and len(table) != horizon):
        raise InputError(f"exact_demonstrations: policy has shape {table.shape}, the world {shape}")
    if horizon is None:
        visits = np.asarray(tables.occupancy(problem, table, discount=discount), np.float64)[None]
    else:
        every = jnp.broadcast_to(table, (horizon, *shape))
        visits = np.asarray(tables.occupancy_over(problem, every), np.float64)
    steps, states, actions = np.nonzero(visits > 0)
    counts = visits[steps, states, actions]
    return Demonstrations(states, actions, steps, counts, float(discount), float("inf"), shape, horizon)


def _check(problem: MDP, recorded: Episodes, number: int, codes: np.ndarray, actions: np.ndarray) -> None:
    """Refuse an episode that the world could not have shown."""
    name, (num_states, num_actions) = recorded.name, problem.rewards.shape
    moves, start = np.asarray(problem.transitions), np.asarray(problem.start)
    over = np.asarray(tables.ended(problem)) > 0
    ended = bool(np.asarray(recorded.terminated)[number])
    last = len(actions) - 1
    outside = (actions < 0) | (actions >= num_actions)
    if outside.any():
        t = int(outside.argmax())
        raise InputError(
            f"{name}: episode {number}, step {t}: action {actions[t]} is none of the {num_actions} actions"
        )
    if codes[0] >= 0 and not start[codes[0]] > 0:
        raise InputError(
            f"{name}: episode {number} starts in state {codes[0]}, where the world never starts; give the "
            "world the start its episodes have"
        )
    before, after = codes[:-1], np.maximum(codes[1:], 0)
    ended = ended and bool(over[before[last], actions[last]])  # what follows an end need not be a state
    for t in np.flatnonzero(codes < 0):
        if not (ended and t == last + 1):
            shown = np.array2string(np.asarray(recorded.observations[number][t]), threshold=8, precision=4)
            raise InputError(
                f"{name}: episode {number}, step {t}: the observation is none of the {num_states} states, "
                f"but {shown}, and the world does not end before it"
            )
    possible = moves[before, actions, after] > 0
    possible[last] |= ended
    if not possible.all():
        t = int(np.argmin(possible))
        raise InputError(
            f"{name}: episode {number}, step {t}: action {actions[t]} in state {codes[t]} leads to state "
            f"{codes[t + 1]}, which the dynamics give no probability; correct the transitions, or the episode"
        )


def clone(demonstrations: Demonstrations, *, smoothing: float = 1.0) -> Float[np.ndarray, "s a"]:
    """Return behaviour cloning by counting, the baseline: π(a | s) ∝ how often + smoothing.

    Where nothing was seen all actions are equally probable.

    Args:
        demonstrations: What was done.
        smoothing: Added to every count.

    Raises:
        InputError: A negative smoothing.
    """
    counts = np.zeros(demonstrations.shape)
    np.add.at(counts, (demonstrations.states, demonstrations.actions), demonstrations.counts)
    if not smoothing >= 0:
        raise InputError(f"clone: smoothing is {smoothing}; it must be 0 or more")
    total = counts.sum(1, keepdims=True) + smoothing * counts.shape[1]
    even = np.full_like(counts, 1 / counts.shape[1])
    return np.where(total > 0, (counts + smoothing) / np.where(total > 0, total, 1.0), even)
