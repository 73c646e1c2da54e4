"""Inverse reinforcement learning against finite differences, exact demonstrations and planted faults."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import fit
from jensen.algorithms.mdp import MDP
from jensen.control import irl
from jensen.control.policies.tabular import sample_episodes
from jensen.control.soft import soft_control
from jensen.core import Datum
from jensen.datasets import Episodes
from jensen.errors import InputError, JensenWarning

sys.path.insert(0, str(Path(__file__).parents[1] / "algorithms"))
from decision_problems import random_problem

KEY, STATES, ACTIONS, TEMPERATURE = jax.random.key(0), 5, 3, 0.5
WAYS = [{"discount": 0.9}, {"horizon": 4}]


@pytest.fixture(scope="module")
def world() -> MDP:
    """Rewards of states, so that both forms of reward can be right."""
    problem = random_problem(0, STATES, ACTIONS)
    return problem._replace(rewards=jnp.broadcast_to(problem.rewards[:, :1], (STATES, ACTIONS)))


def mean_log_likelihood(agent: irl.SoftOptimal, shown: irl.Demonstrations) -> Any:
    rows = shown.data(agent.horizon)
    x, cond = (jnp.asarray(part, jnp.float32) for part in (rows.x, rows.cond))
    each = jax.vmap(lambda x, cond: agent.log_evidence(Datum(x, cond)))(x, cond)
    return (jnp.asarray(rows.weights) * each).mean()


@pytest.mark.parametrize("way", WAYS)
def test_the_gradient_is_the_finite_difference_and_the_difference_of_occupancies(world: MDP, way: dict):
    expert = soft_control(world, temperature=TEMPERATURE, **way)
    shown = irl.exact_demonstrations(world, expert.policy, **way)
    agent = irl.SoftOptimal(world, irl.StateReward(STATES), temperature=TEMPERATURE, **way)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=STATES), jnp.float32)

    @jax.jit
    def value_at(weights):
        at = eqx.tree_at(lambda agent: agent.reward.weights, agent, weights)
        return mean_log_likelihood(at, shown), at.soft().policy

    slope, policy = jax.jit(jax.grad(value_at, has_aux=True))(weights)
    step = 0.02
    differences = [
        (value_at(weights.at[i].add(step))[0] - value_at(weights.at[i].add(-step))[0]) / (2 * step)
        for i in range(STATES)
    ]
    np.testing.assert_allclose(slope, jnp.stack(differences), atol=2e-4)
    own = irl.exact_demonstrations(world, policy, **way).occupancy.sum(1)
    np.testing.assert_allclose(slope, (shown.occupancy.sum(1) - own) / TEMPERATURE, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_occupancies_match_where_demonstrations_are_exact(world: MDP, way: dict):
    expert = soft_control(world, temperature=TEMPERATURE, **way)
    shown = irl.exact_demonstrations(world, expert.policy, **way)
    agent = irl.SoftOptimal(world, irl.StateReward(STATES), temperature=TEMPERATURE, **way)
    found = irl.infer(agent, shown, steps=200, key=KEY)
    assert found.occupancy_error <= 1e-3 and not found.notes
    np.testing.assert_allclose(found.policy, expert.policy, atol=5e-3)
    # up to a constant the reward itself, in its own units
    wanted = world.rewards[:, 0] - world.rewards[:, 0].mean()
    np.testing.assert_allclose(found.rewards[:, 0] - found.rewards[:, 0].mean(), wanted, atol=0.05)
    assert "occupancy error" in repr(found)


def test_the_reward_carries_over_and_the_fit_is_kept(world: MDP, tmp_path: Path):
    expert = soft_control(world, temperature=TEMPERATURE, discount=0.9)
    shown = irl.exact_demonstrations(world, expert.policy, discount=0.9)
    agent = irl.SoftOptimal(world, irl.StateReward(STATES), temperature=TEMPERATURE, discount=0.9)
    found = irl.infer(agent, shown, steps=200, key=KEY, run=str(tmp_path / "run"))
    changed = world._replace(transitions=world.transitions[:, ::-1])
    wanted = soft_control(changed, temperature=TEMPERATURE, discount=0.9)
    moved = found.transferred(changed)
    np.testing.assert_allclose(moved.policy, wanted.policy, atol=0.01)
    assert np.abs(irl.clone(shown) - wanted.policy).max() > 0.2  # a clone does what it did
    kept: Any = fit.load(tmp_path / "run").inference.model
    np.testing.assert_array_equal(kept.soft().policy, found.agent.soft().policy)
    with pytest.raises(InputError, match="must be the same"):
        found.transferred(random_problem(0, STATES + 1, ACTIONS))


def test_episodes_of_any_length_beat_cloning(world: MDP):
    expert = soft_control(world, temperature=TEMPERATURE, discount=0.9)
    rng = np.random.default_rng(0)
    drawn = sample_episodes(world, expert.policy, 30, max_steps=12, seed=0)
    cut = rng.integers(1, 13, 30)
    shorter = Episodes(
        tuple(o[: n + 1] for o, n in zip(drawn.observations, cut, strict=True)),
        tuple(a[:n] for a, n in zip(drawn.actions, cut, strict=True)),
    )
    agent = irl.SoftOptimal(world, irl.StateReward(STATES), temperature=TEMPERATURE, discount=0.9)
    found = irl.infer(agent, shorter, steps=200, prior_scale=1.0, key=KEY)
    unseen = irl.demonstrated(world, sample_episodes(world, expert.policy, 300, max_steps=12, seed=1))
    assert np.ptp(found.rewards) > 0.5
    assert unseen.nll(expert.policy) < unseen.nll(found.policy) < unseen.nll(irl.clone(found.demonstrations))


@pytest.mark.slow
def test_a_network_and_linear_features_explain_as_much(world: MDP):
    expert = soft_control(world, temperature=TEMPERATURE, discount=0.9)
    shown = irl.exact_demonstrations(world, expert.policy, discount=0.9)
    features = np.random.default_rng(0).normal(size=(STATES, 4))
    features[:, 0] = world.rewards[:, 0]
    rewards = {
        "net": irl.NetReward(features, widths=(16,), key=KEY),
        "linear": irl.LinearReward(features),
    }
    for name, reward in rewards.items():
        agent = irl.SoftOptimal(world, reward, temperature=TEMPERATURE, discount=0.9)
        found = irl.infer(agent, shown, steps=300, key=KEY)
        assert found.nll - shown.nll(expert.policy) < 2e-3, name


@pytest.mark.parametrize("temperature", [0.003, 0.1, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("way", WAYS)
def test_the_temperature_is_recovered(world: MDP, way: dict, temperature: float):
    expert = soft_control(world, temperature=temperature, **way)
    shown = irl.exact_demonstrations(world, expert.policy, **way)
    found = irl.infer_temperature(world, shown, key=KEY, **way)
    assert found == pytest.approx(temperature, rel=2e-3)


def one_step(odds: list[float]) -> tuple[MDP, irl.Demonstrations]:
    world = MDP(jnp.zeros((1, 2, 1)), jnp.array([[0.0, 1.0]]), jnp.ones(1))
    return world, irl.exact_demonstrations(world, np.array([odds]))


def test_a_temperature_that_nothing_tells_says_so():
    """Of one step with rewards 0 and 1 the odds are exp(1/τ)."""
    world, shown = one_step([0.2, 0.8])
    assert irl.infer_temperature(world, shown, key=KEY) == pytest.approx(1 / np.log(4), rel=1e-3)
    for odds, words in ([0.5, 0.5], "the reward says nothing"), ([0.0, 1.0], "every temperature below"):
        with pytest.warns(JensenWarning, match=f"infer_temperature: .*{words}"):
            found = irl.infer_temperature(*one_step(odds), key=KEY)
        assert found > 100 or found < 1e-3
    with pytest.warns(JensenWarning, match="the search stopped after 1 steps"):
        irl.infer_temperature(world, shown, steps=1, key=KEY)


def test_a_prior_holds_a_temperature_that_demonstrations_would_send_to_zero():
    """−log π of three actions that never err, 3 log(1 + exp(−1/τ)), and log² (2 τ)/2: rewards deviate by 1/2."""
    world, _ = one_step([0.5, 0.5])
    episodes = Episodes((np.zeros(2), np.zeros(2), np.zeros(2)), (np.ones(1, int),) * 3)
    grid = np.linspace(-4, 2, 60_001)
    wanted = np.exp(grid[(3 * np.log1p(np.exp(-np.exp(-grid))) + (grid + np.log(2)) ** 2 / 2).argmin()])
    assert irl.infer_temperature(world, episodes, prior_scale=1.0, key=KEY) == pytest.approx(wanted, rel=1e-3)


def test_a_temperature_is_sought_where_values_are_finite():
    """With γ = 1 and no horizon hot agents would rather go on for ever than end."""
    world = random_problem(0, STATES, ACTIONS, ends=0.1)
    world = world._replace(rewards=world.rewards - 2)
    shown = irl.exact_demonstrations(world, soft_control(world, temperature=0.3).policy)
    assert irl.infer_temperature(world, shown, key=KEY) == pytest.approx(0.3, rel=2e-3)
    nowhere = MDP(
        jnp.array([[[0.0, 1.0], [0.5, 0.0]]] * 2), jnp.array([[0.0, 1.0], [-np.inf] * 2]), np.eye(2)[0]
    )
    with pytest.raises(
        InputError, match="at no temperature does an agent of these rewards do what was shown"
    ):
        irl.infer_temperature(nowhere, ([np.array([0, 1])], [np.array([0])]), horizon=2, key=KEY)


def test_in_float64_too(world: MDP):
    """The world stays float32, the reward and its fit are float64."""
    with jax.enable_x64(True):
        for way in WAYS:
            shown = irl.exact_demonstrations(world, np.full((STATES, ACTIONS), 1 / ACTIONS), **way)
            agent = irl.SoftOptimal(world, irl.StateReward(STATES), **way)
            with pytest.warns(JensenWarning, match="the reward says nothing"):
                found = irl.infer(agent, shown, steps=2, key=jax.random.key(0))
            assert found.rewards.dtype == np.float64


def noted(world: MDP, policy: Any) -> str:
    shown = irl.exact_demonstrations(world, policy, horizon=3)
    agent = irl.SoftOptimal(world, irl.StateReward(len(policy)), horizon=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = irl.infer(agent, shown, steps=2, key=KEY)
    assert [str(w.message) for w in caught if w.category is JensenWarning] == [
        f"infer: {note}" for note in found.notes
    ]
    return " | ".join(found.notes)


def test_an_answer_that_says_nothing_says_why():
    even = np.full((3, 2), 0.5)
    assert "chosen as by even odds" in noted(random_problem(1), even)
    alike = random_problem(1)
    alike = alike._replace(transitions=jnp.broadcast_to(alike.transitions[:, :1], (3, 2, 3)))
    assert "no action changes what comes next" in noted(alike, np.array([[0.8, 0.2]] * 3))
    apart = MDP(
        jnp.broadcast_to(jnp.eye(3)[:, None], (3, 2, 3)), jnp.zeros((3, 2)), jnp.array([1.0, 0.0, 0.0])
    )
    assert "2 states cannot be reached from the start (1, 2)" in noted(apart, even)


def line() -> MDP:
    """0 → 1 → 2; action 1 stays; leaving 2 ends the episode."""
    moves = np.zeros((3, 2, 3))
    moves[[0, 1], 0, [1, 2]] = 1
    moves[[0, 1, 2], 1, [0, 1, 2]] = 1
    return MDP(moves, np.zeros((3, 2)), np.array([1.0, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("states", "actions", "words"),
    [
        ([0, 1, 7], [0, 0], "episode 1, step 2: the observation is none of the 3 states, but .*7"),
        ([0, 1, 2], [0, 2], "episode 1, step 1: action 2 is none of the 2 actions"),
        ([1, 1, 2], [1, 0], "episode 1 starts in state 1, where the world never starts"),
        (
            [0, 2, 2],
            [0, 1],
            "episode 1, step 0: action 0 in state 0 leads to state 2, which the dynamics give no",
        ),
        (
            [0, 1, -1],
            [0, 0],
            "episode 1, step 2: the observation is none of the 3 states, but .*-1.*, and the world does",
        ),
        ([0, 0, 0, 0, 0], [1, 1, 1, 1], "episode 1 has 4 steps, the horizon is 3"),
    ],
)
def test_demonstrations_that_cannot_be_are_named(states: list[int], actions: list[int], words: str):
    good = np.array([0, 1, 2, -1]), np.array([0, 0, 0])
    episodes = Episodes((good[0], np.array(states)), (good[1], np.array(actions)))
    with pytest.raises(InputError, match=words):
        irl.demonstrated(line(), episodes, horizon=3)


def test_what_was_shown_is_counted():
    shown = irl.demonstrated(line(), ([np.array([0, 0, 1, 2, -1])], [np.array([1, 0, 0, 0])]), discount=0.5)
    wanted = np.array([[0.5, 1.0], [0.25, 0.0], [0.125, 0.0]]) / 1.875
    np.testing.assert_allclose(shown.occupancy, wanted)
    assert shown.size == 4 and len(shown.data()) == 4
    np.testing.assert_allclose(irl.clone(shown)[0], [0.5, 0.5])
    assert shown.nll(np.full((3, 2), 0.5)) == pytest.approx(np.log(2))


def test_options_that_make_no_agent(world: MDP):
    with pytest.raises(InputError, match="temperature is 0"):
        irl.SoftOptimal(world, irl.StateReward(STATES), temperature=0.0, discount=0.9)
    with pytest.raises(InputError, match="temperature is -1"):
        irl.SoftOptimal(world, irl.StateReward(STATES), temperature=-1.0, discount=0.9)
    with pytest.raises(InputError, match=r"StateReward gives rewards \(4, 1\)"):
        irl.SoftOptimal(world, irl.StateReward(4), discount=0.9)
    with pytest.raises(InputError, match="without a horizon and with discount 1"):
        irl.SoftOptimal(world, irl.StateReward(STATES))
    agent = irl.SoftOptimal(world, irl.StateReward(STATES), discount=0.9)
    shown = irl.exact_demonstrations(world, np.full((STATES, ACTIONS), 1 / ACTIONS), discount=0.8)
    with pytest.raises(InputError, match=r"discount 0.8, the agent's is 0.9"):
        irl.infer(agent, shown, key=KEY)
    with pytest.raises(InputError, match="prior_scale is 0"):
        irl.infer(agent, shown, prior_scale=0.0, key=KEY)
    with pytest.raises(InputError, match="infer_temperature: prior_scale is 0"):
        irl.infer_temperature(world, shown, prior_scale=0.0, discount=0.8, key=KEY)
    with pytest.raises(InputError, match="infer_temperature: steps is 0"):
        irl.infer_temperature(world, shown, steps=0, discount=0.8, key=KEY)
    timed = irl.SoftOptimal(world, irl.StateReward(STATES), horizon=4, discount=0.8)
    with pytest.raises(InputError, match="exact ones without a horizon, the agent has 4 steps"):
        irl.infer(timed, shown, key=KEY)
    with pytest.raises(InputError, match=r"states are whole numbers 0..4; row 1 has 5"):
        agent.check_data(Datum(np.zeros((2, 1)), np.array([[0.0], [5.0]])))
