"""The pendulum is Gymnasium's; its pictures show the angle."""

from __future__ import annotations

import numpy as np
import pytest

from jensen.datasets.pendulum import HOLD, SIDE, move, pendulum, render, vectors
from jensen.errors import InputError


def test_a_step_is_the_textbook_step():
    rng = np.random.default_rng(0)
    states = np.stack([rng.uniform(-4, 4, 200), rng.uniform(-8, 8, 200)], -1)
    torque = rng.uniform(-3, 3, 200)
    for (angle, speed), u, got in zip(states, torque, move(states, torque), strict=True):
        u = min(max(u, -2.0), 2.0)
        speed = speed + (3 * 10.0 / (2 * 1.0) * np.sin(angle) + 3.0 / (1.0 * 1.0**2) * u) * 0.05
        speed = min(max(speed, -8.0), 8.0)
        np.testing.assert_allclose(got, [angle + speed * 0.05, speed], atol=1e-12)


def test_episodes_are_gymnasiums():
    gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")
    data = pendulum(3, 100, observations="states", seed=4)
    env = gymnasium.make("Pendulum-v1").unwrapped
    for x, actions, states in zip(data.x, data.actions, data.states, strict=True):
        env.reset(seed=0)
        env.state = states[0].copy()
        for t, action in enumerate(actions):
            x_next = env.step(action.astype(np.float64))[0]
            np.testing.assert_allclose(env.state, states[t + 1], atol=1e-6)  # torques are kept in float32
            np.testing.assert_allclose(x_next, x[t + 1], atol=1e-5)


def test_torques_last_and_stay_in_range():
    actions = pendulum(50, 200, observations="states").actions[..., 0]
    assert np.abs(actions).max() <= 2 and np.abs(actions).max() > 1.9
    changes = (np.diff(actions) != 0).mean()
    assert abs(changes - 1 / HOLD) < 0.01


def test_a_seed_is_an_answer():
    one, same, other = pendulum(2, 20), pendulum(2, 20), pendulum(2, 20, seed=1)
    np.testing.assert_array_equal(one.x, same.x)
    assert not np.allclose(one.states, other.states)
    states = pendulum(2, 20, observations="states")
    np.testing.assert_array_equal(one.states, states.states)  # the same episodes, seen otherwise
    np.testing.assert_allclose(states.x, vectors(states.states), atol=1e-6)
    noisy = pendulum(2, 20, observations="states", noise=0.1)
    assert abs((noisy.x - states.x).std() - 0.1) < 0.02


def test_pictures_show_the_angle_and_nothing_else():
    angle = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    pictures = render(angle)
    assert pictures.dtype == np.float32 and pictures.min() == 0 and pictures.max() == 1
    mass = pictures.sum(1)
    assert np.ptp(mass) / mass.mean() < 0.03  # anti-aliased: as much light at every angle
    line = np.arange(SIDE) - (SIDE - 1) / 2
    across = (pictures.reshape(-1, SIDE, SIDE) * line).sum((1, 2))
    up = (pictures.reshape(-1, SIDE, SIDE) * -line[:, None]).sum((1, 2))
    seen = np.arctan2(-across, up)
    assert np.abs(np.angle(np.exp(1j * (seen - angle)))).max() < 0.02
    np.testing.assert_allclose(render(angle + 2 * np.pi), pictures, atol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [{"episodes": 0, "steps": 5}, {"episodes": 1, "steps": 1}, {"episodes": 1, "steps": 5, "noise": -1.0},
     {"episodes": 1, "steps": 5, "observations": "sounds"}],
)  # fmt: skip
def test_bad_calls(wrong):
    with pytest.raises(InputError, match="pendulum"):
        pendulum(**wrong)
