"""The environments: Gymnasium's own check, their demonstrators, and policies that must fail or succeed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from collections import Counter

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from jensen import control, envs
from jensen.errors import InputError

IDS = ("jensen/Tree-v0", "jensen/ThreeRoute-v0", "jensen/Particle-v0")


@pytest.fixture(scope="module")
def even():
    return envs.demonstrate("jensen/Tree-v0", 400, seed=0)


def rollouts(env, policy, episodes, seed=0):
    """Last info of each episode; ``policy()`` makes an episode's actor."""
    ends = []
    for i in range(episodes):
        observation, _ = env.reset(seed=seed if i == 0 else None)
        act, over = policy(), False
        while not over:
            observation, _, terminated, truncated, info = env.step(act(observation))
            over = terminated or truncated
        ends.append(info)
    return ends


def successes(ends):
    return np.mean([info["is_success"] for info in ends])


@pytest.mark.parametrize("id", IDS)
def test_gymnasiums_check_passes_without_a_warning(id):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(envs.make(id, render_mode="rgb_array").unwrapped)


@pytest.mark.parametrize("id", IDS)
def test_seeds_repeat_an_episode(id):
    def episode(seed):
        env = envs.make(id)
        first, _ = env.reset(seed=seed)
        env.action_space.seed(seed)
        return np.stack([first, *(env.step(env.action_space.sample())[0] for _ in range(3))])

    assert np.array_equal(episode(1), episode(1))
    assert not np.array_equal(episode(1), episode(2))


@pytest.mark.parametrize("id", IDS)
def test_demonstrations_repeat_and_end_as_gymnasium_says(id):
    one, two = (envs.demonstrate(id, 20, seed=3) for _ in range(2))
    assert one.modes == two.modes
    for a, b in zip(one.actions + one.observations, two.actions + two.observations, strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(one.successes, one.terminated)  # a demonstrator that ends the episode has arrived
    assert all(r.sum() == s for r, s in zip(one.rewards, one.successes, strict=True))


@pytest.mark.parametrize(
    "id, shares",
    [(IDS[0], (0.5, 0.5)), (IDS[0], (0.2, 0.8)), (IDS[1], (1 / 3, 1 / 3, 1 / 3)), (IDS[1], (0.1, 0.2, 0.7))],
)
def test_demonstrators_arrive_by_the_shares_asked_for(id, shares):
    episodes = envs.demonstrate(id, 200, shares=shares, seed=1)
    assert episodes.successes.mean() >= 0.99
    counts = Counter(episodes.modes)
    for mode, p in zip(envs.make(id).unwrapped.modes, shares, strict=True):
        assert abs(counts[mode] / 200 - p) < 3.5 * np.sqrt(p * (1 - p) / 200)


@pytest.mark.parametrize("num_dims", [1, 2, 8])
def test_particle_demonstrator_arrives(num_dims):
    env = envs.make("jensen/Particle-v0", num_dims=num_dims)
    episodes = envs.demonstrate(env, 100, seed=0)
    assert episodes.successes.mean() >= 0.99
    assert episodes.observations[0].shape[1] == 4 * num_dims
    assert episodes.modes == ()


def test_the_start_says_nothing_about_the_side(even):
    starts = np.stack([o[0] for o in even.observations])
    side = np.array([-1.0 if m == "left" else 1.0 for m in even.modes])
    for column in starts.T:
        assert abs(np.corrcoef(column, side)[0, 1]) < 3.5 / np.sqrt(400)


def test_actions_at_the_start_are_bimodal_and_their_mean_is_straight_on(even):
    lateral = np.array([a[0, 0] for a in even.actions])
    assert np.abs(lateral).min() > 0.4
    assert abs(lateral.mean()) < 0.15


def test_the_mean_of_the_demonstrations_drives_into_the_tree(even):
    observations, actions = even.flat()

    def mean(observation):  # kernel regression: a planted policy of one mode
        weights = np.exp(-0.5 * (((observations - observation) / 0.08) ** 2).sum(1))
        return (weights @ actions / max(weights.sum(), 1e-9)).astype(np.float32)

    ends = rollouts(envs.make("jensen/Tree-v0"), lambda: mean, 100)
    assert successes(ends) <= 0.05
    straight = rollouts(envs.make("jensen/Tree-v0"), lambda: lambda o: np.float32([0, 1]), 50)
    assert successes(straight) == 0
    assert {info["mode"] for info in straight} == {""}


def test_picking_a_side_at_random_passes_the_tree():
    env, rng = envs.make("jensen/Tree-v0"), np.random.default_rng(0)
    inner = env.unwrapped

    def pick():
        return inner.demonstrator(str(rng.choice(inner.modes)), 0.0, rng)

    ends = rollouts(env, pick, 100)
    assert successes(ends) == 1
    assert 30 <= Counter(info["mode"] for info in ends)["left"] <= 70


def test_one_step_straight_on_is_too_late():
    env = envs.make("jensen/Tree-v0")
    inner = env.unwrapped
    for side in inner.modes:
        observation, _ = env.reset(seed=0)
        observation = env.step(np.float32([0, np.sqrt(0.5)]))[0]
        act, over = inner.demonstrator(side, 0.0, np.random.default_rng(0)), False
        while not over:
            observation, _, terminated, truncated, info = env.step(act(observation))
            over = terminated or truncated
        assert not info["is_success"]


def test_the_mean_of_three_headings_meets_the_wall():
    env = envs.make("jensen/ThreeRoute-v0")
    inner = env.unwrapped
    start = np.asarray(inner.start)
    mean = np.mean([inner.heading(m, start) for m in inner.modes], 0)
    assert successes(rollouts(env, lambda: lambda o: np.float32(mean), 50)) == 0


def test_a_fast_point_cannot_jump_a_wall_or_leave_the_world():
    env = envs.ThreeRoute()
    env.reset(seed=0)
    for _ in range(40):
        observation, _, terminated, *_ = env.step([1.0, -1.0])
    assert np.allclose(observation, [1.25, -1.25]) and not terminated
    env.reset(seed=0)
    env._position = np.array([-0.3, -0.11])
    env.step_length = 1.0  # one step from below the wall to above it
    _, reward, terminated, _, info = env.step([0.0, 1.0])
    assert terminated and reward == 0 and not info["is_success"]
    env.reset(seed=0)
    env._position = np.array([0.4, -0.5])
    assert env.step([0.0, 1.0])[4]["mode"] == "middle"


@pytest.mark.parametrize("side", [-1, 1])
def test_the_wall_reaches_the_edge_of_the_world(side):
    env = gymnasium.make("jensen/ThreeRoute-v0").unwrapped
    env.reset(seed=0)
    for _ in range(14):
        env.step([side, 0])
    for _ in range(12):
        seen, _, terminated, _, info = env.step([0, 1])
        if terminated:
            break
    assert abs(seen[0]) == 1.25 and terminated and seen[1] < 0.1
    assert not info["is_success"]


def test_particle_is_the_euler_scheme_it_says():
    env = envs.Particle(num_dims=3)
    observation, _ = env.reset(seed=4)
    x, v = observation[:3].astype(float), observation[3:6].astype(float)
    g = np.array([0.1, 0.9, 0.4])
    for _ in range(10):
        x, v = x + 0.005 * v, v + 0.005 * (10 * (g - x) - 5 * v)
    after = env.step(g)[0]
    assert np.allclose(after[:6], [*x, *v], atol=1e-6)


def test_heading_straight_for_the_second_goal_fails():
    env = envs.make("jensen/Particle-v0")
    ends = rollouts(env, lambda: lambda o: np.clip(o[6:], 0, 1), 50)
    assert successes(ends) <= 0.2  # some lie on the way


def test_actions_are_clipped_and_nonsense_is_refused():
    env = envs.Tree()
    one, _ = env.reset(seed=0)
    assert np.allclose(env.step([9.0, -9.0])[0] - one, [0.15, -0.15], atol=1e-6)
    with pytest.raises(InputError, match="not finite"):
        env.step([np.nan, 0.0])
    with pytest.raises(InputError, match=r"shape \(2,\), not \(3,\)"):
        env.step([0.0, 0.0, 0.0])
    with pytest.raises(InputError, match="not finite"):
        envs.Particle().step([np.inf, 0.0])


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: envs.make("jensen/tree-v0"), "did you mean 'jensen/Tree-v0'"),
        (lambda: envs.make("zzzzqqqq"), "choose one of .*jensen/Particle-v0"),
        (lambda: envs.make("jensen/Particle-v0", num_dims=0), "num_dims must be at least 1"),
        (lambda: envs.make("jensen/Tree-v0", radius=1), "cannot be built.*radius"),
        (
            lambda: envs.make("nowhere_to_be_found:Place-v0"),
            "cannot be built: No module named 'nowhere_to_be",
        ),
        (lambda: control.collect("nowhere_to_be_found:Place-v0", episodes=1), "cannot be built: No module"),
        (lambda: envs.demonstrate("CartPole-v1", 2, seed=0), "no demonstrator of its own"),
        (lambda: envs.demonstrate(IDS[0], 0, seed=0), "at least 1"),
        (lambda: envs.demonstrate(IDS[0], 2, shares=(0.5, 0.6), seed=0), "2 probabilities"),
        (lambda: envs.demonstrate(IDS[0], 2, shares=(1.0,), seed=0), "left, right"),
        (lambda: envs.Tree(render_mode="human"), "rgb_array"),
        (lambda: envs.Tree(render_mode="rgb_array").render(), "before reset"),
    ],
)
def test_bad_input_is_told_in_one_line(call, says):
    with pytest.raises(InputError, match=says) as refused:
        call()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("id", IDS)
def test_pictures_show_what_the_scene_holds(id):
    from jensen.envs import canvas as colours

    env = envs.make(id, render_mode="rgb_array")
    env.reset(seed=1)
    inner = env.unwrapped
    image, scene = env.render(), inner.scene()
    assert image.shape == (192, 192, 3) and image.dtype == np.uint8

    def at(x, y):
        b = scene["bounds"]
        return tuple(
            image[
                int((b.top - y) / (b.top - b.bottom) * 192), int((x - b.left) / (b.right - b.left) * 192)
            ].tolist()
        )

    assert at(*inner.xy()) == colours.AGENT
    assert at(scene["goals"][-1].x, scene["goals"][-1].y) == colours.GOALS[-1]
    for circle in scene["circles"]:
        assert at(circle.x, circle.y) == colours.OBSTACLE
    for r in scene["rectangles"]:
        assert at((r.left + r.right) / 2, (r.top + r.bottom) / 2) == colours.OBSTACLE
    edge = np.unique(image.reshape(-1, 3), axis=0)
    assert len(edge) > 8  # smoothed edges have colours between


def test_registering_twice_changes_nothing():
    before = {id: gymnasium.spec(id) for id in IDS}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(envs)
    assert all(gymnasium.spec(id) is before[id] for id in IDS)


def test_jensen_alone_does_not_load_gymnasium_and_its_absence_is_said():
    script = """
import sys
import jensen, jensen.datasets, jensen.fit
assert "gymnasium" not in sys.modules
sys.modules["gymnasium"] = None
try:
    import jensen.envs
except jensen.errors.MissingExtraError as error:
    assert "pip install 'jensen[rl]'" in str(error), error
else:
    raise SystemExit("no error")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
