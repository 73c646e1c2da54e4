"""λ-returns against the recursion as it is written, and its two ends."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms.returns import lambda_returns, survival

RNG = np.random.default_rng(0)
REWARDS, VALUES = RNG.normal(size=(2, 7))
CONTINUES = np.array([1.0, 0.9, 1.0, 0.0, 1.0, 0.5, 1.0])
GAMMA = 0.9


def got(decay: float, continues: np.ndarray = CONTINUES) -> np.ndarray:
    arrays = (jnp.asarray(a, jnp.float32) for a in (REWARDS, continues, VALUES))
    return np.asarray(lambda_returns(*arrays, discount=GAMMA, decay=decay))


@pytest.mark.parametrize("decay", [0.0, 0.7, 1.0])
def test_equal_to_the_mixture_of_all_lengths(decay: float):
    # (1 − λ) Σ_n λ^{n−1} G^(n), each of n rewards and a value, the longest with all the weight that is left
    for t in range(7):
        total, left = 0.0, 1.0
        for n in range(1, 7 - t + 1):
            alive, sum_ = 1.0, 0.0
            for k in range(t, t + n):
                sum_ += alive * REWARDS[k]
                alive *= GAMMA * CONTINUES[k]
            share = left if n == 7 - t else left * (1 - decay)
            total += share * (sum_ + alive * VALUES[t + n - 1])
            left *= decay
        assert got(decay)[t] == pytest.approx(total, abs=1e-5)


def test_nothing_after_an_end_counts():
    moved = REWARDS.copy()
    moved[4:] += 100
    arrays = (jnp.asarray(a, jnp.float32) for a in (moved, CONTINUES, VALUES))
    after = lambda_returns(*arrays, discount=GAMMA, decay=0.7)
    np.testing.assert_array_equal(np.asarray(after)[:4], got(0.7)[:4])
    assert got(0.7)[3] == pytest.approx(REWARDS[3], abs=1e-6)


def test_not_even_what_is_not_finite():
    rewards, values = jnp.array([1.0, 2.0, jnp.inf]), jnp.array([3.0, jnp.inf, 4.0])
    after = lambda_returns(rewards, jnp.array([1.0, 0.0, 1.0]), values, discount=GAMMA, decay=0.8)
    np.testing.assert_allclose(after[:2], [1 + GAMMA * (0.2 * 3 + 0.8 * 2), 2], rtol=1e-6)


def test_survival_multiplies_what_came_before():
    alive = [np.prod([GAMMA * c for c in CONTINUES[:t]]) for t in range(7)]
    np.testing.assert_allclose(survival(jnp.asarray(CONTINUES), discount=GAMMA), alive, rtol=1e-5)
