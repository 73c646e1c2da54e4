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

from jensen import models
from jensen.algorithms.mdp import MDP
from jensen.control import explore
from jensen.control.explore import Transitions
from jensen.core import AbstractWorld, Inference, Moved
from jensen.errors import CombinationError, InputError
from jensen.gradients import Analytic
from jensen.objectives import ELBO
from jensen.posteriors import Exact

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
def taught(bonus: explore.AbstractBonus, rows: Transitions, key: jax.Array) -> Any:
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


def test_rows_that_are_not_finite_do_not_stop_what_learns_after_them():
    """Half of a batch is NaN: it is not remembered, so every later step is taken."""
    bad = steps(32)
    bad = bad._replace(next_observation=bad.next_observation.at[::2].set(jnp.nan))
    for name in ("error", "rnd"):
        bonus = taught(bonuses()[name], bad, KEY)
        bonus = taught(bonus, steps(32, seed=1), KEY)
        assert int(bonus.online.memory.count) == 48 and int(bonus.online.taken) == 120, name
        assert np.isfinite(worth(bonus, steps(32, seed=2))).all()
    belief = explore.LinearGain(explore.affine, 4, data_dim=2, noise=0.3)
    good = Transitions(*(part[1::2] for part in bad[:3]))
    found, want = (belief.update(rows, key=KEY) for rows in (bad, good))
    np.testing.assert_allclose(found.precision, want.precision, rtol=1e-4, atol=1e-4)


EVERY = [
    "disagreement",
    "error",
    "rnd",
    "gain",
    "empirical",
    "refitted",
    "climbed",
    "counts",
    "dirichlet",
    "tables",
    "linear",
]


def everything() -> dict[str, explore.AbstractBonus]:
    """One of every bonus there is, and of every density."""
    start = models.Gaussian.with_parameters(np.zeros(2), np.eye(2))
    inference = Inference(
        models.Gaussian.with_parameters(np.zeros(2), np.eye(2)), Exact(), ELBO(), Analytic()
    )
    rows = explore.Memory.empty(128, 2)
    cells = explore.GridCells([-1.0, -1.0], [1.0, 1.0], (3, 3))

    def coded(inner: explore.Foresees) -> explore.Coded:
        return explore.Coded(inner, cells, lambda a: (a[0] > 0).astype(jnp.int32))

    densities = {
        "empirical": explore.Empirical((2, 2), prior=0.1),
        "refitted": explore.Refitted(start, memory=rows),
        "climbed": explore.Climbed(explore.Online(inference, ADAM, rows), key=KEY),
    }
    features = {"empirical": lambda o, a: (o > 0).astype(jnp.float32)}
    return {
        **bonuses(),
        **{n: explore.PseudoCounts(d, features.get(n, lambda o, a: o)) for n, d in densities.items()},
        "counts": coded(explore.Counts(9, 2)),
        "dirichlet": coded(explore.DirichletGain(9, 2)),
        "tables": coded(explore.TableDisagreement(9, 2, key=KEY)),
        "linear": explore.LinearGain(explore.affine, 4, data_dim=2, noise=0.3),
    }


def test_every_bonus_there_is_is_among_them():
    assert list(everything()) == EVERY
    kinds = {type(getattr(bonus, "inner", bonus)) for bonus in everything().values()} | {explore.Coded}
    named = (getattr(explore, name) for name in explore.__all__ if name != "BonusVecEnv")
    bases = {explore.AbstractBonus, explore.Foresees, explore.InformationGain}
    assert {kind for kind in named if isinstance(kind, type) and issubclass(kind, explore.AbstractBonus)} == (
        kinds | bases
    )


@pytest.mark.parametrize("name", EVERY)
def test_rows_of_weight_0_may_hold_anything(name: str):
    """NaN rows that fill a batch teach and earn nothing: as if they were not there."""
    bonus, real = everything()[name], steps(24, seed=3)
    filled = [
        Transitions(*(jnp.concatenate([p, jnp.full((8, p.shape[1]), x)]) for p in real[:3]))._replace(
            weight=jnp.ones(32).at[24:].set(0.0)
        )
        for x in (jnp.nan, 0.0)
    ]
    # tables draw who counts what for all rows at once: a longer batch has other draws
    same = filled[1] if name == "tables" else real
    found, want = taught(bonus, filled[0], KEY), taught(bonus, same, KEY)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        if eqx.is_array(a):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-4, atol=1e-5, equal_nan=False)
            assert np.isfinite(a).all()
    for state in (bonus, found):
        earned = np.asarray(worth(state, filled[0]))
        assert not earned[24:].any() and np.isfinite(earned).all()
        np.testing.assert_allclose(earned[:24], worth(state, real), rtol=1e-5, atol=1e-7)


def test_a_world_may_show_anything_after_its_end():
    class Ends(AbstractWorld):
        action_dim: int = 2

        def step(self, state: Any, action: Any, *, key: Any) -> Moved:
            over = state >= 1  # behind the end nothing is defined
            return Moved(state + 1, jnp.where(over, jnp.nan, 1.0), jnp.zeros(()))

    world = explore.Enumerated(
        Ends(), lambda key: jnp.zeros((), jnp.int32), lambda s: s, num_states=6, horizon=5
    )
    learnt = explore.learn(world, explore.QLearner(), explore.Counts(6, 2), 3, key=KEY)
    assert learnt.returns.tolist() == [1.0] * 3 and np.isfinite(learnt.q).all()


def test_a_memory_keeps_the_newest_rows_and_only_those_that_happened():
    memory = explore.Memory.empty(4, 1)
    for start in (0, 3):
        rows = jnp.arange(start, start + 3.0)[:, None]
        memory = memory.pushed(rows, jnp.zeros((3, 0)), jnp.array([1.0, 0.0, 1.0]))
    assert sorted(memory.x[:, 0].tolist()) == [0, 2, 3, 5] and int(memory.count) == 4
    memory = memory.pushed(jnp.array([[9.0]]), jnp.zeros((1, 0)), jnp.ones(1))
    assert sorted(memory.x[:, 0].tolist()) == [2, 3, 5, 9]
    assert np.asarray(memory.rows().weight).tolist() == [1.0] * 4


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
    env: Any = wrapped(AutoresetMode.NEXT_STEP)
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
    env._judged = lambda steps: taken.append(steps) or judged(steps)
    env.reset(seed=0)
    info = [env.step(np.zeros(2, int))[4] for _ in range(4)][-1]
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
    with pytest.raises(InputError, match="reward of environment 0 at step 1 of its episode is nan"):
        env.step(np.zeros(2, int))
    with pytest.raises(InputError, match="discount is 2"):
        wrapped(AutoresetMode.NEXT_STEP, discount=2.0)
