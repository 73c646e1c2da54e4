"""Soft values against trajectories, counted one by one, and against dynamic programming."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import mdp as hard
from jensen.algorithms import soft_bellman as soft
from jensen.algorithms.mdp import MDP

sys.path.insert(0, str(Path(__file__).parent))
from decision_problems import random_problem, trajectories

HORIZON, TEMPERATURE = 4, 0.7


@pytest.fixture(scope="module")
def problem() -> MDP:
    """Three states, two actions; a tenth of the steps end the episode, which the enumeration counts too."""
    return random_problem(0, ends=0.1)


def enumerated(problem: MDP, horizon: int) -> np.ndarray:
    """Return p(optimal, s_0 = s, a_0 = a) / p(s_0 = s): the sum over all trajectories, ended ones too."""
    p, r = np.asarray(problem.transitions, float), np.asarray(problem.rewards, float)
    over = 1 - p.sum(-1)
    beta = np.zeros(r.shape)
    for length in range(1, horizon + 1):
        for states, actions in trajectories(problem, length):
            weight = 1.0
            for t, action in enumerate(actions):
                weight *= np.exp(r[states[t], action] / TEMPERATURE)
                if t < length - 1:
                    weight *= p[states[t], action, states[t + 1]]
            # the last step: the episode ends there, or the horizon has come; the state after it counts once
            last = 1.0 if length == horizon else over[states[length - 1], actions[-1]]
            beta[states[0], actions[0]] += weight * last / problem.num_states
    return beta


def test_messages_are_the_sum_over_all_trajectories(problem: MDP):
    found = soft.backward(problem, HORIZON, temperature=TEMPERATURE, outlook=soft.optimistic)
    beta = enumerated(problem, HORIZON)
    states, pairs = found.messages(TEMPERATURE)
    np.testing.assert_allclose(pairs[0], np.log(beta), atol=1e-5)
    np.testing.assert_allclose(states[0], np.log(beta.sum(1)), atol=1e-5)
    np.testing.assert_allclose(found.policy[0], beta / beta.sum(1, keepdims=True), atol=1e-6)


def earned(problem: MDP, log_policy: jax.Array) -> jax.Array:
    """Return E[Σ r + τ entropy] of a policy: what the variational posterior maximizes."""
    each = problem.rewards - TEMPERATURE * log_policy
    policy = jnp.exp(log_policy)

    def step(values, at):
        each, policy = at
        values = (policy * (each + problem.transitions @ values)).sum(-1)
        return values, None

    return problem.start @ jax.lax.scan(step, jnp.zeros(3), (each, policy), reverse=True)[0]


def test_the_variational_policy_earns_its_values_and_nothing_near_it_earns_more(problem: MDP):
    found = soft.backward(problem, HORIZON, temperature=TEMPERATURE)
    climb = jax.jit(jax.value_and_grad(lambda logits: earned(problem, jax.nn.log_softmax(logits))))
    value, slope = climb(found.log_policy)
    np.testing.assert_allclose(value, problem.start @ found.values[0], atol=1e-5)
    assert jnp.abs(slope).max() < 1e-5
    other = found.log_policy + np.random.default_rng(0).normal(size=(HORIZON, 3, 2)).astype(np.float32)
    assert climb(other)[0] < problem.start @ found.values[0] - 0.01


def gamble() -> MDP:
    """Action 0 pays 1 for sure; action 1 is a fair chance of 1.5 and −4: state 1, or state 2."""
    transitions = jnp.zeros((3, 2, 3)).at[0, 1].set(jnp.array([0.0, 0.5, 0.5]))
    rewards = jnp.array([[1.0, 0.0], [1.5, 1.5], [-4.0, -4.0]])
    return MDP(transitions, rewards, jnp.eye(3)[0])


def test_the_exact_posterior_is_optimistic_and_the_variational_one_is_not():
    found = {
        outlook: soft.backward(gamble(), 2, temperature=0.5, outlook=outlook)
        for outlook in (soft.optimistic, soft.expected)
    }
    by_luck, on_average = (float(each.policy[0, 0, 1]) for each in found.values())
    assert on_average < 0.03 and by_luck > 0.4
    # given the gamble and success, the exact posterior is sure of its luck
    later = found[soft.optimistic].values[1]
    assert soft.optimistic(gamble(), later, 0.5).kernel[0, 1, 1] > 0.99


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_without_chance_both_agree(discount: float):
    moves = jax.random.randint(jax.random.key(0), (4, 3), 0, 4)
    problem = MDP(jax.nn.one_hot(moves, 4), jax.random.normal(jax.random.key(1), (4, 3)), jnp.ones(4) / 4)
    one, other = (
        soft.backward(problem, 6, temperature=0.3, discount=discount, outlook=outlook)
        for outlook in (soft.expected, soft.optimistic)
    )
    np.testing.assert_allclose(one.log_policy, other.log_policy, atol=2e-5)


@pytest.mark.parametrize("outlook", [soft.expected, soft.optimistic])
def test_the_fixed_point_is_where_a_long_horizon_goes(outlook: soft.Outlook):
    how = {"temperature": 0.5, "discount": 0.9, "outlook": outlook}

    @jax.jit
    def both(problem):
        found = soft.solve(problem, **how)
        long = soft.backward(problem, 300, **how).values[0]
        return found.values, long, soft.residual(problem, found, **how), soft.duration(problem, found, **how)

    values, long, residual, duration = both(random_problem(4, 6, 3))
    np.testing.assert_allclose(values, long, rtol=1e-5)
    assert residual < 1e-6
    np.testing.assert_allclose(duration, 10.0, rtol=1e-4)


@pytest.mark.parametrize("outlook", [soft.expected, soft.optimistic])
def test_float32_stays_float32_where_float64_is_on(outlook: soft.Outlook):
    problem = random_problem(4)

    def both(temperature: float | jax.Array, discount: float | jax.Array) -> tuple[jax.Array, jax.Array]:
        how = {"temperature": temperature, "discount": discount, "outlook": outlook}
        return soft.solve(problem, **how).values, soft.backward(problem, 3, **how).values

    wanted = both(0.5, 0.9)
    with jax.enable_x64(True):
        for found in (both(0.5, 0.9), both(jnp.asarray(0.5), jnp.asarray(0.9))):
            assert {values.dtype for values in found} == {np.dtype("float32")}
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5)


def test_soft_becomes_hard_as_the_temperature_goes_to_nothing():
    problem = random_problem(5, 6, 3)
    wanted = hard.value_iteration(problem, discount=0.9)
    run = jax.jit(lambda temperature: soft.solve(problem, temperature=temperature, discount=0.9))
    errors = [float(jnp.abs(run(t).values - wanted.values).max()) for t in (1.0, 0.1, 0.01, 1e-4, 0.0)]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 1e-3 and errors[4] < 1e-5
    np.testing.assert_array_equal(run(0.0).policy, hard.greedy(wanted.action_values))
    slope = jax.jit(jax.grad(lambda t: run(t).log_policy.sum()))
    assert jnp.isfinite(slope(1e-6))


def test_forbidden_actions_and_dead_ends():
    rewards = jnp.array([[0.0, 1.0, -jnp.inf], [-jnp.inf] * 3, [0.0, 0.0, 0.0]])
    transitions = jnp.zeros((3, 3, 3)).at[0, 0, 2].set(1.0).at[0, 1, 1].set(1.0).at[0, 2, 2].set(1.0)
    problem = MDP(transitions, rewards, jnp.eye(3)[0])
    for outlook in (soft.expected, soft.optimistic):
        solve = jax.jit(lambda heat: soft.solve(problem, temperature=heat, discount=0.9, outlook=outlook))  # noqa: B023
        for temperature in (0.5, 0.0):
            found = solve(temperature)
            # action 1 pays but leads where nothing is allowed
            np.testing.assert_array_equal(found.policy[:2], [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
            assert found.values[1] == -jnp.inf and jnp.isfinite(found.values[0])
            # where only the present counts, nothing is known of where it leads
            now = soft.solve(problem, temperature=temperature, discount=0.0, outlook=outlook)
            np.testing.assert_allclose(now.values, soft.choose(rewards, temperature).values)
            over = soft.backward(problem, 2, temperature=temperature, discount=0.0, outlook=outlook)
            np.testing.assert_allclose(over.values[0], now.values)


@pytest.mark.parametrize("outlook", [soft.expected, soft.optimistic])
def test_what_is_forbidden_or_impossible_has_no_part_in_the_derivative_by_temperature(outlook: soft.Outlook):
    free = random_problem(6)
    moves = free.transitions.at[0, 0].set(jnp.array([0.0, 0.5, 0.5]))
    free = free._replace(transitions=moves)
    barred = MDP(
        jnp.concatenate([moves, moves[:, :1]], 1),
        jnp.pad(free.rewards, ((0, 0), (0, 1)), constant_values=-jnp.inf),
        free.start,
    )

    def value(heat: jax.Array, problem: MDP) -> jax.Array:
        return soft.solve(problem, temperature=heat, discount=0.9, outlook=outlook).values.sum()

    slope = jax.jit(jax.grad(value))
    np.testing.assert_allclose(slope(0.5, barred), slope(0.5, free), rtol=1e-4)
    step = (jax.jit(value)(0.5 + 1e-2, free) - jax.jit(value)(0.5 - 1e-2, free)) / 2e-2
    np.testing.assert_allclose(slope(0.5, free), step, rtol=2e-2)


def test_derivatives_of_the_fixed_point_are_the_discounted_occupancy():
    problem = random_problem(6, 4, 2)

    def value(rewards):
        found = soft.solve(problem._replace(rewards=rewards), temperature=0.5, discount=0.9)
        return problem.start @ found.values, found.policy

    slope, policy = jax.jit(jax.grad(value, has_aux=True))(problem.rewards)
    np.testing.assert_allclose(slope, hard.occupancy(problem, policy, discount=0.9), rtol=1e-4)


@pytest.mark.parametrize(("stay", "outlook"), [([1.0, 0.0], soft.expected), ([0.8, 0.8], soft.optimistic)])
def test_a_problem_without_finite_values_is_told_by_its_duration(stay: list[float], outlook: soft.Outlook):
    """V = log(exp V + 1), and V = log 2 (0.8 exp V + 0.2), have no solution: entropy outweighs the end."""
    problem = MDP(jnp.array(stay).reshape(1, 2, 1), jnp.zeros((1, 2)), jnp.ones(1))
    how = {"temperature": 1.0, "discount": 1.0, "outlook": outlook}
    run = jax.jit(lambda problem: soft.duration(problem, soft.solve(problem, **how), **how))
    assert not run(problem) < 1e4
    # where going on costs enough, there is one
    assert run(problem._replace(rewards=jnp.full((1, 2), -2.0))) < 20
