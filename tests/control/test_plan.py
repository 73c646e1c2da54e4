"""Plans: against enumeration and closed forms, what ends, what is believed, and what is refused."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.control import CEM, MPPI, BoxActions, FromSamples, ObservedWorld, Planner, SeenWorld, record
from jensen.control.plan import ILQR, FromMean, imagined_return, sequences_in
from jensen.control.plan.sequences import BoxSequences
from jensen.control.spaces import DiscreteActions
from jensen.core import AbstractWorld, Moved
from jensen.errors import InputError

KEY = jax.random.key(0)
BOX = BoxActions(np.full(2, -1, np.float32), np.ones(2, np.float32), (2,), np.dtype(np.float32))
PULL = jnp.array([[0.9, 0.3], [0.0, 0.8]])
QUICK = {"candidates": 256, "iterations": 8, "elites": 32, "floor": 0.001}


EDGE = BoxActions(-np.ones(1), np.ones(1), (1,), np.dtype("float32"))


class Drift(AbstractWorld):
    """s' = A s + a/2, r = −|s'|² − |a|²/10: linear and quadratic."""

    action_dim: int = 2

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:
        """Move."""
        state = PULL @ state + action / 2
        return Moved(state, -(state @ state) - 0.1 * action @ action, jnp.ones(()))


class Lock(AbstractWorld):
    """A lock of three choices: a bonus for the right sequence only; choice 2 ends the episode."""

    action_dim: int = 3

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:
        """Turn."""
        at, good = state
        code = jnp.array([0, 1, 1, 0])[jnp.minimum(at, 3)]
        good = good & (action[code] > 0.5)
        reward = 0.3 * action[2] + 0.1 * action[0] + jnp.where(good & (at == 3), 2.0, 0.0)
        return Moved((at + 1, good), reward, 1.0 - action[2])


LOCKED = (jnp.zeros((), jnp.int32), jnp.asarray(True))


class Fork(ObservedWorld):
    """The state is ±1 with equal chances and nothing tells which; guessing wrong costs 4, right pays 1."""

    action_dim: int = 1
    observation_dim: int = 1

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:
        """Guess."""
        gain = jnp.where(action[0] * state >= 0, 1.0, 4.0) * action[0] * state
        return Moved(state, gain, jnp.ones(()))

    def begin(self) -> Any:
        """Nothing is known."""
        return jnp.zeros(())

    def observe(self, belief: Any, observation: Any, action: Any, *, key: Any) -> Any:
        """Nothing is learned."""
        return belief

    def expected(self, belief: Any) -> Any:
        """As if it were +0.1."""
        return belief + 0.1

    def drawn(self, belief: Any, *, key: Any) -> Any:
        """Draw ±1."""
        return jax.random.rademacher(key, (), jnp.float32)


def one(state: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], state)


@partial(jax.jit, static_argnums=(0, 3, 4))
def searched(search: Any, start: Any, key: Any, world: type, sequences: Any) -> Any:
    return search.plan(world(), one(start), search.begin(sequences), sequences=sequences, key=key)


def best_push(start: Any, horizon: int) -> np.ndarray:
    """Solve the linear-quadratic problem by least squares."""

    def returns(flat: Any) -> Any:
        return imagined_return(Drift(), start, flat.reshape(horizon, 2), key=KEY)

    flat = jnp.zeros(2 * horizon)
    gradient, hessian = jax.jit(lambda f: (jax.grad(returns)(f), jax.hessian(returns)(f)))(flat)
    return np.asarray(-jnp.linalg.solve(hessian, gradient)).reshape(horizon, 2)


@pytest.mark.parametrize(
    "search",
    [CEM(3, **QUICK), MPPI(3, candidates=256, iterations=12, temperature=0.002, spread=0.15)],
    ids=["cem", "mppi"],
)
def test_real_actions_are_the_best_there_are(search: Any):
    start = jnp.array([0.6, -0.4])
    best = best_push(start, 3)
    assert np.abs(best).max() < 1  # inside the box
    found = searched(search, start, KEY, Drift, sequences_in(BOX))
    np.testing.assert_allclose(found.actions, best, atol=0.06)
    most = imagined_return(Drift(), start, jnp.asarray(best), key=KEY)
    np.testing.assert_allclose(found.value, most, atol=2e-3)
    far = searched(search, jnp.array([9.0, -9.0]), KEY, Drift, sequences_in(BOX))
    assert np.abs(far.actions).max() <= 1 and (np.sign(far.actions[0]) == [-1, 1]).all()


@pytest.mark.parametrize(
    "search",
    [CEM(4, candidates=96, iterations=4, elites=8), MPPI(4, candidates=96, iterations=4, temperature=0.1)],
    ids=["cem", "mppi"],
)
def test_choices_are_the_best_of_all(search: Any):
    turns = jnp.asarray(list(itertools.product(np.eye(3), repeat=4)))
    all_returns = jax.jit(jax.vmap(lambda a: imagined_return(Lock(), LOCKED, a, key=KEY)))(turns)
    found = searched(search, LOCKED, KEY, Lock, sequences_in(DiscreteActions(3)))
    np.testing.assert_array_equal(found.actions.argmax(-1), turns[all_returns.argmax()].argmax(-1))
    np.testing.assert_allclose(found.value, all_returns.max(), rtol=1e-6)


def test_returns_are_discounted_and_end():
    """Against a plain loop; what is earned after the end, or at the state behind it, does not count."""
    for code in ((0, 1, 0, 0), (0, 2, 0, 0), (1, 1, 2, 0)):
        total, weight, state = 0.0, 1.0, LOCKED
        for choice in code:
            moved = Lock().step(state, jnp.eye(3)[choice], key=KEY)
            total += weight * float(moved.reward)
            weight *= 0.9 * float(moved.continues)
            state = moved.state
        got = imagined_return(
            Lock(), LOCKED, jnp.eye(3)[jnp.array(code)], discount=0.9, value=lambda s: 7.0 + s[0], key=KEY
        )
        np.testing.assert_allclose(got, total + weight * 11.0, rtol=1e-5)
    assert weight == 0


class Ends(AbstractWorld):
    """Ends with its first step; rewards after it are not finite."""

    action_dim: int = 2

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:  # pyright: ignore
        """End."""
        reward = jnp.where(state[0] > 0, jnp.inf, 1 - (action[0] - 0.5) ** 2)
        return Moved(state + 1, reward, jnp.zeros(()))


def test_nothing_after_an_end_counts_and_a_column_without_a_choice_changes_nothing():
    assert float(imagined_return(Ends(), jnp.zeros(1), jnp.full((3, 2), 0.5), key=KEY)) == 1.0
    fixed = BoxSequences((-1.0, 2.0), (1.0, 2.0))
    search = ILQR(horizon=1, effort=1e-3)
    start = search.begin(fixed)
    found = search.plan(Ends(), jnp.zeros((1, 1)), start, sequences=fixed, key=KEY)
    np.testing.assert_allclose(found.actions, [[0.5, 2.0]], atol=1e-3)


def test_what_comes_after_the_horizon_counts():
    """One step ahead it pays to end; the worth of going on says not to."""
    here = SeenWorld(Lock(), lambda o: LOCKED, 1)
    space, search = DiscreteActions(3, start=5), CEM(1, candidates=16, iterations=2, elites=2)
    assert Planner(here, space, search=search, key=KEY).predict(np.zeros((1, 1)))[0] == 7
    worth = Planner(here, space, search=search, value=lambda s: jnp.ones(()), key=KEY)
    assert worth.predict(np.zeros((3, 1))).tolist() == [5, 5, 5]


def test_a_plan_for_what_is_believed_is_not_one_for_its_mean():
    space = BoxActions(-np.ones(1), np.ones(1), (1,), np.dtype(np.float64))
    search = CEM(1, candidates=32, iterations=4, elites=4)
    bold = Planner(Fork(), space, search=search, starts=FromMean(), key=KEY)
    shy = Planner(Fork(), space, search=search, starts=FromSamples(32), key=KEY)
    rows = np.zeros((4, 1))
    assert (bold.predict(rows) > 0.9).all() and (np.abs(shy.predict(rows)) < 0.3).all()


@pytest.mark.parametrize("candidates", [16, 64])  # side by side, and one after another
def test_a_plan_does_not_depend_on_its_neighbours(candidates: int):
    here = SeenWorld(Drift(), lambda o: o, 2)
    search = CEM(2, candidates=candidates, iterations=2, elites=4)
    rows = np.linspace(-1, 1, 8).reshape(4, 2)
    together = Planner(here, BOX, search=search, key=KEY)
    together.reset(num_envs=4)
    alone = Planner(here, BOX, search=search, key=KEY)
    alone.reset(num_envs=1)
    several = together.select_action(rows)
    np.testing.assert_allclose(several[:1], alone.select_action(rows[:1]), atol=1e-5)
    assert len({tuple(action) for action in several.round(5)}) == 4


def test_the_next_plan_starts_from_the_last():
    sequences = sequences_in(BOX)
    search = CEM(3, **QUICK)
    law = searched(search, jnp.array([0.6, -0.4]), KEY, Drift, sequences).law
    later = search.shifted(law, sequences)
    np.testing.assert_array_equal(later.mean[:2], law.mean[1:])
    assert (later.mean[2] == 0).all() and (later.std == 1).all()
    chances = jnp.array([[0.0, 1.0], [0.5, 0.5]])
    moved = CEM(2).shifted(chances, sequences_in(DiscreteActions(2)))
    np.testing.assert_allclose(moved, [[0.5, 0.5], [0.5, 0.5]])
    lone = CEM(2, candidates=2, iterations=1, elites=1, spread=1e-6)  # nothing to choose from but its centre
    plan = jax.jit(
        lambda law: lone.plan(Drift(), one(jnp.ones(2)), law, sequences=sequences, key=KEY).actions
    )
    centre = lone.begin(sequences)._replace(mean=jnp.full((2, 2), 0.7))
    np.testing.assert_allclose(plan(centre), 0.7, atol=1e-4)


class Room(gymnasium.Env):
    """Drift as an environment: what is seen is the state, as it is or as bytes of a picture."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(-1, 1, 2)
        return self.state.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.state = np.asarray(PULL) @ self.state + action / 2
        cost = self.state @ self.state + 0.1 * action @ action
        return self.state.astype(np.float32), -float(cost), False, False, {}


def test_it_acts_in_environments():
    here = SeenWorld(Drift(), lambda o: o, 2)
    policy = Planner(here, Room.action_space, search=CEM(3, **QUICK), key=KEY)
    done = record(Room, policy, 3, seed=5, max_steps=4)
    still = record(Room, lambda o: np.zeros((len(o), 2)), 3, seed=5, max_steps=4)
    assert (done.returns > still.returns).all()
    assert done.actions[0].dtype == np.float32 and policy.plans is not None
    best = best_push(jnp.asarray(done.observations[1][0]), 3)[0]
    np.testing.assert_allclose(done.actions[1][0], best, atol=0.06)
    chunk = policy.predict_action_chunk(np.stack([o[0] for o in done.observations]))
    assert chunk.shape == (3, 3, 2)
    before = policy._course
    policy.reset(mask=[False, True, False])
    fresh = jax.tree.map(lambda new, old: bool((new[0] == old[0]).all()), policy._course.law, before.law)
    assert fresh == (True, True) and (policy._course.law.mean[1] == 0).all()
    policy.reset()
    assert policy.select_action(np.zeros(2)).shape == (2,)
    assert "CEM(horizon=3" in repr(policy)


class Torn(Drift):
    """Rewards that are no numbers to the right."""

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:  # pyright: ignore
        """Tear."""
        moved = Drift().step(state, action, key=key)
        return moved._replace(reward=jnp.where(action[0] > state[0] - 0.5, jnp.nan, moved.reward))


def test_what_is_not_finite_is_avoided_or_said():
    here = SeenWorld(Torn(), lambda o: o, 2)
    policy = Planner(here, BOX, search=CEM(1, **QUICK), key=KEY)
    policy.reset(num_envs=2)
    assert (policy.select_action(np.array([[0.4, 0], [0.5, 0]]))[:, 0] <= 0.01).all()
    with pytest.raises(InputError, match="at step 2 no plan of environment 1 has a finite return"):
        policy.select_action(np.array([[0.4, 0], [-9.0, 0]]))
    huge = MPPI(temperature=1e-3).weigh(jnp.array([1e36, 2e36, -jnp.inf]))
    assert huge.tolist() == [0.0, 1.0, 0.0]
    with pytest.raises(InputError, match=r"the observation is not finite, in row 0, column 1"):
        policy.select_action(np.array([[0.4, np.nan], [0, 0]]))
    with pytest.raises(InputError, match=r"shape \(2, 3\); 2 of 2 numbers each are expected"):
        policy.select_action(np.zeros((2, 3)))


def test_a_simulator_may_compute_in_float64():
    with jax.enable_x64():
        here = SeenWorld(Drift(), lambda o: o, 2)
        policy = Planner(
            here, BOX, search=CEM(1, candidates=4, iterations=1, elites=2), key=jax.random.key(0)
        )
        assert np.isfinite(policy.select_action(np.zeros(2))).all()
        assert policy.plans is not None and policy.plans.value.dtype == np.float64


class Hole(AbstractWorld):
    """One real action; near zero nobody knows the reward, on both sides of it the best are alike."""

    action_dim: int = 1

    def step(self, state: Any, action: Any, *, key: Any) -> Moved:
        """Step around it."""
        size = jnp.abs(action[0])
        return Moved(state, jnp.where(size < 0.3, jnp.nan, -((size - 0.7) ** 2)), jnp.ones(()))


@pytest.mark.parametrize("search", [CEM(1, elites=64), MPPI(1, temperature=1.0)], ids=["cem", "mppi"])
def test_between_good_candidates_the_best_of_them_is_taken(search: Any):
    found = searched(search, jnp.zeros(1), KEY, Hole, sequences_in(EDGE))
    assert abs(sequences_in(EDGE).mode(found.law)[0, 0]) < 0.3  # the centre is in the hole
    assert abs(abs(found.actions[0, 0]) - 0.7) < 0.05 and -0.01 < found.value <= 0


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: CEM(horizon=0), "CEM: horizon is 0; it must be at least 1"),
        (lambda: CEM(elites=200), "CEM: 200 elites of 128 candidates"),
        (lambda: CEM(discount=1.5), "discount is 1.5; it must be from 0 to 1"),
        (lambda: MPPI(temperature=0.0), "MPPI: temperature is 0; it must be positive"),
        (lambda: MPPI(spread=float("nan")), "spread is nan; it must be positive"),
        (lambda: FromSamples(0), "num is 0"),
        (lambda: sequences_in(BoxActions(-np.ones(1), np.full(1, np.inf), (1,), np.dtype(float))), "finite"),
        (lambda: Planner(SeenWorld(Lock(), lambda o: LOCKED, 1), BOX, key=KEY), "actions of 3 columns"),
        (lambda: Planner(Fork(), gymnasium.spaces.MultiBinary(2), key=KEY), "Box and Discrete are"),
        (lambda: Planner(Drift(), BOX, key=KEY), "to plan in it, control.SeenWorld"),
        (lambda: Planner(3, BOX, key=KEY), "ModelWorld takes what a fit returned"),
    ],
)
def test_bad_settings_get_a_line(make: Any, why: str):
    with pytest.raises(InputError, match=why):
        make()
