"""Actor-critics in imagination: gradients against exact ones, policies against the best, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen.algorithms import mdp as tables
from jensen.algorithms import soft_bellman
from jensen.algorithms.mdp import MDP
from jensen.control.actors import Pathwise, Score
from jensen.control.explore.tabular import TableWorld
from jensen.control.imagine import Imagined, imagine, load_imagined
from jensen.control.imagine_fit import climb
from jensen.control.imagine_loss import ActorCritic, Learner, Settings
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.core import AbstractWorld, Moved
from jensen.errors import CombinationError, InputError, NonFiniteError
from jensen.fit import Run
from jensen.models import CategoricalNet, HeteroscedasticNet
from jensen.nets import MLP
from jensen.typing import Array, PRNGKey, PyTree

KEY = jax.random.key(0)
GAMMA, DECAY, TAU = 0.9, 0.8, 0.3


def one_hot(state: Array) -> Array:
    return jax.nn.one_hot(state, 3)


def problem() -> MDP:
    """Three states, two actions, and an end that one of them brings nearer."""
    rng = np.random.default_rng(3)
    stays = np.array([[0.95, 0.7], [0.9, 0.9], [0.6, 1.0]])
    transitions = rng.dirichlet(np.full(3, 0.5), (3, 2)) * stays[..., None]
    return tables.checked(MDP(transitions, 2 * rng.normal(size=(3, 2)), np.full(3, 1 / 3)))


def line(space: str = "clip") -> BoxActions:
    edge = np.inf if space == "clip" else 1.0
    return BoxActions(-np.full(1, edge), np.full(1, edge), (1,), np.dtype("float32"), space)


class Slope(AbstractWorld):
    """x' = 0.9 x + 0.5 u, which costs x'² + 0.1 u²."""

    action_dim: int = 1

    def step(self, state: Array, action: Array, *, key: PRNGKey) -> Moved:
        after = 0.9 * state + 0.5 * action
        return Moved(after, -(after**2 + 0.1 * action**2).sum(), jnp.ones(()))


def linear(width: int, out: int, weights: np.ndarray, bias: np.ndarray) -> MLP:
    net = MLP(width, out, (), key=KEY)
    new = jnp.asarray(weights, jnp.float32), jnp.asarray(bias, jnp.float32)
    return eqx.tree_at(lambda n: (n.layers[0].weight, n.layers[0].bias), net, new)


def critic(weights: Any, bias: Any, width: int) -> HeteroscedasticNet:
    net = linear(width, 1, np.reshape(weights, (1, width)), np.reshape(bias, (1,)))
    return HeteroscedasticNet(1, width, net=net, variance="unit", key=KEY)


class Estimates(NamedTuple):
    """Gradients in the actor's parameters, flat, one a batch."""

    mean: np.ndarray
    error: np.ndarray


def estimates(learner: Learner, starts: PyTree, space: ActionSpace, batches: int, **options: Any) -> Estimates:
    """The actor's gradient as a step takes it, with its standard error."""
    how = Settings.of({"temperature_in": "rewards", "discount": GAMMA, "decay": DECAY, **options})
    ready = climb(learner, starts, space, how, 1.0, run=None, key=KEY)

    def one(key: PRNGKey) -> Array:
        def loss(params: PyTree) -> tuple[Array, Array]:
            value, (_, memory, _) = ready.program.loss(
                params, ready.split.frozen, ready.rows, key=key, step=0, memory=ready.state.memory
            )
            return value, memory.spread

        grads, spread = jax.grad(loss, has_aux=True)(ready.state.params)
        parts = [leaf.reshape(-1) for leaf in jax.tree.leaves(grads.learned.actor)]
        return -spread * jnp.concatenate(parts)

    each = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), batches)))
    return Estimates(each.mean(0), each.std(0, ddof=1) / batches**0.5)


def close(got: Estimates, want: np.ndarray, at_most: float) -> None:
    off = np.abs(got.mean - want)
    assert (off < 4.5 * got.error + 1e-4).all(), (got, want)
    assert (got.error < at_most * np.abs(want).max()).all()  # not by a wide margin of error


@pytest.mark.parametrize("temperature", [0.0, TAU])
def test_score_gradient_against_enumeration(temperature: float):
    mdp = problem()
    rng = np.random.default_rng(1)
    logits, values = rng.normal(size=(2, 3)), rng.normal(size=3)
    actor = CategoricalNet(1, 2, 3, net=linear(3, 2, logits, np.zeros(2)), key=KEY)
    learned = ActorCritic(actor, critic(values, 0.0, 3), Score())
    learner = Learner(learned, TableWorld.of(mdp), one_hot)
    starts = jnp.tile(jnp.arange(3), 100)
    got = estimates(learner, starts, DiscreteActions(2), 150, horizon=4, temperature=temperature)

    def exact(weight: Array, bias: Array) -> Array:
        policy = jax.nn.softmax((weight + bias[:, None]).T)
        heat = -temperature * (policy * jnp.log(policy)).sum(1)
        ahead = jnp.asarray(values, jnp.float32)
        for _ in range(4):
            mixed = (1 - DECAY) * values + DECAY * ahead if _ else ahead
            ahead = heat + (policy * (mdp.rewards + GAMMA * mdp.transitions @ mixed)).sum(1)
        return ahead.mean()

    weight, bias = jax.grad(exact, argnums=(0, 1))(jnp.asarray(logits, jnp.float32), jnp.zeros(2))
    close(got, np.concatenate([np.ravel(weight), bias]), 0.1)


@pytest.mark.parametrize("gradient", [Pathwise(), Score()], ids=["pathwise", "score"])
def test_linear_quadratic_gradient_against_finite_differences(gradient: Any):
    gain, shift, log_scale = -0.4, 0.2, np.log(0.3)
    actor = HeteroscedasticNet(
        1, 1, net=linear(1, 2, np.array([[gain], [0.0]]), np.array([shift, log_scale])), key=KEY
    )
    learner = Learner(ActorCritic(actor, critic(0.5, -1.0, 1), gradient), Slope(), lambda state: state)
    starts = jnp.tile(jnp.array([[-1.0], [0.5], [2.0]]), (100, 1))
    got = estimates(learner, starts, line(), 100, horizon=3, temperature=TAU)

    def exact(gain: float, slope: float, shift: float, log_scale: float) -> float:
        """Moments of the state, step by step; the noise's log-scale is log_scale + slope·x, to first order."""
        total = 0.0
        for start in (-1.0, 0.5, 2.0):
            mean, second, weight = start, start**2, 1.0
            for t in range(3):
                # σ² = s² e^{2 slope x} ≈ s² (1 + 2 slope x): exact for the derivative at slope = 0
                noise = np.exp(2 * log_scale) * (1 + 2 * slope * mean)
                entropy = 0.5 * np.log(2 * np.pi * np.e) + log_scale + slope * mean
                action = gain * mean + shift, gain**2 * second + 2 * gain * shift * mean + shift**2 + noise
                cross = gain * second + shift * mean
                second = 0.81 * second + 0.9 * cross + 0.25 * action[1]
                mean = 0.9 * mean + 0.5 * action[0]
                last = t == 2
                value = 0.5 * mean - 1.0
                total += weight * (TAU * entropy - second - 0.1 * action[1])
                total += weight * GAMMA * (1.0 if last else 1 - DECAY) * value
                weight *= GAMMA * DECAY
        return total / 3

    at, step = np.array([gain, 0.0, shift, log_scale]), 1e-5
    want = np.array([(exact(*(at + step * e)) - exact(*(at - step * e))) / (2 * step) for e in np.eye(4)])
    # the log-scale passes a bounded map and sits above a floor
    raw = np.array([1.0, 1.0, 1.0, 1.0])
    squeeze = 1 - np.tanh(log_scale / 10) ** 2
    raw[[1, 3]] = squeeze
    close(got, want * raw, 0.05 if isinstance(gradient, Pathwise) else 0.2)
