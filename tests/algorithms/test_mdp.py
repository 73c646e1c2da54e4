"""Decision problems in tables against trajectories, counted one by one."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import mdp as tables
from jensen.algorithms.mdp import MDP
from jensen.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from decision_problems import random_problem


def test_backward_induction_is_the_best_of_all_policies():
    problem, horizon = random_problem(0, 2, 2), 2
    found = tables.backward_induction(problem, horizon, discount=0.9)
    every = np.eye(2, dtype=np.float32)[np.array(list(itertools.product(range(2), repeat=4)))]
    evaluate = jax.vmap(lambda policies: tables.evaluate_over(problem, policies, discount=0.9)[0])
    best = evaluate(every.reshape(16, 2, 2, 2)).max(0)
    np.testing.assert_allclose(found.values[0], best, atol=1e-6)


def test_value_iteration_solves_bellmans_equation_and_a_long_horizon_agrees():
    problem = random_problem(1, 5, 3)
    found = tables.value_iteration(problem, discount=0.9)
    policy = tables.greedy(found.action_values)
    np.testing.assert_allclose(tables.evaluate(problem, policy, discount=0.9), found.values, rtol=1e-5)
    long = tables.backward_induction(problem, 200, discount=0.9)
    np.testing.assert_allclose(long.values[0], found.values, rtol=1e-5)


@pytest.mark.parametrize(("discount", "ends"), [(0.9, 0.0), (1.0, 0.2), (0.8, 0.1)])
def test_occupancy_times_rewards_is_the_return(discount: float, ends: float):
    problem = random_problem(2, 4, 3, ends=ends)
    policy = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(3), 4), jnp.float32)
    visits = tables.occupancy(problem, policy, discount=discount)
    returns = problem.start @ tables.evaluate(problem, policy, discount=discount)
    np.testing.assert_allclose((visits * problem.rewards).sum(), returns, rtol=1e-5)
    np.testing.assert_allclose(visits.sum(), 1 / (1 - discount * (1 - ends)), rtol=1e-5)
    over = tables.occupancy_over(problem, jnp.broadcast_to(policy, (400, 4, 3)), discount=discount)
    np.testing.assert_allclose(over.sum(0), visits, atol=1e-4)


def test_forbidden_actions_and_states_without_any():
    rewards = jnp.array([[-jnp.inf, 1.0], [0.0, -jnp.inf], [-jnp.inf, -jnp.inf]])
    transitions = jnp.stack([jnp.eye(3)[jnp.array([1, 1, 2])], jnp.eye(3)[jnp.array([1, 2, 2])]], 1)
    problem = MDP(transitions, rewards, jnp.array([1.0, 0.0, 0.0]))
    values = tables.value_iteration(problem, discount=0.5).values
    assert values[:2].tolist() == [1.0, 0.0] and values[2] == -jnp.inf
    assert tables.greedy(rewards).tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]


def test_reachable_and_ends():
    transitions = jnp.zeros((4, 1, 4)).at[0, 0, 1].set(1.0).at[2, 0, 2].set(1.0).at[3, 0, 3].set(1.0)
    problem = MDP(transitions, jnp.zeros((4, 1)), jnp.eye(4)[0])
    assert tables.reachable(problem).tolist() == [True, True, False, False]
    assert tables.ends(problem).tolist() == [True, True, False, False]


def changed(part: str, where: tuple[int, ...], value: float) -> MDP:
    problem = jax.tree.map(np.array, random_problem(3))
    getattr(problem, part)[where] = value
    return problem


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (changed("transitions", (1, 0, 2), -0.25), r"p\(s'=2 \| s=1, a=0\) is -0.25"),
        (changed("transitions", (2, 1, 0), 1.5), "from state 2 under action 1 sum to"),
        (changed("rewards", (0, 1), np.nan), r"r\(s=0, a=1\) is nan"),
        (changed("rewards", (0, 1), np.inf), r"r\(s=0, a=1\) is inf"),
        (changed("start", (0,), 5.0), "start sums to"),
        (random_problem(3)._replace(start=np.ones(2) / 2), r"start have shape \(2,\)"),
        (random_problem(3)._replace(rewards=np.ones(2)), r"rewards have shape \(2,\)"),
    ],
)
def test_what_is_no_problem_is_said_in_one_line(problem: MDP, words: str):
    with pytest.raises(InputError, match=words):
        tables.checked(problem)


def test_float32_stays_float32_where_float64_is_on():
    with jax.enable_x64(True):
        problem = tables.checked(MDP(np.full((2, 2, 2), 0.4), np.eye(2), np.array([0.5, 0.5])))
        hard = tables.value_iteration(problem, discount=0.9)
        even = jnp.full((3, 2, 2), 0.5)
        assert hard.values.dtype == np.float32 and np.isfinite(hard.values).all()
        np.testing.assert_allclose(
            tables.occupancy_over(problem, even).sum((1, 2)), [1, 0.8, 0.64], rtol=1e-6
        )
        np.testing.assert_allclose(tables.evaluate_over(problem, even)[-1], 0.5, rtol=1e-6)
