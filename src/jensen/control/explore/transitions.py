"""What bonuses are told, and what they answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jensen.datasets import Episodes
from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, Int, PRNGKey, Scalar, Shaped

PARTS = ("state", "action", "next state")


class Transitions(NamedTuple):
    """N steps (o_t, a_t, o_{t+1}).

    Attributes:
        observation: o_t: vectors (N, S), or the codes of states (N,).
        action: a_t: vectors (N, A), of a Discrete space a one-hot row each, or codes (N,).
        next_observation: o_{t+1}, as ``observation``.
        weight: (N,), 1 for steps that happened and 0 for rows that only fill the array: they teach nothing
            and earn nothing, NaN or not. ``None`` where all happened.
    """

    observation: Shaped[Any, "n *s"]
    action: Shaped[Any, "n *a"]
    next_observation: Shaped[Any, "n *s"]
    weight: Shaped[Any, "n"] | None = None

    @classmethod
    def of(cls, episodes: Episodes, num_actions: int | None = None) -> Transitions:
        """Return all steps of recorded episodes, one after another. Host code.

        Args:
            episodes: Whatever was recorded.
            num_actions: Of codes as actions, how many there are: each becomes a one-hot row. None keeps
                codes.

        Raises:
            InputError: Codes outside 0..num_actions−1.
        """
        seen, after = (
            np.concatenate([o[part] for o in episodes.observations])
            for part in (slice(None, -1), slice(1, None))
        )
        actions = np.concatenate(episodes.actions)
        if episodes.discrete and num_actions is not None:
            if actions.min() < 0 or actions.max() >= num_actions:
                raise InputError(
                    f"{episodes.name}: actions are {actions.min()} to {actions.max()}, outside "
                    f"0..{num_actions - 1}"
                )
            actions = np.eye(num_actions, dtype=np.float32)[actions]
        return cls(seen, actions, after)

    def codes(self, who: str, num_states: int, num_actions: int) -> tuple[Array, Array, Array]:
        """Return o_t, a_t and o_{t+1} of a table's steps as integers, (N,) each; 0 in rows of weight 0.

        They may come as whole numbers of any type, (N,) or in one column (N, 1), as ``of`` gives them.
        Inside of a compiled function no number can be refused: there JAX reads the last row in place of one
        that is missing, and writes none.

        Args:
            who: Names the reader in errors.
            num_states: S; o_{t+1} may be any code, −1 say, where the episode ended there.
            num_actions: A.

        Raises:
            InputError: More than one column, or in a step that happened no whole number, or codes outside
                0..S−1 or 0..A−1: which row.
        """
        real, found = self.happened > 0, []
        for name, part, num in zip(PARTS, self[:3], (num_states, num_actions, None), strict=True):
            part = jnp.asarray(part)
            if part.shape not in ((len(real),), (len(real), 1)):
                raise InputError(
                    f"{who}: {name}s have shape {part.shape}, but a table reads one code a row; wrap the "
                    "bonus in Coded"
                )
            part = jnp.where(real, part.reshape(-1), jnp.zeros((), part.dtype))
            check_codes(who, name, part, num)
            codes = part.astype(jnp.int32)
            # a negative place would be counted from the end
            found.append(codes if num is None else jnp.where(codes < 0, num, codes))
        return found[0], found[1], found[2]

    def earned(self, worth: Float[Array, "n"]) -> Float[Array, "n"]:
        """Return what rows are worth by their weights; 0 where that is 0, whatever the row holds."""
        return jnp.where(self.happened > 0, worth * self.happened, 0.0)

    @property
    def happened(self) -> Float[Array, "n"]:
        """The weights, ones where there are none."""
        if self.weight is None:
            return jnp.ones(len(self.observation))
        return jnp.asarray(self.weight, jnp.float32)


class AbstractBonus(eqx.Module):
    """What an agent gets, besides the reward, for seeing what it does not know.

    Modules are pure: ``update`` returns another one of the same structure and shapes, so both methods can be
    compiled. A transition's bonus is asked for *before* the bonus has learnt from it.
    """

    @abstractmethod
    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the bonus of each transition, given all that came before, (N,); 0 where the weight is 0."""

    @abstractmethod
    def update(self, transitions: Transitions, *, key: PRNGKey) -> AbstractBonus:
        """Return the bonus that has learnt from these transitions too."""


class Foresees(AbstractBonus):
    """A bonus that knows what an action is worth before it is taken: it can be planned with.

    Only then can an agent be drawn to what it never tried.
    """

    @abstractmethod
    def ahead(self, observation: Shaped[Array, "*s"], action: Shaped[Array, "*a"]) -> Scalar:
        """Return the bonus to expect of one action, given all that came before."""


class Coded(Foresees):
    """A bonus over codes of states and actions, for observations that are vectors.

    Args:
        inner: The bonus over codes.
        state: An observation (S,) to the code of its cell, like ``GridCells`` or ``jnp.argmax``.
        action: An action to its code; by default the place of the one in a one-hot row.

    Example:
        >>> from jensen.control.explore import Counts
        >>> cells = GridCells(jnp.array([-1.0]), jnp.array([1.0]), (4,))
        >>> seen = Coded(Counts(cells.num, 2), cells)
        >>> steps = Transitions(jnp.array([[-0.9], [0.9]]), jnp.eye(2), jnp.zeros((2, 1)))
        >>> seen = seen.update(steps, key=jax.random.key(0))
        >>> [round(float(b), 4) for b in seen.bonus(steps)]
        [0.7071, 0.7071]
    """

    inner: Foresees
    state: Callable[[Array], Int[Array, ""]]
    action: Callable[[Array], Int[Array, ""]] = jnp.argmax

    def bonus(self, transitions: Transitions) -> Float[Array, "n"]:
        """Return the inner bonus of the cells."""
        return self.inner.bonus(self._coded(transitions))

    def update(self, transitions: Transitions, *, key: PRNGKey) -> Coded:
        """Update the inner bonus."""
        return eqx.tree_at(lambda b: b.inner, self, self.inner.update(self._coded(transitions), key=key))

    def ahead(self, observation: Shaped[Array, "*s"], action: Shaped[Array, "*a"]) -> Scalar:
        """Return the inner bonus of a cell."""
        return self.inner.ahead(self.state(observation), self.action(action))

    def _coded(self, transitions: Transitions) -> Transitions:
        state = jax.vmap(self.state)
        return Transitions(
            state(jnp.asarray(transitions.observation)),
            jax.vmap(self.action)(jnp.asarray(transitions.action)),
            state(jnp.asarray(transitions.next_observation)),
            transitions.weight,
        )


class GridCells(eqx.Module):
    """Equal boxes over a range, the last column running fastest; what lies outside is in the nearest.

    Args:
        low: Lower ends, (S,).
        high: Upper ends, (S,).
        bins: Boxes along each column.

    Raises:
        InputError: Ends or bins that disagree.

    Example:
        >>> cells = GridCells(jnp.zeros(2), jnp.ones(2), (10, 5))
        >>> int(cells(jnp.array([0.95, 0.1])))
        45
    """

    low: Float[Array, "s"]
    high: Float[Array, "s"]
    bins: tuple[int, ...]

    def __init__(self, low: Any, high: Any, bins: tuple[int, ...]):
        self.low, self.high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
        self.bins = tuple(bins)
        fits = self.low.shape == self.high.shape == (len(self.bins),)
        if not fits or min(self.bins, default=0) < 1 or not bool(_boxes(self.low, self.high)):
            raise InputError(
                f"GridCells: ends of shapes {self.low.shape}, {self.high.shape} and {len(self.bins)} numbers "
                "of bins must agree, each low below its high by a finite range, each number at least 1"
            )

    @property
    def num(self) -> int:
        """Number of cells."""
        return int(np.prod(self.bins))

    def __call__(self, observation: Float[Array, "s"]) -> Int[Array, ""]:
        """Return the number of the cell."""
        bins = jnp.array(self.bins)
        place = jnp.floor((observation - self.low) / (self.high - self.low) * bins).astype(jnp.int32)
        strides = np.concatenate([np.cumprod(self.bins[:0:-1])[::-1], [1]]).astype(np.int32)
        return (jnp.clip(place, 0, bins - 1) * strides).sum()


def check_codes(who: str, name: str, codes: Shaped[Array, "n"], num: int | None) -> None:
    """Refuse what is no code of a table; of traced numbers nothing is known.

    Args:
        who: Names the reader in errors.
        name: What they are codes of.
        codes: One a row.
        num: Codes are 0..num−1; None where any whole number will do.

    Raises:
        InputError: The first row that is wrong.
    """
    if isinstance(codes, Tracer):
        return
    found = np.asarray(codes)
    odd = ~np.isfinite(found) | (found != np.round(found))
    if odd.any():
        row = int(odd.argmax())
        raise InputError(
            f"{who}: row {row} has {name} {found[row]}, which is no whole number; give codes 0..K−1, or wrap "
            "the bonus in Coded"
        )
    wrong = np.zeros(len(found), bool) if num is None else (found < 0) | (found >= num)
    if num is not None and wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"{who}: row {row} has {name} {int(found[row])}, but the table's are 0..{num - 1}; make it "
            "larger, or correct the codes"
        )


def _boxes(low: Float[Array, "s"], high: Float[Array, "s"]) -> Bool[Array, ""]:
    """Return whether a range can be divided: that of a space without bounds puts all into one box."""
    return ((low < high) & jnp.isfinite(high - low)).all()
