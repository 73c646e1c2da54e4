"""Before the first step of an actor-critic: what is asked for is checked, and scales are chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.returns import survival
from jensen.control.imagine.actors import (
    check_actor,
    check_critic,
    default_actor,
    default_critic,
    default_gradient,
)
from jensen.control.imagine.loss import ActorCritic, Learner, Path, Settings, imagined
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions, action_space
from jensen.control.worlds.model import ModelWorld
from jensen.core import AbstractWorld, Datum, InitializesFromData
from jensen.errors import InputError
from jensen.fit import Data
from jensen.fit.fingerprint import Static
from jensen.typing import Array, Float, PRNGKey, PyTree

_SCOUTS = 512
"""Start states whose first imagined paths choose the scales of actor and critic."""

_LONGEST = 1e3
"""Most steps that a path is taken to go on for, where nothing ends it and nothing is discounted."""


def fitting_space(space: Any, world: AbstractWorld) -> ActionSpace:
    """Return the action space, a bounded Box squashed, checked against the world.

    Raises:
        InputError: Neither Box nor Discrete, or other columns than the world's actions have.
    """
    valid = action_space(space)
    if isinstance(valid, BoxActions) and valid is not space and np.isfinite(valid.high - valid.low).all():
        valid = replace(valid, bounds="squash")
    columns = valid.n if isinstance(valid, DiscreteActions) else valid.size
    if columns != world.action_dim:
        raise InputError(
            f"imagine: actions of {valid!r} have {columns} columns, but {type(world).__name__} takes "
            f"{world.action_dim}; give the space of the environment that the world stands for"
        )
    return valid


def starting_states(world: AbstractWorld, starts: Any, *, key: PRNGKey) -> PyTree:
    """Return start states as arrays of one leading axis; of data, those the world infers.

    Raises:
        InputError: None, no common leading axis, or NaN and infinities: in which state.
    """
    if isinstance(starts, Data):
        if not isinstance(world, ModelWorld):
            raise InputError(f"imagine: {type(world).__name__} infers no states from data; give states")
        return world.states(starts, key=key)
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(starts)]
    shapes = {leaf.shape[:1] for leaf in leaves}
    if len(shapes) != 1 or shapes in ({()}, {(0,)}):
        raise InputError(
            "imagine: starts must be states stacked on one leading axis, at least one; "
            f"got arrays of shapes {', '.join(str(leaf.shape) for leaf in leaves) or 'none'}"
        )
    for leaf in leaves:
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            raise InputError(f"imagine: start state {np.argwhere(~np.isfinite(leaf))[0][0]} is not finite")
    return jax.tree.map(jnp.asarray, starts)


def features_of(world: AbstractWorld, features: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """Return what actor and critic read of a state; None where the world itself says.

    Raises:
        InputError: A world that does not say, and no function given.
    """
    if features is None and not isinstance(world, ModelWorld):
        raise InputError(
            f"imagine: what of a state of {type(world).__name__} is the actor to read? give features=, a "
            "function from a state to a vector, such as a simulator's observe"
        )
    return features


def begun(
    learner: Learner, starts: PyTree, space: ActionSpace, how: Settings, *, key: PRNGKey
) -> tuple[Learner, float]:
    """Return the learner with networks, and scales that its first imagined paths suggest.

    Args:
        learner: Its networks may be missing: None.
        starts: Stacked start states.
        space: Of actions.
        how: Settings.
        key: Randomness of weights and paths.

    Returns:
        The learner; the unit of returns.

    Raises:
        CombinationError: An actor that fits neither space nor gradient.
        InputError: Features that are no vector, a world whose states change shape.
    """
    to_actor, to_critic, to_scouts, to_scales = jax.random.split(key, 4)
    one = jax.tree.map(lambda leaf: leaf[0], starts)
    width = _width(learner, one)
    learned = learner.learned
    if learned is None:
        actor = default_actor(space, width, how.widths, key=to_actor)
        learned = ActorCritic(
            actor, default_critic(width, how.widths, key=to_critic), default_gradient(space)
        )
    check_actor(learned.actor, space, width)
    check_critic(learned.critic)
    learned.gradient.check(learned.actor, space)
    learner = eqx.tree_at(lambda it: it.learned, learner, learned, is_leaf=lambda leaf: leaf is None)
    _check_step(learner, one)
    rows = np.linspace(0, len(jax.tree.leaves(starts)[0]) - 1, _SCOUTS).astype(int)
    paths = _scouted(
        learner, jax.tree.map(lambda leaf: leaf[rows], starts), Static(space), how.horizon, to_scouts
    )
    return _scaled(learner, paths, space, how.discount, key=to_scales)


@eqx.filter_jit
def _scouted(learner: Learner, starts: PyTree, space: Static, horizon: int, key: PRNGKey) -> Path:
    def follow(start: PyTree, key: PRNGKey) -> Path:
        return imagined(learner, space.value, start, horizon, key=key)

    return jax.vmap(follow)(starts, jax.random.split(key, len(jax.tree.leaves(starts)[0])))


def _scaled(
    learner: Learner, paths: Path, space: ActionSpace, discount: float, *, key: PRNGKey
) -> tuple[Learner, float]:
    """Choose coordinates of features, and of returns: as if each path went on as it went."""
    features = np.asarray(paths.features).reshape(-1, paths.features.shape[-1])
    alive = np.asarray(jax.vmap(partial(survival, discount=1.0))(paths.continues), np.float64)
    rewards, entropies, goes_on = (
        (alive * np.asarray(part)).sum(1) / alive.sum(1)
        for part in (paths.rewards, paths.entropies, paths.continues)
    )
    steps = 1 / np.maximum(1 - discount * goes_on, 1 / _LONGEST)
    bad = [name for name, part in zip(Path._fields, paths, strict=True) if not np.isfinite(part).all()]
    if bad:
        raise InputError(f"imagine: the world gives {bad[0]} that are not finite from its first steps on")
    # entropies hardly differ yet, and will: their scale is a nat a step
    nats = steps * (entropies + np.where(np.arange(len(steps)) % 2, 1.0, -1.0))
    ahead = np.stack([rewards * steps, nats], -1)
    returns = np.repeat(ahead, paths.features.shape[1], 0).astype(np.float32)
    unit = float(returns[:, 0].std()) or 1.0
    if isinstance(space, DiscreteActions):
        actions = (np.arange(len(features)) % space.n)[:, None].astype(np.float32)
    else:
        actions = np.asarray(jax.random.normal(key, (len(features), space.size)))
    learned = learner.learned
    actor = _started(learned.actor, Datum(actions, features), key=key)
    critic = _started(learned.critic, Datum(returns, features), key=key)
    learner = eqx.tree_at(lambda it: (it.learned.actor, it.learned.critic), learner, (actor, critic))
    return learner, unit


def _started(net: Any, rows: Datum, *, key: PRNGKey) -> Any:
    if isinstance(net, InitializesFromData) and not net.initialized:
        return net.initialize_from(rows, key=key)
    return net


def _width(learner: Learner, state: PyTree) -> int:
    seen = eqx.filter_eval_shape(learner.seen, state)
    if not isinstance(seen, jax.ShapeDtypeStruct) or len(seen.shape) != 1:
        raise InputError(f"imagine: features of a state must be a vector, not {seen}; flatten it")
    return seen.shape[0]


def _check_step(learner: Learner, state: PyTree) -> None:
    """Refuse a world whose step gives a state of another kind than it takes, or rewards that are arrays."""
    world = learner.world

    def step(state: PyTree, action: Float[Array, "a"], key: PRNGKey) -> PyTree:
        return tuple(world.step(state, action, key=key))

    after, *paid = eqx.filter_eval_shape(step, state, jnp.zeros(world.action_dim), jax.random.key(0))
    for name, part in zip(("reward", "continues"), paid, strict=True):
        if part.shape != ():
            raise InputError(
                f"imagine: {name} of {type(world).__name__}.step has shape {part.shape}; give one number"
            )
    shapes = [
        [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]
        for tree in (after, jax.tree.map(jnp.asarray, state))
    ]
    if shapes[0] != shapes[1] or jax.tree.structure(after) != jax.tree.structure(state):
        raise InputError(
            f"imagine: {type(world).__name__}.step turns a state of {shapes[1]} into one of {shapes[0]}; "
            "give start states of the type the world makes"
        )
