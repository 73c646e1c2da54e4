"""Small decision problems, and all their trajectories."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from jensen.algorithms import mdp as tables
from jensen.algorithms.mdp import MDP


def random_problem(seed: int, states: int = 3, actions: int = 2, *, ends: float = 0.0) -> MDP:
    """A problem whose every step ends the episode with a given probability."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(states), (states, actions)) * (1 - ends)
    return tables.checked(
        MDP(transitions, rng.normal(size=(states, actions)), rng.dirichlet(np.ones(states)))
    )


def trajectories(problem: MDP, horizon: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (states s_0..s_T, actions) of every trajectory."""
    for actions in itertools.product(range(problem.num_actions), repeat=horizon):
        for states in itertools.product(range(problem.num_states), repeat=horizon + 1):
            yield states, actions
