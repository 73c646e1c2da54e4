"""A planner as a policy: believe, search, act, and keep what the search knows for the next step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.plan.base import AbstractSearch, Plan, Value
from jensen.control.plan.sampled import CEM
from jensen.control.plan.sequences import AbstractSequences, sequences_in
from jensen.control.policies.base import Policy, checked_reset
from jensen.control.spaces import ActionSpace, action_space
from jensen.control.worlds.base import ObservedWorld
from jensen.control.worlds.model import ModelWorld
from jensen.errors import InputError, check_key
from jensen.typing import Array, Bool, Float, PRNGKey, PyTree


class AbstractStarts(ABC):
    """Which states a plan is made from, given what is believed."""

    @abstractmethod
    def states(self, world: ObservedWorld, belief: PyTree, *, key: PRNGKey) -> PyTree:
        """Return S states, stacked."""


@final
@dataclass(frozen=True)
class FromMean(AbstractStarts):
    """One state, at the mean of the belief."""

    def states(self, world: ObservedWorld, belief: PyTree, *, key: PRNGKey) -> PyTree:
        """Return it."""
        return jax.tree.map(lambda leaf: leaf[None], world.expected(belief))


@final
@dataclass(frozen=True)
class FromSamples(AbstractStarts):
    """Draws of the belief: the plan is the best on average over them, at their number's multiple of the work.

    Args:
        num: S.

    Raises:
        InputError: There is none.
    """

    num: int = 8

    def __post_init__(self):
        if self.num < 1:
            raise InputError(f"FromSamples: num is {self.num}; it must be at least 1")

    def states(self, world: ObservedWorld, belief: PyTree, *, key: PRNGKey) -> PyTree:
        """Draw them."""
        return jax.vmap(lambda key: world.drawn(belief, key=key))(jax.random.split(key, self.num))


@dataclass(frozen=True)
class Settings:
    """What is constant in the compiled program of a planner."""

    search: AbstractSearch
    sequences: AbstractSequences
    starts: AbstractStarts


class Course(NamedTuple):
    """Where one environment is in its episode.

    Attributes:
        bits: Random bits to go on from.
        belief: What the world's state is believed to be.
        law: What the search knows.
        action: The last action, as the world reads it.
    """

    bits: Array
    belief: PyTree
    law: PyTree
    action: Float[Array, "a"]


class Planner(Policy):
    """Acts by planning at every step: the first action of the best sequence found, then again.

    Args:
        world: Where plans are tried: an ``ObservedWorld``, or a fitted model with a reward head, of which a
            ``ModelWorld`` is made.
        space: The environment's action space: a Gymnasium Box or Discrete, or an ``ActionSpace``.
        search: How plans are found, ``CEM(...)`` or ``MPPI(...)``.
        starts: What they start from: ``FromMean()``, or ``FromSamples(8)`` of what is believed.
        value: What the state after the last action is worth, a module from a state to a number; nothing by
            default.
        key: Randomness, advanced by every call.

    Raises:
        InputError: A model without a reward head, a space that does not fit the world's actions.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> from jensen import control
        >>> gaussian = jn.families.DiagGaussian(2)
        >>> model = jn.models.RSSM(
        ...     3, 1, deter_dim=8, latent=gaussian, heads=(jn.models.likelihoods.Gaussian(1),),
        ...     key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(gaussian, like=model, key=jax.random.key(1))
        >>> fitted = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> low = -np.ones(1, np.float32)
        >>> box = control.BoxActions(low, -low, (1,), low.dtype)
        >>> search = control.CEM(horizon=3, candidates=8, iterations=2, elites=2)
        >>> policy = control.Planner(fitted, box, search=search, key=jax.random.key(2))
        >>> policy.select_action(np.zeros(3)).shape
        (1,)
    """

    def __init__(
        self,
        world: Any,
        space: Any,
        *,
        search: AbstractSearch | None = None,
        starts: AbstractStarts | None = None,
        value: Value | None = None,
        key: PRNGKey,
    ):
        check_key(key)
        self.world = world if isinstance(world, ObservedWorld) else ModelWorld(world, latent="mean")
        self.space: ActionSpace = action_space(space)
        sequences = sequences_in(self.space)
        if sequences.action_dim != self.world.action_dim:
            raise InputError(
                f"Planner: the world takes actions of {self.world.action_dim} columns, the space has "
                f"{sequences.action_dim}"
            )
        self.settings = Settings(search or CEM(), sequences, starts or FromMean())
        self._value, self._keys = value, key
        self._num: int | None = None
        self._clock = 0
        self._course: Any = None
        self.plans: Plan | None = None

    @property
    def search(self) -> AbstractSearch:
        """How plans are found."""
        return self.settings.search

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        """Begin new episodes; see ``Policy.reset``.

        Raises:
            InputError: A number that is not positive, or a mask that does not fit.
        """
        mask = checked_reset(num_envs, mask, None if self._course is None else len(self._course.bits))
        self._keys, key = jax.random.split(self._keys)
        if mask is None:
            self._num, self._clock = num_envs, 0
            self._course = begun(self.world, self.settings, key, num_envs or 1)
        else:
            assert self._course is not None  # a mask fits only what is under way
            self._course = _restarted(self.world, self.settings, key, self._course, mask)

    def select_action(self, observation: Any) -> Any:
        """Plan, and return the first action: one, or N after ``reset(num_envs=N)``.

        ``plans`` then holds the plans, with a leading axis N.

        Raises:
            InputError: An observation of another shape than the world expects, or not finite; a world in
                which no sequence of actions has a finite return.
        """
        if self._course is None:
            self.reset()
        self._course, self.plans = self._planned(self._course, self._rows(observation))
        self._clock += 1
        actions = self._finished(self.plans, np.asarray(self._course.action))
        return actions if self._num is not None else actions[0]

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        """Return the plan, (H, ...) or (N, H, ...), without acting on it.

        Raises:
            InputError: As ``select_action``.
        """
        if self._course is None:
            self.reset()
        rows = self._rows(observation)
        plans = self._planned(self._course, rows)[1]
        chunks = self._finished(plans, np.asarray(plans.actions))
        return chunks if self._num is not None else chunks[0]

    def predict(self, observations: Any) -> np.ndarray:
        """Return the first action of a new episode for each row, (N, S) to (N, ...).

        The same table gives the same actions.

        Raises:
            InputError: Rows of another width than the world expects, or not finite.
        """
        rows = flat(observations, len(np.asarray(observations)), self.world.observation_dim, "predict")
        courses = begun(self.world, self.settings, jax.random.key(0), len(rows))
        courses, plans = self._planned(courses, rows)
        return self._finished(plans, np.asarray(courses.action))

    def _planned(self, courses: Any, rows: np.ndarray) -> tuple[Course, Plan]:
        return planned(self.world, self._value, self.settings, courses, jnp.asarray(rows))

    def _rows(self, observation: Any) -> np.ndarray:
        num = 1 if self._num is None else self._num
        values = np.asarray(observation)
        values = values[None] if self._num is None else values
        return flat(values, num, self.world.observation_dim, f"select_action at step {self._clock}")

    def _finished(self, plans: Plan, actions: np.ndarray) -> np.ndarray:
        values = np.asarray(plans.value)
        if not np.isfinite(values).all():
            where = int(np.argmax(~np.isfinite(values)))
            raise InputError(
                f"Planner: at step {self._clock} no plan of environment {where} has a finite return "
                f"({values[where]}): what the world says of rewards is not finite; look at its data and fit"
            )
        return self.space.finish(self.settings.sequences.codes(actions))

    def __repr__(self) -> str:
        inside = type(self.world).__name__
        return f"Planner({self.search}, {self.settings.starts}, in a {inside}, actions {self.space})"


@eqx.filter_jit
def begun(world: ObservedWorld, settings: Settings, key: PRNGKey, num: int) -> Course:
    """Begin N episodes, each with randomness of its own that does not depend on how many."""

    def one(key: PRNGKey) -> Course:
        law = settings.search.begin(settings.sequences)
        still = jnp.zeros(world.action_dim)
        return Course(jax.random.key_data(key), world.begin(), law, still)

    return jax.vmap(one)(jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(num)))


@eqx.filter_jit
def planned(
    world: ObservedWorld,
    value: Value | None,
    settings: Settings,
    courses: Course,
    observations: Float[Array, "n s"],
) -> tuple[Course, Plan]:
    """Take one step in every environment: believe, plan, act."""
    search, sequences = settings.search, settings.sequences

    def one(course: Course, observation: Array) -> tuple[Course, Plan]:
        key, to_see, to_start, to_plan = jax.random.split(jax.random.wrap_key_data(course.bits), 4)
        belief = world.observe(course.belief, observation, course.action, key=to_see)
        starts = settings.starts.states(world, belief, key=to_start)
        plan = search.plan(world, starts, course.law, sequences=sequences, value=value, key=to_plan)
        law = search.shifted(plan.law, sequences)
        return Course(jax.random.key_data(key), belief, law, plan.actions[0]), plan

    return search.each(one, courses, observations)


@eqx.filter_jit
def _restarted(
    world: ObservedWorld, settings: Settings, key: PRNGKey, courses: Course, mask: Bool[Array, "n"]
) -> Course:
    fresh = begun(world, settings, key, len(mask))

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(pick, fresh, courses)


def flat(observations: Any, num: int, width: int, who: str) -> np.ndarray:
    """Return observations as rows of numbers, (N, S); bytes of pictures as shares of 255.

    Raises:
        InputError: Another shape, or entries that are not finite.
    """
    values = np.asarray(observations)
    scale = 255.0 if values.dtype == np.uint8 else 1.0
    if values.ndim < 2 or len(values) != num or values[0].size != width:
        raise InputError(
            f"{who}: observations have shape {values.shape}; {num} of {width} numbers each are expected"
        )
    rows = values.reshape(num, -1).astype(np.float32) / np.float32(scale)
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise InputError(f"{who}: the observation is not finite, in row {row}, column {column}")
    return rows
