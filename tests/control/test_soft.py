"""Soft control at its edge: options, policies that act, episodes drawn from tables."""

from __future__ import annotations

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.control.policies.tabular import TabularPolicy, sample_episodes, state_codes
from jensen.control.soft import earned, soft_control, visited
from jensen.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "algorithms"))
from decision_problems import random_problem


@pytest.fixture(scope="module")
def problem() -> MDP:
    return random_problem(0, 4, 3, ends=0.2)


def test_a_solved_problem_earns_what_its_episodes_earn(problem: MDP):
    found = soft_control(problem, temperature=0.5)
    assert found.policy.shape == (4, 3) and found.values.shape == (4,)
    again = soft_bellman.backup(problem, jnp.asarray(found.values), temperature=0.5, discount=1.0)
    np.testing.assert_allclose(again.values, found.values, rtol=1e-5)
    states, pairs = found.messages
    np.testing.assert_allclose(pairs - states[:, None], np.log(found.policy), atol=1e-5)
    drawn = sample_episodes(problem, found.policy, 4_000, max_steps=200, seed=1)
    assert np.asarray(drawn.terminated).mean() > 0.99
    error = drawn.returns.std() / np.sqrt(len(drawn))
    assert abs(drawn.returns.mean() - found.expected_return) < 4 * error
    np.testing.assert_allclose(drawn.lengths.mean(), found.occupancy.sum(), rtol=0.05)


def test_a_policy_that_may_come_where_nothing_is_allowed_earns_minus_infinity():
    """Action 0 leads by a fair chance to state 1, where nothing is allowed, or to 2, which pays 1 and ends."""
    moves = np.zeros((3, 2, 3))
    moves[0, 0, 1:] = 0.5
    rewards = np.array([[0.0, 0.0], [-np.inf, -np.inf], [1.0, 1.0]])
    world = MDP(moves, rewards, np.eye(3)[0])
    hopes, knows = (
        soft_control(world, temperature=1.0, horizon=2, posterior=p) for p in ("exact", "variational")
    )
    np.testing.assert_allclose(hopes.policy[0, 0], [np.e / (np.e + 1), 1 / (np.e + 1)], rtol=1e-6)
    assert hopes.expected_return == -np.inf and knows.expected_return == 0.0
    how = {"temperature": 1.0, "discount": 0.9}
    assert soft_control(world, posterior="exact", **how).expected_return == -np.inf
    assert soft_control(world, **how).expected_return == 0.0
    # what comes after the last step is not looked at, and an end is no dead end
    assert soft_control(world, temperature=1.0, horizon=1, posterior="exact").expected_return == 0.0
    for start, wanted in ((np.eye(3)[1], -np.inf), (np.eye(3)[2], 1.0)):
        for way in ({"horizon": 2}, {"discount": 0.9}):
            placed = soft_control(world._replace(start=start), temperature=1.0, **way)
            assert placed.expected_return == pytest.approx(wanted)
    # a policy (S, A) over a horizon comes there only in time, and one that never goes there does not
    ahead = np.eye(4)[np.minimum(np.arange(4) + 1, 3)][:, None]
    line = MDP(ahead, np.array([[1.0], [1.0], [1.0], [-np.inf]]), np.eye(4)[0])
    straight = np.array([[1.0], [1.0], [1.0], [0.0]])
    assert [earned(line, straight, horizon=h) for h in (2, 3, 4)] == [2.0, 3.0, -np.inf]
    absorbing = line._replace(rewards=np.ones((4, 1)))
    assert earned(absorbing, np.ones((4, 1)), horizon=6) == 6.0


def test_values_beyond_float32_are_refused_and_not_taken_for_forbidden():
    world = MDP(np.ones((1, 2, 1)), np.full((1, 2), -3e37), np.ones(1))
    assert soft_control(world, temperature=1.0, horizon=5).values[0, 0] == pytest.approx(-1.5e38)
    for way in ({"horizon": 50}, {"discount": 0.98}):
        with pytest.raises(InputError, match=r"values reach 1.5e\+39, more than float32 holds"):
            soft_control(world, temperature=1.0, **way)


def test_one_table_a_step_acts_step_by_step():
    tables = np.stack([np.eye(3), np.eye(3)[::-1]])
    policy = TabularPolicy(tables)
    policy.reset(num_envs=2)
    seen = np.array([[0.0], [2.0]])
    assert [policy.select_action(seen).tolist() for _ in range(3)] == [[0, 2], [2, 0], [2, 0]]
    policy.reset(num_envs=2, mask=np.array([True, False]))
    assert policy.select_action(np.eye(3)[[0, 2]]).tolist() == [0, 0]
    assert policy.predict(np.eye(3)).tolist() == [0, 1, 2]


def test_what_is_no_state_is_refused_but_not_what_follows_an_end():
    policy = TabularPolicy(np.eye(3))
    for bad, words in (([[3.0]], "observation 0 is 3, none"), ([[1.0], [0.5]], "observation 1 is 0.5")):
        with pytest.raises(InputError, match=words):
            policy.predict(np.array(bad))
    with pytest.raises(InputError, match="observation 0 is not one-hot"):
        policy.predict(np.array([[1.0, 1.0, 0.0]]))
    assert policy.predict(np.array([[-1.0], [1.0]]))[1] == 1
    assert policy.predict(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))[1] == 1


def test_digits_hold_at_a_discount_near_one():
    """Two actions of equal worth in every state: V = (r̄ + τ log 2)/(1 − γ), and visits add up to 1/(1 − γ)."""
    rows = np.random.default_rng(0).dirichlet(np.ones(4), 4)[:, None].repeat(2, 1)
    world = MDP(rows, np.full((4, 2), 0.3), np.full(4, 0.25))
    found = soft_control(world, temperature=0.5, discount=0.9999)
    np.testing.assert_allclose(found.values, (0.3 + 0.5 * np.log(2)) / 1e-4, rtol=3e-7)
    np.testing.assert_allclose(found.policy, 0.5, rtol=1e-6)
    assert found.occupancy.sum() == pytest.approx(1e4, rel=1e-9)
    assert found.expected_return == pytest.approx(0.3e4, rel=1e-6)


def test_states_are_codes_or_one_hot_rows():
    assert state_codes(np.array([[2.0], [0.5], [-1.0], [4.0]]), 4, "here").tolist() == [2, -1, -1, -1]
    assert state_codes(np.array([[0, 1, 0], [0, 0, 0], [1, 0, 1]]), 3, "here").tolist() == [1, -1, -1]
    with pytest.raises(InputError, match=r"here: observations have shape \(1, 2\)"):
        state_codes(np.zeros((1, 2)), 3, "here")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": 1.0, "horizon": 0}, "horizon is 0"),
        ({"temperature": 1.0, "discount": 1.5}, "discount is 1.5"),
        ({"temperature": 1.0, "posterior": "exakt"}, "did you mean 'exact'"),
    ],
)
def test_options_that_make_no_problem(problem: MDP, options: dict, words: str):
    with pytest.raises(InputError, match=words):
        soft_control(problem, **options)


def test_episodes_without_an_end_need_a_horizon_or_a_discount():
    endless = random_problem(1)
    with pytest.raises(InputError, match="from state 0 an episode never ends"):
        soft_control(endless, temperature=1.0)
    with pytest.raises(InputError, match="without a horizon"):
        earned(endless, np.full((3, 2), 0.5))
    with pytest.raises(InputError, match=r"shape \(2, 3, 2\)"):
        visited(endless, np.full((2, 3, 2), 0.5), horizon=4)
    # it could end, but not by this policy: in a place, and in a ring
    stays = MDP(np.array([[[1.0, 0], [0, 0]], [[0, 1.0], [0, 0]]]), np.ones((2, 2)), np.array([1.0, 0]))
    ring = stays._replace(transitions=stays.transitions[:, :, ::-1])
    for world in (stays, ring):
        with pytest.raises(InputError, match="never ends some episodes"):
            earned(world, np.array([[1.0, 0.0], [1.0, 0.0]]))
    # it could end, but going on for ever earns log 2 a step
    lazy = MDP(np.array([[[1.0], [0.0]]]), np.zeros((1, 2)), np.ones(1))
    with pytest.raises(InputError, match="earns more entropy than ending"):
        soft_control(lazy, temperature=1.0)


def test_a_row_that_is_no_law_is_refused():
    with pytest.raises(InputError, match="row of state 1 holds no probabilities"):
        TabularPolicy(np.array([[1.0, 0.0], [0.0, 0.0]]))
