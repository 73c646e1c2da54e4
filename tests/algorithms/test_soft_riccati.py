"""Soft linear-quadratic control against tables on a fine grid, and against the recursion without noise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import soft_bellman
from jensen.algorithms import soft_riccati as soft
from jensen.algorithms.mdp import MDP

HORIZON, TEMPERATURE, DISCOUNT = 2, 0.6, 0.9
PROBLEM = soft.LinearQuadratic(*(jnp.array([[v]]) for v in (0.8, 0.7, 0.2, 1.0, 0.9)))


@pytest.mark.parametrize(
    ("chance", "outlook"),
    [(soft.expected, soft_bellman.expected), (soft.optimistic, soft_bellman.optimistic)],
)
def test_closed_form_is_the_table_on_a_fine_grid(chance: soft.Chance, outlook: soft_bellman.Outlook):
    states, actions = np.linspace(-5, 5, 161), np.linspace(-5, 5, 81)
    mean = 0.8 * states[:, None] + 0.7 * actions
    log_odds = -((states - mean[..., None]) ** 2) / (2 * 0.2)
    moves = np.exp(log_odds - log_odds.max(-1, keepdims=True))
    moves /= moves.sum(-1, keepdims=True)
    rewards = -(states[:, None] ** 2 + 0.9 * actions**2) / 2
    table = MDP(jnp.asarray(moves, jnp.float32), jnp.asarray(rewards, jnp.float32), jnp.ones(161) / 161)
    width = actions[1] - actions[0]

    @jax.jit
    def tabular(table, last):
        how = {"temperature": TEMPERATURE, "discount": DISCOUNT, "outlook": outlook}
        second = soft_bellman.backup(table, last, **how)
        correction = TEMPERATURE * jnp.log(width)  # a sum over the grid is an integral but for this
        first = soft_bellman.backup(table, second.values + correction, **how)
        return first.values + correction, first.policy

    values, policy = tabular(table, jnp.asarray(-(states**2) / 2, jnp.float32))
    found = soft.backward(PROBLEM, HORIZON, temperature=TEMPERATURE, discount=DISCOUNT, chance=chance)
    near = np.abs(states) < 1.5
    wanted = found.offset[0] - found.curvature[0, 0, 0] * states**2 / 2
    np.testing.assert_allclose(values[near], wanted[near], atol=5e-3)
    at = 100  # s = 1.25
    mean = (policy[at] * actions).sum()
    np.testing.assert_allclose(mean, -found.gain[0, 0, 0] * states[at], atol=5e-3)
    spread = (policy[at] * (actions - mean) ** 2).sum()
    np.testing.assert_allclose(spread, found.covariance[0, 0, 0], rtol=2e-2)


def test_without_noise_both_agree_and_without_temperature_it_is_the_regulator():
    rng = np.random.default_rng(0)
    a, b = jnp.asarray(rng.normal(size=(3, 3)) / 2), jnp.asarray(rng.normal(size=(3, 2)))
    still = soft.LinearQuadratic(a, b, jnp.zeros((3, 3)), jnp.eye(3), jnp.eye(2))
    one, other = (
        soft.backward(still, 5, temperature=0.5, chance=c) for c in (soft.expected, soft.optimistic)
    )
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)
    cold = soft.backward(still._replace(noise=jnp.eye(3)), 5, temperature=0.0)
    np.testing.assert_allclose(cold.gain, one.gain, atol=1e-6)
    assert not cold.covariance.any()
    # noise makes the exact posterior hopeful: it controls less
    hopeful = soft.backward(still._replace(noise=jnp.eye(3)), 5, temperature=0.5, chance=soft.optimistic)
    assert jnp.linalg.norm(hopeful.gain[0]) < jnp.linalg.norm(one.gain[0])


def test_float32_stays_float32_where_float64_is_on():
    wanted = soft.backward(PROBLEM, 3, temperature=0.5, discount=0.9, chance=soft.optimistic)
    with jax.enable_x64(True):
        for chance in (soft.expected, soft.optimistic):
            heat, discount = jnp.asarray(0.5), jnp.asarray(0.9)
            found = soft.backward(PROBLEM, 3, temperature=heat, discount=discount, chance=chance)
            assert {part.dtype for part in found} == {np.dtype("float32")}
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
