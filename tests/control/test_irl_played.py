"""Dynamics estimated while playing: by counting, and good enough to infer in."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from jensen import envs
from jensen.control import irl
from jensen.control.policies.tabular import sample_episodes
from jensen.control.soft import earned, soft_control
from jensen.datasets import Episodes
from jensen.errors import InputError

KEY = jax.random.key(0)


def test_estimated_by_counting():
    """Two ways out of one pair, an end in one of three, and what was never tried stays."""
    shown = Episodes(
        (np.array([0, 1, 0, 1]), np.array([1, 0, -1]), np.array([2, 0, 2])),
        (np.array([0, 1, 0]), np.array([1, 0]), np.array([0, 1])),
        (np.zeros(3), np.zeros(2), np.zeros(2)),
        terminated=np.array([False, True, False]),
        truncated=np.array([True, False, True]),
        name="shown",
    )
    found = irl.estimated([shown], 3, 2)
    moves = np.asarray(found.transitions)
    np.testing.assert_allclose(moves[0, 0], [0, 2 / 3, 0], rtol=1e-6)  # the third time it ended
    np.testing.assert_allclose(moves[1, 1], [1, 0, 0])
    np.testing.assert_allclose(moves[[1, 2], [0, 1]], np.eye(3)[[1, 2]])
    np.testing.assert_allclose(found.start, [1 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(irl.estimated([shown, shown], 3, 2).transitions, moves)


def test_as_good_as_knowing_the_dynamics():
    world = envs.CliffWorld().mdp()
    shown = sample_episodes(
        world, soft_control(world, temperature=1.0, horizon=8).policy, 10, max_steps=8, seed=1000
    )
    reward, how = irl.StateReward(world.num_states), {"prior_scale": 10.0, "steps": 300, "key": KEY}
    rounds = []

    def play(policy: np.ndarray, number: int) -> Episodes:
        rounds.append(policy)
        return sample_episodes(world, policy, 200, max_steps=8, seed=number)

    played = irl.infer_played(shown, play, reward, num_actions=4, horizon=8, **how)
    known = irl.infer(irl.SoftOptimal(world, reward, horizon=8), shown, **how)
    assert abs(earned(world, played.found.policy) - earned(world, known.policy)) < 0.5
    assert played.tried > 0.95
    # each round plays what the one before found, half of the time
    assert np.ptp(rounds[0]) == 0 and rounds[1].shape == (8, world.num_states, 4)
    assert rounds[2].min() >= 0.125 and rounds[2].max() > 0.6


def test_refused():
    shown = ([np.array([0, 1])], [np.array([3])])
    with pytest.raises(InputError, match="episode 0, step 0: a state or an action outside the tables of 2 "):
        irl.estimated([shown], 2, 2)
    with pytest.raises(InputError, match="nothing to estimate"):
        irl.estimated([], 2, 2)
    with pytest.raises(InputError, match="rounds is 0"):
        irl.infer_played(
            shown, lambda policy, number: shown, irl.StateReward(2), num_actions=2, rounds=0, key=KEY
        )
