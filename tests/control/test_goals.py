"""The regulator as a planner, and worlds whose reward is being near an observation."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors
from jensen.control import BoxActions, Planner
from jensen.control.plan import ILQR, BoxSequences, ChoiceSequences
from jensen.control.plan.base import mean_return
from jensen.control.worlds.goals import GoalWorld
from jensen.core import AbstractWorld, Moved
from jensen.errors import InputError

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick = partial(jax.jit, compiler_options=QUICK)
BOX = BoxSequences((-3.0, -3.0), (3.0, 3.0))


class Bowl(AbstractWorld):
    """A bent plane that is left the sooner, the further out one is; nothing is random."""

    action_dim: int = 2

    def step(self, state, action, *, key):
        after = {"p": state["p"] + 0.3 * action + 0.1 * jnp.sin(state["p"][::-1])}
        reward = -jnp.sum((after["p"] - 1.0) ** 2) - 0.1 * jnp.sum(action**2)
        return Moved(after, reward, jnp.exp(-0.01 * jnp.sum(state["p"] ** 2)))


def value(state):
    return -2.0 * jnp.sum((state["p"] - 1.0) ** 2)


def test_no_small_change_of_a_plan_is_better():
    """The return, weighed by discount and the chance of going on, is level at what the regulator finds."""
    starts = {"p": jnp.array([[0.0, -1.0], [0.5, -0.5]])}
    search = ILQR(horizon=6, iterations=30, discount=0.9)

    @quick
    def found(starts):
        plan = search.plan(Bowl(), starts, search.begin(BOX), sequences=BOX, value=value, key=KEY)

        def worth(actions):
            return mean_return(Bowl(), starts, actions, discount=0.9, value=value, key=KEY)

        return plan, worth(plan.actions), jax.grad(worth)(plan.actions), jax.grad(worth)(0 * plan.actions)

    plan, worth, slope, before = found(starts)
    assert float(plan.value) == pytest.approx(float(worth), rel=1e-5)
    actions, slope = np.asarray(plan.actions), np.asarray(slope)
    bound = np.abs(actions) >= 3
    assert (np.abs(actions) <= 3).all() and bound.sum() < 3
    assert np.abs(slope[~bound]).max() < 0.02 * np.abs(before).max()
    assert (slope[bound] * actions[bound] > 0).all()
    np.testing.assert_array_equal(search.shifted(plan.law, BOX)[:-1], plan.actions[1:])


def inference(**more):
    e2c = models.EmbedToControl(4, 1, 2, decoder=(4,), widths=(4,), key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(2), like=e2c, widths=(4,), **more, key=KEY)
    return jn.Inference(e2c, q, objectives.ELBO(), gradients.Reparam())


def test_a_goal_is_encoded_and_the_regulator_acts_on_it():
    mine = inference(memory=0)
    goal = np.array([1.0, 0.0, 0.5, 0.0], np.float32)
    world = GoalWorld(mine, goal, state_cost=2.0, action_cost=0.5)
    law = mine.q(jn.Datum(jnp.stack([jnp.asarray(goal), jnp.zeros(4)]), jnp.ones((1, 1))), key=KEY)
    z, a = jnp.array([0.3, -0.2]), jnp.array([0.7])

    @quick
    def parts():
        drawn = jn.dist.draw(law, key=KEY)
        return drawn.carry.laws.mean[0], world.step(z, a, key=KEY)

    mean, moved = parts()
    np.testing.assert_allclose(world.goal, mean, rtol=1e-5)
    big_a, big_b, offset = mine.model.transition_net.matrices(z)
    np.testing.assert_allclose(moved.state, big_a @ z + big_b @ a + offset, rtol=1e-5)
    cost = 2.0 * ((np.asarray(moved.state) - mean) ** 2).sum() + 0.5 * 0.49
    assert float(moved.reward) == pytest.approx(-float(cost), rel=1e-5)
    box = BoxActions(-np.ones(1, np.float32), np.ones(1, np.float32), (1,), np.dtype("float32"))
    policy = Planner(world, box, search=ILQR(horizon=3, iterations=2), key=KEY)
    policy.reset(2)
    action = policy.select_action(np.zeros((2, 4), np.float32))
    assert action.shape == (2, 1) and np.isfinite(action).all()


def test_what_cannot_be_planned_is_refused_in_one_line():
    with pytest.raises(InputError, match="CEM"):
        ILQR().begin(ChoiceSequences(3))
    with pytest.raises(InputError, match="horizon is 0"):
        ILQR(horizon=0)
    with pytest.raises(InputError, match="effort"):
        ILQR(effort=-1.0)
    with pytest.raises(InputError, match="memory=0"):
        GoalWorld(inference(), np.ones(4))
    with pytest.raises(InputError, match="4 finite"):
        GoalWorld(inference(memory=0), np.ones(3))
