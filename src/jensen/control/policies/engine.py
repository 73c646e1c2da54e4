"""The compiled engine behind policies that act by a fitted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.policies.base import Policy, checked_reset, renewed
from jensen.control.policies.ensemble import Ensemble, Plans, execute, no_plans, push
from jensen.control.policies.heads import AbstractHead
from jensen.control.spaces import ActionSpace
from jensen.errors import InputError, check_key
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree


@runtime_checkable
class ActsByModel(Protocol):
    """The pure functions of a policy, which ``ModelPolicy`` compiles; a row an environment.

    What goes on from step to step is a tree with a leaf ``age``, (N,), the steps since each episode began.
    """

    @property
    def space(self) -> ActionSpace:
        """What actions are valid."""
        ...

    @property
    def width(self) -> int:
        """Columns of an observation."""
        ...

    @property
    def horizon(self) -> int:
        """Actions foreseen at once."""
        ...

    def begun(self, key: PRNGKey, states: Float[Array, "n s"]) -> Any:
        """Begin one episode a row, each with randomness of its own that does not depend on how many."""
        ...

    def restarted(self, key: PRNGKey, courses: Any, mask: Bool[Array, "n"]) -> Any:
        """Begin new episodes where the mask says so."""
        ...

    def step(self, courses: Any, states: Float[Array, "n s"]) -> tuple[Any, Array]:
        """Take one step in every environment: how it goes on, and the actions, flat."""
        ...

    def foresee(self, courses: Any, states: Float[Array, "n s"]) -> Array:
        """Return the next actions, (N, H, A), flat."""
        ...


class Course(NamedTuple):
    """Where each of N environments is in its episode.

    Attributes:
        bits: Random bits to go on from, (N, 2).
        z: The latent held.
        plan: The chunk under way, in the model's units, (N, H, A).
        age: Steps since it was made, (N,).
        fresh: True where no step of the episode was made.
        plans: Chunks that overlap; None without temporal ensembling.
    """

    bits: Array
    z: PyTree
    plan: Float[Array, "n h a"]
    age: Int[Array, "n"]
    fresh: Bool[Array, "n"]
    plans: Plans | None


class Engine(NamedTuple):
    """The pure functions of a policy, for one environment each.

    Attributes:
        head: How the model proposes.
        space: What its proposals mean.
        horizon: H.
        replan: Steps after which a new chunk is made.
        hold: Whether z is kept through new chunks until the episode ends.
        ensemble: How overlapping chunks are put together; None where the newest is followed.
    """

    head: AbstractHead
    space: ActionSpace
    horizon: int
    replan: int
    hold: bool
    ensemble: Ensemble | None

    @property
    def width(self) -> int:
        """Columns of an observation."""
        return self.head.model.cond_dim

    def begin(self, key: PRNGKey, state: Float[Array, "s"]) -> Course:
        """Return the course of an episode that has not begun."""
        z = jax.eval_shape(lambda: self.head.begin(state, key=key))
        z = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), z)
        plan = jnp.zeros((self.horizon, self.space.size))
        plans = None
        if self.ensemble is not None:
            plans = no_plans(math.ceil(self.horizon / self.replan), *plan.shape)
        due = jnp.asarray(self.replan, jnp.int32)
        return Course(jax.random.key_data(key), z, plan, due, jnp.asarray(True), plans)

    def plan(self, course: Course, state: Float[Array, "s"]) -> Course:
        """Make a new chunk, with a new z unless it is held."""
        key, to_z, to_y = jax.random.split(jax.random.wrap_key_data(course.bits), 3)
        z = self.head.begin(state, key=to_z)
        if self.hold:
            z = jax.tree.map(lambda new, old: jnp.where(course.fresh, new, old), z, course.z)
        chunk = self.head.propose(z, state, key=to_y).reshape(self.horizon, -1)
        plans = course.plans
        if self.ensemble is not None and plans is not None:
            plans = push(plans, chunk, self.ensemble)
        still = jnp.zeros_like(course.age)
        return Course(jax.random.key_data(key), z, chunk, still, jnp.zeros_like(course.fresh), plans)

    def act(self, course: Course) -> tuple[Course, Array]:
        """Take the next action of what is planned."""
        if self.ensemble is not None and course.plans is not None:
            plans, y = execute(course.plans, self.ensemble)
            return course._replace(plans=plans, age=course.age + 1), self.space.to_action(y)
        y = course.plan[course.age]
        return course._replace(age=course.age + 1), self.space.to_action(y)

    def step(self, courses: Course, states: Float[Array, "n s"]) -> tuple[Course, Array]:
        """Take one step in every environment."""
        due = courses.age >= self.replan
        if self.replan == 1:
            courses = jax.vmap(self.plan)(courses, states)
        else:
            courses = jax.lax.cond(
                due.any(), self._planned, lambda courses, *_: courses, courses, states, due
            )
        return jax.vmap(self.act)(courses)

    def begun(self, key: PRNGKey, states: Float[Array, "n s"]) -> Course:
        """Begin one episode a row, each with randomness of its own that does not depend on how many."""
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(states)))
        return jax.vmap(self.begin)(keys, states)

    def restarted(self, key: PRNGKey, courses: Course, mask: Bool[Array, "n"]) -> Course:
        """Begin new episodes where the mask says so."""
        states = jnp.zeros((len(mask), self.width))
        return renewed(mask, self.begun(key, states), courses)

    def foresee(self, courses: Course, states: Float[Array, "n s"]) -> Array:
        """Return new chunks, (N, H, A), as actions."""
        return self.space.to_action(jax.vmap(self.plan)(courses, states).plan)

    def _planned(self, courses: Course, states: Float[Array, "n s"], due: Bool[Array, "n"]) -> Course:
        return renewed(due, jax.vmap(self.plan)(courses, states), courses)


class ModelPolicy(Policy):
    """A policy that acts by a fitted model: compiled once for each number of environments."""

    def __init__(self, engine: ActsByModel, *, key: PRNGKey):
        check_key(key)
        # closed over, parameters are constants of the compiled program: only the course enters each call
        self._engine = engine
        self._keys = key
        self._width = engine.width
        self._step = jax.jit(self._engine.step, donate_argnums=0)
        self._begun: Callable[..., Any] = jax.jit(self._engine.begun)
        self._restarted: Callable[..., Any] = jax.jit(self._engine.restarted)
        self._foresee: Callable[..., Any] = jax.jit(self._engine.foresee)
        self._num: int | None = None
        self._clock = 0
        self._course: Any = None

    @property
    def space(self) -> ActionSpace:
        """What actions are valid."""
        return self._engine.space

    @property
    def horizon(self) -> int:
        """H, actions in a chunk."""
        return self._engine.horizon

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        """Begin new episodes; see ``Policy.reset``.

        Raises:
            InputError: A number that is not positive, or a mask that does not fit.
        """
        mask = checked_reset(num_envs, mask, None if self._course is None else len(self._course.age))
        self._keys, key = jax.random.split(self._keys)
        if mask is None:
            self._num, self._clock = num_envs, 0
            self._course = self._begun(key, np.zeros((num_envs or 1, self._width), np.float32))
        else:
            assert self._course is not None  # a mask fits only what is under way
            self._course = self._restarted(key, self._course, mask)

    def select_action(self, observation: Any) -> Any:
        """Return the next action, (S,) to one action, or (N, S) to N after ``reset(num_envs=N)``.

        Raises:
            InputError: An observation of another shape than the policy expects, or not finite.
        """
        if self._course is None:
            self.reset()
        states = self._checked(observation, "select_action")
        self._course, actions = self._step(self._course, states)
        self._clock += 1
        actions = self.space.finish(np.asarray(actions))
        return actions if self._num is not None else actions[0]

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        """Return the next H actions as foreseen now, (H, ...) or (N, H, ...); the course is not changed.

        Raises:
            InputError: As ``select_action``.
        """
        if self._course is None:
            self.reset()
        states = self._checked(observation, "predict_action_chunk")
        chunks = self.space.finish(np.asarray(self._foresee(self._course, states)))
        return chunks if self._num is not None else chunks[0]

    def predict(self, observations: Any) -> np.ndarray:
        """Return the first action of a new episode for each row, (N, S) to (N, ...).

        Each row has randomness of its own, a function of its place: the same table gives the same actions.

        Raises:
            InputError: Rows of another width than the policy expects, or not finite.
        """
        states = np.asarray(observations, np.float32)
        if states.ndim != 2 or states.shape[1] != self._width:
            raise InputError(
                f"predict: X has shape {states.shape}, but the policy is expecting (N, {self._width})"
            )
        _check_finite(states, "predict", None)
        courses = self._begun(jax.random.key(0), states)
        return self.space.finish(np.asarray(self._foresee(courses, states))[:, 0])

    def _checked(self, observation: Any, who: str) -> np.ndarray:
        states = np.asarray(observation, np.float32)
        wanted = (self._width,) if self._num is None else (self._num, self._width)
        if states.shape != wanted:
            more = ""
            if states.ndim > len(wanted):
                more = "; reset(num_envs=N) acts in several environments"
            elif states.ndim < len(wanted):
                more = f"; it acts in {self._num} environments at once, and in one after reset()"
            raise InputError(
                f"{who}: the observation has shape {states.shape}, but the policy is expecting {wanted}{more}"
            )
        states = states if self._num is not None else states[None]
        _check_finite(states, who, self._clock)
        return states


def _check_finite(states: np.ndarray, who: str, clock: int | None) -> None:
    if math.isfinite(states.sum()) or np.isfinite(states).all():
        return
    row, column = np.argwhere(~np.isfinite(states))[0]
    when = "" if clock is None else f" at step {clock}"
    raise InputError(
        f"{who}: the observation{when} is not finite, {states[row, column]} in row {row}, column {column}"
    )
