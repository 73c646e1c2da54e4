"""Sampled inverse reinforcement learning against all trajectories of a table, one by one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.control import irl
from jensen.control.policies.tabular import sample_episodes
from jensen.datasets import Episodes
from jensen.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "algorithms"))
from decision_problems import random_problem, trajectories

KEY, STATES, HORIZON, TEMPERATURE = jax.random.key(0), 3, 3, 0.7


@pytest.fixture(scope="module")
def world() -> MDP:
    return random_problem(0)


@pytest.fixture(scope="module")
def exact(world: MDP) -> tuple[Any, np.ndarray, float]:
    """A linear reward of states, and log Z and its gradient by the recursion that knows the dynamics."""
    reward = irl.SeenReward(STATES, widths=(), key=KEY)
    weights = jnp.array([1.0, -0.5, 0.3])
    reward = eqx.tree_at(lambda r: r.net.layers[0].weight, reward, weights[None])

    def log_partition(weights: jax.Array) -> jax.Array:
        problem = world._replace(rewards=jnp.broadcast_to(weights[:, None], (STATES, 2)))
        how = {"temperature": TEMPERATURE, "outlook": soft_bellman.optimistic}
        values = soft_bellman.backward(problem, HORIZON, **how).values[0]
        return jax.nn.logsumexp(values / TEMPERATURE, b=world.start)

    value, slope = jax.jit(jax.value_and_grad(log_partition))(weights)
    return reward, np.asarray(slope), float(value)


@eqx.filter_jit
def climbed(reward: Any, drawn: irl.Trajectories, log_q: Any) -> Any:
    """Return the estimate with one episode shown that stays in state 0, and its gradient."""
    shown = irl.Trajectories(
        jnp.eye(STATES)[None, jnp.zeros(HORIZON, int)], jnp.zeros((1, HORIZON), int), jnp.ones((1, HORIZON))
    )

    def value(reward: Any) -> Any:
        found = irl.sampled_likelihood(reward, shown, drawn, log_q, temperature=TEMPERATURE)
        return found.value, found.effective

    (value_, effective), slope = eqx.filter_value_and_grad(value, has_aux=True)(reward)
    return value_, effective, slope.net.layers[0].weight[0]


def test_of_all_trajectories_the_gradient_is_the_exact_one(world: MDP, exact: tuple):
    reward, slope, log_z = exact
    every = list(trajectories(world, HORIZON))
    states, actions = (np.array(part) for part in zip(*every, strict=True))
    p, start = np.asarray(world.transitions, float), np.asarray(world.start, float)
    log_p = np.log(start[states[:, 0]])
    for t in range(HORIZON):
        log_p += np.log(p[states[:, t], actions[:, t], states[:, t + 1]])
    drawn = irl.Trajectories(
        np.eye(STATES, dtype=np.float32)[states[:, :-1]], actions, np.ones(actions.shape, np.float32)
    )
    # as if each had been drawn once, at the density 1/N/p(τ) that makes the mean the sum over all
    value, _, found = climbed(reward, drawn, (-log_p - np.log(len(every))).astype(np.float32))
    shown = np.array([HORIZON, 0.0, 0.0]) / TEMPERATURE
    np.testing.assert_allclose(found, shown - slope, atol=1e-4)
    assert float(value) == pytest.approx(HORIZON * 1.0 / TEMPERATURE - log_z, abs=1e-4)


def test_episodes_of_any_policy_estimate_it(world: MDP, exact: tuple):
    """Even odds, and a policy that prefers one action, whose weights undo that."""
    reward, slope, log_z = exact
    shown = np.array([HORIZON, 0.0, 0.0]) / TEMPERATURE
    for seed, odds in enumerate((0.5, 0.8)):
        policy = np.broadcast_to([odds, 1 - odds], (STATES, 2))
        episodes = sample_episodes(world, policy, 6_000, max_steps=HORIZON, seed=seed)
        found = irl.Trajectories.of(episodes, HORIZON)
        drawn = found._replace(observations=np.eye(STATES)[found.observations[..., 0].astype(int)])
        log_q = np.log(np.where(drawn.actions == 0, odds, 1 - odds)).sum(1).astype(np.float32)
        value, effective, found = climbed(reward, drawn, log_q)
        np.testing.assert_allclose(found, shown - slope, atol=0.1)
        assert float(value) == pytest.approx(HORIZON / TEMPERATURE - log_z, abs=0.1)
        assert 600 < float(effective) < 6_000


def test_steps_after_an_end_have_no_part(world: MDP):
    """All trajectories of a world that ends a third of its steps: the gradient in the constant is of lengths."""
    p, start = np.asarray(world.transitions, float) * 2 / 3, np.asarray(world.start, float)
    seen, done, log_p = [], [], []
    for length in range(1, HORIZON + 1):
        for states, actions in trajectories(world, length):
            if states[-1] == 0:  # the state after the last action counts once
                moves = [p[states[t], actions[t], states[t + 1]] for t in range(length - 1)]
                last = 1 / 3 if length < HORIZON else 1.0
                log_p.append(np.log([start[states[0]], *moves, last]).sum())
                seen.append(np.eye(STATES)[list(states)])
                done.append(np.array(actions))
    assert sum(
        np.exp(each) / 2 ** len(acts) for each, acts in zip(log_p, done, strict=True)
    ) == pytest.approx(1)
    every = irl.Trajectories.of(Episodes(tuple(seen), tuple(done)), HORIZON)
    ended = np.array([True, False])
    shown = Episodes(
        (np.eye(STATES)[[0, 0]], np.eye(STATES)[[0, 1, 2, 0]]), (np.zeros(1, int), np.zeros(3, int))
    )
    shown = irl.Trajectories.of(replace(shown, terminated=ended, truncated=~ended), HORIZON)
    reward = irl.SeenReward(STATES, widths=(), key=KEY)
    weights, constant = np.array([1.0, -0.5, 0.3]), 0.4
    reward = eqx.tree_at(
        lambda r: (r.net.layers[0].weight, r.net.layers[0].bias),
        reward,
        (jnp.asarray(weights, jnp.float32)[None], jnp.full(1, constant)),
    )
    log_q = (-np.array(log_p) - np.log(len(log_p))).astype(np.float32)

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def climb(reward: Any) -> Any:
        return irl.sampled_likelihood(reward, shown, every, log_q, temperature=TEMPERATURE).value

    value, slope = climb(reward)
    counts, lengths = np.array([rows[:-1].sum(0) for rows in seen]), np.array([len(acts) for acts in done])
    each = np.exp(np.array(log_p) + (counts @ weights + constant * lengths) / TEMPERATURE)
    share = each / each.sum()
    own, own_length = np.array([1.0, 0.5, 0.5]), 2.0
    bias = slope.net.layers[0].bias[0] * TEMPERATURE
    np.testing.assert_allclose(bias, own_length - share @ lengths, atol=1e-4)
    found = slope.net.layers[0].weight[0] * TEMPERATURE
    np.testing.assert_allclose(found, own - share @ counts, atol=1e-4)
    shown_return = (own @ weights + constant * own_length) / TEMPERATURE
    assert float(value) == pytest.approx(shown_return - np.log(each.sum()), abs=1e-4)


def test_episodes_of_any_length_are_filled_up_and_longer_ones_refused():
    episodes = Episodes((np.ones((3, 2)), np.ones((2, 2))), (np.array([1, 0]), np.array([1])))
    found = irl.Trajectories.of(episodes, 3)
    assert found.real.tolist() == [[1, 1, 0], [1, 0, 0]] and found.actions[0].tolist() == [1, 0, 0]
    with pytest.raises(InputError, match="episode 0 has 2 steps, the horizon is 1"):
        irl.Trajectories.of(episodes, 1)
    ended = np.array([True, False])
    cut = replace(episodes, terminated=ended, truncated=~ended)
    assert irl.Trajectories.of(cut.take([0]), 3).real.tolist() == [[1, 1, 0]]
    with pytest.raises(
        InputError, match="episode 1 was cut off after 1 of 2 steps; record up to the horizon"
    ):
        irl.Trajectories.of(cut, 2)
    with pytest.raises(InputError, match="actions are vectors"):
        irl.Trajectories.of(Episodes((np.ones((3, 2)),), (np.ones((2, 1)),)), 3)
