"""Bonuses that learn, the learner of tables, and the wrapper of vector environments."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gymnasium.vector import AutoresetMode

from jensen.algorithms.mdp import MDP
from jensen.control import explore
from jensen.control.explore import Transitions
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)
ADAM = optax.adam(1e-2)


def chain(length: int) -> MDP:
    """A corridor: action 1 goes on and costs a little, 0 goes back; the far end pays 1."""
    moves = np.zeros((length, 2, length))
    for s in range(length):
        moves[s, 0, max(s - 1, 0)] = moves[s, 1, min(s + 1, length - 1)] = 1
    rewards = np.zeros((length, 2))
    rewards[:-1, 1], rewards[-1, 1] = -0.01, 1.0
    return MDP(*(jnp.asarray(part) for part in (moves, rewards, np.eye(length)[0])))


# --- tables


def test_without_optimism_a_bonus_on_what_was_tried_hides_what_was_not():
    """The far end is found by who tries the untried first, and by nobody else."""
    found = {}
    for way in ("counts", "untried-first", "optimistic-counts"):
        seen = explore.study(chain(8), way, 60, horizon=8, runs=3, key=KEY)
        found[way] = seen.covered[:, -1]
        assert (np.diff(seen.covered, axis=1) >= 0).all()
        assert seen.visits.sum() == 3 * 60 * 8
    assert (found["counts"] < 8).all()
    for way in ("untried-first", "optimistic-counts"):
        assert (found[way] == 8).all(), way


def test_runs_of_a_bonus_that_begins_at_random_are_independent():
    seen = explore.study(chain(4), "disagreement", 1, horizon=4, runs=3, key=KEY)
    assert seen.bonus is not None
    untried = seen.visits.sum(0) == 0
    assert untried.any() and (np.ptp(seen.bonus[:, untried], axis=0) > 1e-3).all()


def test_values_learnt_backwards_are_the_best_ones():
    """Learnt from random actions: Q against value iteration of the same tables."""
    from jensen.algorithms.mdp import value_iteration

    mdp = chain(4)
    learner = explore.QLearner(discount=0.9, epsilon=1.0)
    learnt = explore.learn(explore.enumerated(mdp, 40), learner, None, 100, key=KEY)
    want = value_iteration(mdp, discount=0.9).action_values
    np.testing.assert_allclose(learnt.q, want, atol=1e-3)


def test_an_episode_that_ends_by_itself_earns_nothing_after():
    ends = MDP(jnp.zeros((1, 1, 1)), jnp.ones((1, 1)), jnp.ones(1))
    learnt = explore.learn(explore.enumerated(ends, 5), explore.QLearner(), explore.Counts(1, 1), 3, key=KEY)
    assert learnt.returns.tolist() == [1.0, 1.0, 1.0] and int(learnt.visits[0, 0]) == 3
    assert float(learnt.q[0, 0]) == 1.0
    np.testing.assert_allclose(learnt.bonuses, [1, 2**-0.5, 3**-0.5], rtol=1e-6)


def test_chance_of_the_table_is_that_of_the_mdp():
    half = MDP(jnp.array([[[0.2, 0.5]], [[0.0, 1.0]]]), jnp.zeros((2, 1)), jnp.array([1.0, 0.0]))
    world = explore.TableWorld.of(half)
    moved = jax.vmap(lambda key: world.step(jnp.array(0), jnp.ones(1), key=key))(jax.random.split(KEY, 4_000))
    ended = np.asarray(moved.continues) == 0
    assert abs(ended.mean() - 0.3) < 0.03
    assert abs(np.asarray(moved.state)[~ended].mean() - 5 / 7) < 0.03


def test_what_does_not_fit_is_refused():
    world = explore.enumerated(chain(3), 3)
    learner = explore.QLearner(optimism=1.0)
    with pytest.raises(CombinationError, match="set initial="):
        explore.learn(world, learner, None, 1, key=KEY)
    with pytest.raises(InputError, match="did you mean 'counts'"):
        explore.study(chain(3), "count", 1, horizon=3, key=KEY)
    with pytest.raises(InputError, match="runs is 0"):
        explore.study(chain(3), "counts", 1, horizon=3, runs=0, key=KEY)
    forbids = chain(3)._replace(rewards=chain(3).rewards.at[1, 0].set(-jnp.inf))
    with pytest.raises(InputError, match="action 0 is forbidden in state 1"):
        explore.study(forbids, "counts", 1, horizon=3, key=KEY)


def test_episodes_to_solve_counts_from_one_and_knows_never():
    returns = np.array([[0, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], float)
    assert explore.episodes_to_solve(returns, 0.5, share=0.5) == [4, None, 1]


# --- bonuses that learn


def steps(num: int, seed: int = 0, noise: float = 0.0) -> Transitions:
    """o' = o + a in the first column; the second is noise."""
    rng = np.random.default_rng(seed)
    seen, action = rng.uniform(-1, 1, (num, 2)), rng.uniform(-1, 1, (num, 1))
    after = seen + np.concatenate([action, np.zeros((num, 1))], 1)
    after[:, 1] = seen[:, 1] + noise * rng.normal(size=num)
    return Transitions(*(jnp.asarray(part, jnp.float32) for part in (seen, action, after)))


@eqx.filter_jit
def taught(bonus: explore.AbstractBonus, rows: Transitions, key: jax.Array) -> explore.AbstractBonus:
    return bonus.update(rows, key=key)


@eqx.filter_jit
def worth(bonus: explore.AbstractBonus, rows: Transitions) -> jax.Array:
    return bonus.bonus(rows)


def bonuses() -> dict[str, explore.AbstractBonus]:
    online: Any = {"batch_size": 16, "steps": 60, "memory": 128}
    members = [explore.dynamics(2, 1, (8,), key=key) for key in jax.random.split(KEY, 3)]
    return {
        "disagreement": explore.Disagreement(members, ADAM, **online),
        "error": explore.PredictionError(members[0], ADAM, **online),
        "rnd": explore.RandomNetworkDistillation(2, ADAM, widths=(8,), outputs=2, key=KEY, **online),
        "gain": explore.VariationalGain(2, 1, ADAM, noise=0.2, widths=(8,), step_size=0.1, key=KEY, **online),
    }


@pytest.fixture(scope="module")
def histories() -> dict[str, list[float]]:
    """Mean bonus on rows of the same kind, before and after five updates."""
    held, found = steps(32, seed=9), {}
    for name, bonus in bonuses().items():
        before = float(worth(bonus, held).mean())
        for i in range(5):
            bonus = taught(bonus, steps(32, seed=i), jax.random.key(i))
        found[name] = [before, float(worth(bonus, held).mean())]
    return found


@pytest.mark.parametrize("name", ["disagreement", "error", "rnd", "gain"])
def test_what_is_known_is_worth_less(histories: dict[str, list[float]], name: str):
    before, after = histories[name]
    assert 0 < after < 0.5 * before, histories[name]


def test_a_batch_that_is_not_finite_changes_nothing_it_should_not():
    bonus = bonuses()["error"]
    bad = steps(32)._replace(next_observation=jnp.full((32, 2), jnp.nan))
    after = taught(bonus, bad, KEY)
    assert bool(explore.online.all_finite(eqx.filter(after.online.inference, eqx.is_array)))


def test_a_memory_keeps_the_newest_rows_and_only_those_that_happened():
    memory = explore.Memory.empty(4, 1)
    for start in (0, 3):
        rows = jnp.arange(start, start + 3.0)[:, None]
        memory = memory.pushed(rows, jnp.zeros((3, 0)), jnp.array([1.0, 0.0, 1.0]))
    assert sorted(memory.x[:, 0].tolist()) == [0, 2, 3, 5] and int(memory.count) == 4
    memory = memory.pushed(jnp.array([[9.0]]), jnp.zeros((1, 0)), jnp.ones(1))
    assert sorted(memory.x[:, 0].tolist()) == [2, 3, 5, 9]
    assert memory.rows().weight.tolist() == [1.0] * 4


# --- the wrapper


class Count(gymnasium.Env):
    """Observations count steps; every step pays 1; it ends after three."""

    observation_space = gymnasium.spaces.Box(0, 10, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, bad: int = -1):
        self.bad = bad

    def reset(self, *, seed=None, options=None):
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.t += 1
        reward = np.nan if self.t == self.bad else 1.0
        return np.full(1, self.t, np.float32), reward, self.t == 3, False, {}


def wrapped(mode: AutoresetMode, bad: int = -1, **given: Any) -> explore.BonusVecEnv:
    env = gymnasium.vector.SyncVectorEnv([lambda: Count(bad)] * 2, autoreset_mode=mode)
    counts = explore.Coded(explore.Counts(11, 2), lambda o: o[0].astype(jnp.int32))
    return explore.BonusVecEnv(env, counts, key=KEY, **given)


def test_the_step_that_resets_has_no_bonus_and_the_return_is_the_environments():
    env = wrapped(AutoresetMode.NEXT_STEP)
    env.reset(seed=0)
    worth, extrinsic, returns, seen = [], [], [], []
    for _ in range(8):
        _, rewards, _, _, info = env.step(np.zeros(2, int))
        worth.append(info["bonus"][0])
        extrinsic.append(info["extrinsic_reward"][0])
        returns.append(info["extrinsic_return"][0])
        seen.append(rewards[0])
    # both copies visit each pair at once: two visits, then four
    np.testing.assert_allclose(worth, [1, 1, 1, 0] + [3**-0.5] * 3 + [0], rtol=1e-6)
    assert extrinsic == [1, 1, 1, 0, 1, 1, 1, 0] and returns == [1, 2, 3, 0, 1, 2, 3, 0]
    assert env.bonus.inner.visits[:4, 0].tolist() == [4, 4, 4, 0]
    assert all(r > e for r, e, w in zip(seen, extrinsic, worth, strict=True) if w > 0)
    assert seen[3] == 0


def test_an_episode_reset_at_once_ends_in_its_own_last_observation():
    env = wrapped(AutoresetMode.SAME_STEP)
    taken = []
    judged = env._judged
    env._judged = lambda rows: taken.append(rows) or judged(rows)
    env.reset(seed=0)
    for _ in range(4):
        _, _, _, _, info = env.step(np.zeros(2, int))
    assert [rows.next_observation[0, 0] for rows in taken] == [1, 2, 3, 1]
    assert [rows.observation[0, 0] for rows in taken] == [0, 1, 2, 0]
    assert info["extrinsic_return"].tolist() == [1.0, 1.0]


def test_the_scale_is_the_deviation_of_discounted_sums():
    env = wrapped(AutoresetMode.NEXT_STEP, weight=2.0, discount=0.5)
    env.reset(seed=0)
    sums, kept = np.zeros(2), [np.zeros(2)]
    for _ in range(3):
        _, rewards, _, _, info = env.step(np.array([0, 1]))
        sums = 0.5 * sums + info["bonus"]
        kept.append(sums.copy())
        spread = np.std(kept) or 1.0
        np.testing.assert_allclose(rewards, 1 + 2.0 * info["bonus"] / spread, rtol=1e-5)


class Even(explore.AbstractBonus):
    """All but the same for every copy, as at starts that hardly differ."""

    def bonus(self, transitions: explore.Transitions) -> Any:
        return 5.0 + 1e-6 * jnp.arange(len(transitions.observation))

    def update(self, transitions: explore.Transitions, *, key: Any) -> Even:
        return self


def test_the_first_bonus_is_not_in_units_of_chance():
    env = explore.BonusVecEnv(gymnasium.vector.SyncVectorEnv([Count] * 2), Even(), key=KEY)
    env.reset(seed=0)
    assert (env.step(np.zeros(2, int))[1] < 10).all()


def test_the_wrapper_refuses_in_one_line():
    with pytest.raises(InputError, match=r"step\(\) before reset"):
        wrapped(AutoresetMode.NEXT_STEP).step(np.zeros(2, int))
    env = wrapped(AutoresetMode.NEXT_STEP, bad=2)
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    with pytest.raises(InputError, match="reward of environment 0 is nan"):
        env.step(np.zeros(2, int))
    with pytest.raises(InputError, match="discount is 2"):
        wrapped(AutoresetMode.NEXT_STEP, discount=2.0)
