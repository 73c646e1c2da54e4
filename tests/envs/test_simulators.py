"""The simulated worlds: Gymnasium's own physics where it has them, exact tables, one copy as many copies."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy import stats

from jensen import envs
from jensen.algorithms.mdp import backward_induction, checked, reachable
from jensen.datasets.pendulum import render
from jensen.envs import planar
from jensen.envs.worlds import WORLDS
from jensen.errors import InputError

SMALL = {"DeepSea": {"size": 4, "stochastic": True}, "NoisyTV": {"room": 3, "pixels": 4}}
KEY = jax.random.key(0)
STEP = eqx.filter_jit(lambda world, state, action: world.step(state, action, key=KEY))
SEE = eqx.filter_jit(lambda world, state: world.observe(state))
ADVANCED = jax.jit(planar.advanced)
OPTIMUM = jax.jit(
    lambda tables, steps: backward_induction(tables, steps).values[0] @ tables.start, static_argnums=1
)


def test_every_world_is_registered_and_nothing_else_is():
    ours = {id for id in gymnasium.registry if id.startswith("jensen/")}
    old = {"jensen/Tree-v0", "jensen/ThreeRoute-v0", "jensen/Particle-v0"}
    assert ours == old | {f"jensen/{name}-v0" for name in WORLDS}


@pytest.mark.parametrize("name", WORLDS)
def test_gymnasiums_check_passes(name):
    env = envs.make(f"jensen/{name}-v0", render_mode="rgb_array", **SMALL.get(name, {}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for true_of_gymnasiums_own_too in (".*symmetric and normalized", ".*value is -?infinity"):
            warnings.filterwarnings("ignore", message=true_of_gymnasiums_own_too)
        check_env(env.unwrapped)
    observation, _ = env.reset(seed=3)
    again, _ = env.reset(seed=3)
    assert np.array_equal(observation, again)
    observation[:] = 0  # a caller's array is the caller's
    assert env.render().std() > 0 and env.render().dtype == np.uint8


def side_by_side(simulator, peer, start, actions, act=lambda a: a):
    """Both after each action, ours from where the other was."""
    peer.reset(seed=0)
    peer.state = np.array(start, np.float64)
    here = jnp.asarray(start, jnp.float32)
    for action in actions:
        moved = STEP(simulator, here, jnp.asarray(act(action), jnp.float32))
        _, reward, terminated, *_ = peer.step(action)
        yield moved, np.array(peer.state, np.float64), float(reward), bool(terminated)
        here = jnp.asarray(np.array(peer.state), jnp.float32)


@pytest.mark.parametrize("start", [(3.1, 0.4), (-0.3, 7.9), (40.0, -8.0)])
def test_the_pendulum_is_gymnasiums_step_by_step(start):
    rng = np.random.default_rng(0)
    world, peer = envs.PixelPendulum(), gymnasium.make("Pendulum-v1").unwrapped
    torques = rng.uniform(-2, 2, (30, 1))
    for moved, state, reward, _ in side_by_side(world, peer, start, torques):
        assert np.allclose(moved.state, state, atol=1e-5)
        assert abs(float(moved.reward) - reward) < 1e-4
        assert float(moved.continues) == 1
        seen = SEE(world, jnp.asarray(state, jnp.float32))
        assert np.allclose(seen, render(state[:1])[0], atol=1e-4)


def test_the_pendulum_over_an_episode_from_gymnasiums_start():
    env = envs.make("jensen/PixelPendulum-v0")
    peer = gymnasium.make("Pendulum-v1")
    env.reset(seed=5)
    peer.reset(seed=5)
    peer.unwrapped.state = env.unwrapped.state.astype(np.float64)
    rng = np.random.default_rng(1)
    for t in range(200):
        torque = rng.uniform(-2, 2, 1).astype(np.float32)
        _, reward, terminated, truncated, info = env.step(torque)
        _, other, *_ = peer.step(torque)
        assert abs(reward - other) < 2e-2  # single precision over an episode; errors grow near the top
        assert not terminated and truncated == (t == 199)
    assert np.allclose(np.sin(info["state"][0]), np.sin(peer.unwrapped.state[0]), atol=1e-2)


def test_the_pendulum_starts_as_gymnasiums_does():
    starts = jax.vmap(lambda k: envs.PixelPendulum().initial(key=k))(jax.random.split(KEY, 2000))
    for column, width in zip(np.asarray(starts).T, (np.pi, 1.0), strict=True):
        assert stats.kstest(column, stats.uniform(-width, 2 * width).cdf).pvalue > 1e-3


def test_images_are_the_vectors_in_bytes():
    state = jnp.array([0.7, 0.0])
    row, image = envs.PixelPendulum().observe(state), envs.PixelPendulum("image").observe(state)
    assert image.shape == (32, 32, 1) and image.dtype == jnp.uint8
    assert np.array_equal(np.asarray(image).reshape(-1), np.round(255 * np.asarray(row)))
    assert envs.Planar(observations="image").observe(jnp.array([5.0, 5.0])).shape == (40, 40, 1)


@pytest.mark.parametrize(
    "name, peer, act",
    [
        ("SparseMountainCar", "MountainCar-v0", lambda a: np.eye(3)[a]),
        ("SparseMountainCarContinuous", "MountainCarContinuous-v0", lambda a: a),
    ],
)
@pytest.mark.parametrize("start", [(-0.5, 0.0), (-1.19, -0.05), (0.44, 0.06)])
def test_mountain_cars_are_gymnasiums(name, peer, act, start):
    world, peer = WORLDS[name](), gymnasium.make(peer).unwrapped
    actions = [peer.action_space.sample() for _ in range(10)]
    for moved, state, _, terminated in side_by_side(world, peer, start, actions, act):
        assert np.allclose(moved.state, state, atol=1e-6)
        assert float(moved.reward) == terminated and float(moved.continues) == (not terminated)
        if terminated:
            return
    assert start[0] != 0.44  # from there the goal is reached, and paid for


def test_cart_and_pole_are_gymnasiums():
    world, peer = envs.CartPoleSwingUp(), gymnasium.make("CartPole-v1").unwrapped
    peer.theta_threshold_radians = np.inf
    actions = np.random.default_rng(0).integers(0, 2, 40)
    start = (1.0, 0.2, np.pi - 0.1, 0.5)
    for moved, state, _, terminated in side_by_side(world, peer, start, actions, lambda a: [2.0 * a - 1]):
        assert np.allclose(moved.state, state, atol=1e-5)
        assert abs(float(moved.reward) - (1 + np.cos(state[2])) / 2) < 1e-5
        assert float(moved.continues) == (not terminated)
    off = world.step(jnp.array([2.39, 2.0, 0.0, 0.0]), jnp.ones(1), key=KEY)
    assert float(off.continues) == 0


@pytest.mark.parametrize("seed", [None, 3])
def test_deep_sea_has_the_optimum_it_says(seed):
    calm, p = checked(envs.DeepSea(6, mapping_seed=seed).mdp()), 1 - 1 / 6
    assert abs(float(OPTIMUM(calm, 6)) - 0.99) < 1e-6
    assert reachable(calm).sum() == 21
    rough = checked(envs.DeepSea(6, True, mapping_seed=seed).mdp())
    assert abs(float(OPTIMUM(rough, 6)) - (p**5 - 0.01 / 6 * sum(p**k for k in range(6)))) < 1e-6


def test_deep_sea_means_what_the_map_says():
    sea = envs.DeepSea(6, mapping_seed=1)
    assert 5 < int(sea.mapping.sum()) < 31
    moves = sea.moves
    to = np.asarray(sea.mdp().transitions).argmax(-1)
    for state in (0, 7, 20):
        (row, column), right = divmod(state, 6), int(sea.mapping[divmod(state, 6)])
        assert to[state, right] == (row + 1) * 6 + min(column + 1, 5)
        assert to[state, 1 - right] == (row + 1) * 6 + max(column - 1, 0)
        assert moves[state, right].tolist() == [1, 1] and moves[state, 1 - right].tolist() == [1, -1]
    slips = np.asarray(envs.DeepSea(6, True, mapping_seed=1).mdp().transitions)
    right = int(sea.mapping[1, 1])
    assert np.allclose(slips[7, right, [13, 14]], [1 / 6, 5 / 6]) and slips[7, 1 - right, 12] == 1
    assert not np.array_equal(sea.mapping, envs.DeepSea(6, mapping_seed=2).mapping)


@pytest.mark.parametrize(
    "world", [envs.DeepSea(4, True, mapping_seed=None), envs.CliffWorld(4, 3, wind=0.25)]
)
def test_what_happens_has_the_frequencies_of_the_tables(world):
    tables, draws = checked(world.mdp()), 4000
    keys = jax.random.split(KEY, draws)
    many = jax.jit(
        jax.vmap(lambda s, a, k: world.step(s, jax.nn.one_hot(a, world.action_dim), key=k), (None, None, 0))
    )
    for state, action in ((0, 1), (5, 1), (11, 0)):
        moved = many(jnp.int32(state), jnp.int32(action), keys)
        seen = np.bincount(np.asarray(moved.state), minlength=tables.num_states)[: tables.num_states] / draws
        p = np.asarray(tables.transitions[state, action])
        assert np.abs(seen - p).max() < 4 * np.sqrt(0.25 / draws)
        assert ((p > 0) == (seen > 0)).all()
        assert abs(float(moved.reward.mean() - tables.rewards[state, action])) < 1e-5
    begun = jax.vmap(lambda k: world.initial(key=k))(keys)
    assert np.allclose(np.bincount(begun, minlength=world.num_states) / draws, world.start, atol=0.03)


def test_noise_is_at_both_ends_of_the_last_row_only():
    sea, keys = envs.DeepSea(4, True, mapping_seed=None), jax.random.split(KEY, 2000)
    paid = jax.jit(jax.vmap(lambda s, k: sea.step(s, jnp.array([0.0, 1.0]), key=k).reward, (None, 0)))
    for state, mean, std in ((15, 1 - 0.0025, 1), (12, -0.0025, 1), (13, -0.0025, 0), (0, -0.0025, 0)):
        rewards = paid(jnp.int32(state), keys)
        assert abs(float(rewards.mean()) - mean) < 0.1 and abs(float(rewards.std()) - std) < 0.1


def test_cliff_world_is_the_one_published():
    world = envs.CliffWorld()
    tables = checked(world.mdp())
    assert abs(float(OPTIMUM(tables, 8)) - 39.2243) < 1e-3
    assert world.rewards.reshape(4, 7)[0].tolist() == [-1, *[-10] * 5, 10]
    assert np.allclose(tables.transitions.sum(-1), 1)
    for state, action in ((22, 1), (16, 2)):  # away from walls the calmer case is the move meant
        row, column = world.cells[state] + world.moves[state, action]
        assert abs(float(tables.transitions[state, action, row * 7 + column]) - 0.7) < 1e-6


@pytest.mark.parametrize("name", ["DeepSea", "CliffWorld"])
def test_copies_are_what_gymnasium_makes_of_single_ones(name):
    kwargs = SMALL.get(name, {})
    many = gymnasium.make_vec(f"jensen/{name}-v0", num_envs=3, **kwargs)
    single = gymnasium.make_vec(f"jensen/{name}-v0", num_envs=3, vectorization_mode="sync", **kwargs)
    assert isinstance(many, envs.SimulatorVectorEnv)
    assert many.metadata["autoreset_mode"] == single.metadata["autoreset_mode"]
    rng, ends = np.random.default_rng(0), 0
    for seed in (7, None, [1, None, 3]):
        assert np.array_equal(many.reset(seed=seed)[0], single.reset(seed=seed)[0])
        for _ in range(12):
            actions = rng.integers(0, many.single_action_space.n, 3)
            ours, theirs = many.step(actions), single.step(actions)
            for a, b in zip(ours[:4], theirs[:4], strict=True):
                assert np.array_equal(a, b) and a.dtype == b.dtype
            assert np.array_equal(ours[4]["state"], theirs[4]["state"])
            ends += (ours[2] | ours[3]).sum()
    assert ends > 6


def test_the_step_after_an_end_ignores_its_action_and_pays_nothing():
    many = envs.SimulatorVectorEnv(envs.DeepSea(2, mapping_seed=None), 2, render_mode="rgb_array")
    many.reset(seed=0)
    assert len(many.render()) == 2
    many.step([1, 0])
    seen, rewards, terminated, truncated, _ = many.step([1, 1])
    assert terminated.all() and not truncated.any() and seen.sum() == 0
    assert abs(rewards[0] - 0.995) < 1e-6 and abs(rewards[1] + 0.005) < 1e-6
    seen, rewards, terminated, _, info = many.step([1, 1])
    assert seen[:, 0].all() and not rewards.any() and not terminated.any() and not info["state"].any()


def test_the_disc_keeps_off_obstacles_and_edge():
    world, keys = envs.Planar(noise=0.5), jax.random.split(KEY, 100)

    def walk(key):
        start, *each = jax.random.split(key, 31)
        begun = world.initial(key=start)

        def step(state, k):
            state = world.step(state, jax.random.uniform(k, (2,), minval=-3, maxval=3), key=k).state
            return state, state

        return begun, jax.lax.scan(step, begun, jnp.stack(each))[1]

    begun, places = jax.jit(jax.vmap(walk))(keys)
    both = np.concatenate([begun, np.asarray(places).reshape(-1, 2)])
    assert jax.jit(jax.vmap(planar.free))(both).all()
    assert np.asarray(begun).std(0).min() > 8  # all over the plane


@pytest.mark.parametrize(
    "start, way, end",
    [
        ((5.0, 5.0), (3.0, -2.0), (8.0, 3.0)),  # free
        ((20.5, 4.0), (0.0, 3.0), (20.5, 5.99)),  # up to an obstacle
        ((20.5, 5.99), (0.0, 3.0), (20.5, 5.99)),  # no further
        ((20.5, 5.99), (0.0, -3.0), (20.5, 2.99)),  # but back
        ((3.0, 3.0), (-3.0, 0.0), (2.0, 3.0)),  # the edge
        ((20.5, 20.5), (2.0, 0.0), (22.5, 20.5)),  # through the gap there is room
    ],
)
def test_the_disc_goes_as_far_as_there_is_room(start, way, end):
    after = ADVANCED(jnp.array(start), jnp.array(way))
    assert np.allclose(after, end, atol=2e-3)


def test_the_planes_picture_shows_the_disc_where_it_is():
    world = envs.Planar()
    blank = np.asarray(world.observe(jnp.array([5.0, 5.0]))).reshape(40, 40)
    seen = np.asarray(world.observe(jnp.array([33.0, 8.0]))).reshape(40, 40)
    new = np.clip(seen - blank, 0, 1)
    assert abs(new.sum() - np.pi * 4) < 0.5
    y, x = np.indices(new.shape) + 0.5
    assert np.allclose([(new * x).sum(), (new * y).sum()] / new.sum(), [33, 8], atol=0.05)
    info = world.info(jnp.array([35.0, 36.0]))
    assert bool(info["is_success"]) and not bool(world.info(jnp.array([35.0, 38.0]))["is_success"])
    reward = world.step(jnp.array([35.0, 33.0]), jnp.array([0.0, -2.0]), key=KEY).reward
    assert abs(float(reward) + (4 / 40) ** 2) < 1e-6


def test_the_television_shows_noise_in_its_room_only():
    tv = envs.NoisyTV(room=3, pixels=6)
    step, press = jax.jit(tv.step), jax.nn.one_hot(4, 5)
    home = tv.initial(key=KEY)
    keys = jax.random.split(KEY, 300)
    shown, numbers = jax.jit(jax.vmap(lambda k: ((now := tv.step(home, press, key=k).state), tv.index(now))))(
        keys
    )
    assert np.allclose(shown.screen.mean(0), 0.5, atol=0.12) and shown.fresh.all()
    assert len(set(numbers.tolist())) > 50
    lit = jax.tree.map(lambda leaf: leaf[0], shown)
    stays = step(lit, jax.nn.one_hot(0, 5), key=KEY).state
    assert np.array_equal(stays.screen, lit.screen) and not stays.fresh
    assert (np.asarray(tv.observe(stays))[~tv.noise_mask] == np.eye(21)[int(stays.cell)]).all()
    state = stays._replace(cell=jnp.int32(8))  # through the door
    for column in (2, 3, 4):
        state = step(state, jax.nn.one_hot(3, 5), key=KEY).state
        assert int(state.cell) == 7 + column
        assert bool(state.screen.any()) == (bool(lit.screen.any()) and column < 3)
    assert not step(state, press, key=KEY).state.fresh
    wall = step(state._replace(cell=jnp.int32(2)), jax.nn.one_hot(3, 5), key=KEY)
    assert int(wall.state.cell) == 2 and float(wall.reward) == 0
    goal = step(state._replace(cell=jnp.int32(13)), jax.nn.one_hot(1, 5), key=KEY)
    assert int(goal.state.cell) == 20 and float(goal.reward) == 1 and float(goal.continues) == 0


SEA = envs.SimulatorEnv(envs.DeepSea(3))
MANY = envs.SimulatorVectorEnv(envs.PixelPendulum(), 2)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: SEA.step(0), r"call reset\(\) first"),
        (lambda: (SEA.reset(), SEA.step(2)), r"action 2 is none of 0\.\.1"),
        (lambda: (SEA.reset(), SEA.step(0.5)), "one integer"),
        (lambda: (SEA.reset(), SEA.step([0, 1])), "one integer"),
        (lambda: MANY.step(np.zeros((2, 1))), r"call reset\(\) first"),
        (lambda: (MANY.reset(), MANY.step([[0.0], [np.nan]])), "of copy 1 is not finite"),
        (lambda: (MANY.reset(), MANY.step(np.zeros((3, 1)))), r"shape \(2, 1\), not \(3, 1\)"),
        (lambda: MANY.reset(seed=[1, 2, 3]), "3 seeds for 2 copies"),
        (lambda: envs.SimulatorVectorEnv(envs.PixelPendulum(), 0), "num_envs is 0"),
        (lambda: envs.SimulatorEnv(envs.DeepSea(3), "human"), "rgb_array"),
        (lambda: envs.DeepSea(1), "size is 1"),
        (lambda: envs.CliffWorld(wind=1.5), "wind=1.5"),
        (lambda: envs.Planar(goal=(20.5, 10.5)), "no free place"),
        (lambda: envs.Planar(noise=-1.0), "noise is -1.0"),
        (lambda: envs.Planar(observations="pixels"), "choose one of image, vector"),
        (lambda: envs.NoisyTV(pixels=0), "pixels=0"),
        (lambda: envs.make("jensen/DeepSea-v0", sise=3), "cannot be built.*sise"),
    ],
)
def test_bad_input_is_told_in_one_line(call, says):
    with pytest.raises(InputError, match=says) as refused:
        call()
    assert "\n" not in str(refused.value)


def test_actions_outside_a_box_are_clipped():
    env = envs.make("jensen/PixelPendulum-v0").unwrapped
    after = []
    for torque in (2.0, 50.0):
        env.reset(seed=0)
        after.append(env.step([torque]))
    assert np.array_equal(after[0][0], after[1][0]) and after[0][1] == after[1][1]


def test_the_pages_examples_run_and_its_table_is_complete():
    page = (Path(__file__).parents[2] / "docs" / "envs.md").read_text("utf-8")
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(block, "docs/envs.md", "exec"), scope)
    assert scope["observations"].shape == (1000, 1024) and len(scope["states"]) > 100
    assert all(f"`jensen/{name}-v0`" in page for name in WORLDS)
