"""A search by derivatives: the iterative linear-quadratic regulator."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jensen.algorithms.ilqr import Problem, ilqr
from jensen.control.plan.base import AbstractSearch, Plan, Value, checked, mean_return
from jensen.control.plan.sequences import AbstractSequences, BoxSequences
from jensen.core import AbstractWorld
from jensen.errors import InputError
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar


@final
@dataclass(frozen=True)
class ILQR(AbstractSearch):
    """Follow the derivatives of reward and dynamics from the plan at hand to a locally best one.

    For real actions in smooth worlds: rewards with an edge (reached or not) have no slope to follow, and
    what is found depends on where the search starts; ``CEM`` minds neither. The world's noise is held still,
    the same at every step: plan in ``ModelWorld(..., latent="mean")``.

    Args:
        horizon: H, actions ahead.
        iterations: Most times the problem is made linear-quadratic.
        discount: γ.
        effort: Weight of ½|a|² subtracted from every reward, a in half the range of its column. It makes the
            search steady where rewards say nothing of actions.

    Raises:
        InputError: A number out of range.

    References:
        Li & Todorov 2004; Tassa et al. 2014.

    Example:
        >>> ILQR(discount=2.0)
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: ILQR: discount is 2; it must be from 0 to 1
    """

    horizon: int = 15
    iterations: int = 10
    discount: float = 1.0
    effort: float = 0.0

    def __post_init__(self):
        checked("ILQR", horizon=self.horizon, iterations=self.iterations, discount=self.discount)
        if not 0 <= self.effort < float("inf"):
            raise InputError(f"ILQR: effort is {self.effort:g}; it must not be negative")

    def begin(self, sequences: AbstractSequences) -> Float[Array, "h a"]:
        """Return the middle of the box."""
        return _box(sequences).begin(self.horizon, 1.0).mean

    def shifted(self, law: Float[Array, "h a"], sequences: AbstractSequences) -> Float[Array, "h a"]:
        """Move the plan on; what follows it is in the middle of the box."""
        return jnp.concatenate([law[1:], self.begin(sequences)[-1:]])

    def plan(
        self,
        world: AbstractWorld,
        starts: PyTree,
        law: Float[Array, "h a"],
        *,
        sequences: AbstractSequences,
        value: Value | None = None,
        key: PRNGKey,
    ) -> Plan:
        """Search; several starts move side by side under the same actions. See ``AbstractSearch.plan``."""
        box = _box(sequences)
        flat, back = ravel_pytree(starts)
        count = len(jax.tree.leaves(starts)[0])
        unit = jnp.where(box.half > 0, box.half, 1.0)  # a column without a choice costs the same throughout
        keys = jax.random.split(key, count)

        def moved(x: Array, action: Array) -> tuple[Array, Scalar]:
            # what the return counts a state for stands behind it: γᵗ times the chance of getting there
            def one(state: PyTree, weight: Scalar, key: PRNGKey) -> tuple[PyTree, Scalar, Scalar]:
                step = world.step(state, action, key=key)
                return step.state, weight * self.discount * step.continues, weight * step.reward

            states, weights, rewards = jax.vmap(one)(back(x[:-count]), x[-count:], keys)
            return jnp.concatenate([ravel_pytree(states)[0], weights]), rewards.mean()

        def running(x: Array, action: Array) -> Scalar:
            return 0.5 * self.effort * jnp.sum((action / unit) ** 2) - moved(x, action)[1]

        def terminal(x: Array) -> Scalar:
            if value is None:
                return jnp.zeros((), x.dtype)
            return -(x[-count:] * jax.vmap(value)(back(x[:-count]))).mean()

        bounds = (jnp.asarray(box.low), jnp.asarray(box.high))
        problem = Problem(lambda x, a: moved(x, a)[0], running, terminal, bounds)
        start = jnp.concatenate([flat, jnp.ones(count, flat.dtype)])
        actions = ilqr(problem, start, law, iterations=self.iterations).actions
        worth = partial(mean_return, world, starts, discount=self.discount, value=value, key=key)
        return Plan(actions, actions, worth(actions))


def _box(sequences: AbstractSequences) -> BoxSequences:
    """Return the box searched.

    Raises:
        InputError: Actions are choices.
    """
    if not isinstance(sequences, BoxSequences):
        raise InputError("ILQR follows derivatives by real actions, and these are choices; use CEM")
    return sequences
