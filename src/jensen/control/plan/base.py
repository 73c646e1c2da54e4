"""What a search for actions is, and what a sequence of them is worth in a world."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jensen.control.plan.sequences import AbstractSequences
from jensen.core import AbstractWorld
from jensen.errors import InputError, at_least, positive
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar

Value: TypeAlias = Callable[[Any], Scalar]
"""What a state is worth from there on, in rewards: a module, or a function at the top of a module."""


class Plan(NamedTuple):
    """What a search found.

    Attributes:
        actions: What to do, as the world reads it.
        law: What the search knows now; the next one starts from it, a step later.
        value: The imagined return of the actions, from the states planned from.
    """

    actions: Float[Array, "h a"]
    law: PyTree
    value: Scalar


class AbstractSearch(ABC):
    """A search for the best H actions in a world; hashable, and a constant of the compiled program.

    For one environment: ``jax.vmap`` is the caller's.
    """

    horizon: Any
    discount: Any

    @abstractmethod
    def begin(self, sequences: AbstractSequences) -> PyTree:
        """Return what is known before the first plan."""

    @abstractmethod
    def shifted(self, law: PyTree, sequences: AbstractSequences) -> PyTree:
        """Return what one plan leaves to the next, a step later."""

    @abstractmethod
    def plan(
        self,
        world: AbstractWorld,
        starts: PyTree,
        law: PyTree,
        *,
        sequences: AbstractSequences,
        value: Value | None = None,
        key: PRNGKey,
    ) -> Plan:
        """Search.

        Args:
            world: Where.
            starts: States to plan from, a leading axis S: one, or draws of what is believed; what is sought
                is best on average over them.
            law: What is known, of ``begin`` or ``shifted``.
            sequences: What actions there are.
            value: Worth of the state after the last action; nothing by default.
            key: Randomness.
        """

    def each(self, one: Callable[..., Any], *rows: PyTree) -> Any:
        """Return what ``one`` makes, by a plan, of each of N rows: side by side, where no more is known."""
        return jax.vmap(one)(*rows)


def imagined_return(
    world: AbstractWorld,
    start: PyTree,
    actions: Float[Array, "h a"],
    *,
    discount: float = 1.0,
    value: Value | None = None,
    key: PRNGKey,
) -> Scalar:
    r"""Return Σ_t γᵗ (∏_{k<t} c_k) r_t + γᴴ (∏_k c_k) V(s_H) along a sequence of actions.

    c is what the world says of the episode going on: 0 after its end, a probability where one is foreseen.

    Args:
        world: Where the actions are taken.
        start: s_0.
        actions: a_0 … a_{H−1}.
        discount: γ.
        value: V; 0 by default.
        key: Randomness of the world.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jensen.core import AbstractWorld, Moved
        >>> class Line(AbstractWorld):
        ...     action_dim: int = 1
        ...     def step(self, state, action, *, key):
        ...         return Moved(state + action, state[0], jnp.ones(()))
        >>> push = jnp.ones((3, 1))
        >>> float(imagined_return(Line(), jnp.zeros(1), push, discount=0.5, key=jax.random.key(0)))
        1.0
    """

    def step(state: tuple[PyTree, Scalar, Scalar], at: tuple[Array, PRNGKey]) -> tuple[Any, None]:
        here, weight, total = state
        moved = world.step(here, at[0], key=at[1])
        # after an end nothing counts, not even what is not finite
        total = total + weight * jnp.where(weight > 0, moved.reward, 0.0)
        return (moved.state, weight * discount * moved.continues, total), None

    keys = jax.random.split(key, len(actions))
    (last, weight, total), _ = jax.lax.scan(step, (start, jnp.ones(()), jnp.zeros(())), (actions, keys))
    return total if value is None else total + weight * value(last)


def mean_return(
    world: AbstractWorld,
    starts: PyTree,
    actions: Float[Array, "h a"],
    *,
    discount: float,
    value: Value | None,
    key: PRNGKey,
) -> Scalar:
    """Return the imagined return averaged over states to start from; each has noise of its own."""
    keys = jax.random.split(key, len(jax.tree.leaves(starts)[0]))

    def one(start: PyTree, key: PRNGKey) -> Scalar:
        return imagined_return(world, start, actions, discount=discount, value=value, key=key)

    return jax.vmap(one)(starts, keys).mean()


def checked(who: str, **numbers: float | int) -> None:
    """Refuse settings out of range: γ outside [0, 1], what must be positive and is not.

    Raises:
        InputError: Which, and what it may be.
    """
    for name, number in numbers.items():
        if name == "discount":
            if not 0 <= number <= 1:
                raise InputError(f"{who}: discount is {number:g}; it must be from 0 to 1")
        elif name in ("horizon", "candidates", "iterations", "elites"):
            at_least(who, 1, **{name: number})
        elif name == "floor":
            if not 0 <= number < 1:
                raise InputError(f"{who}: {name} is {number:g}; it must be at least 0 and below 1")
        else:
            positive(who, **{name: number})
