"""Several fits of one kind at once, a step of each at a time: for models so small that steps cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import Datum
from jensen.fit.chunk import CAPACITY, Program, State, all_finite, take_step
from jensen.fit.fingerprint import array_digest
from jensen.fit.gradient import Ready
from jensen.fit.minimize import Outcome
from jensen.fit.plans import AllRows
from jensen.fit.progress import Progress
from jensen.fit.result import Fitted
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree

_TINY = 50_000
"""Parameters × rows up to which fits run side by side. Measured on two cores: at 75,000 nothing is
gained any more, at a million half the speed is lost."""


def is_tiny(begin: Ready) -> bool:
    """Say whether a fit is small enough to be run beside others: a rule of shapes, never of timings."""
    size = sum(leaf.size for leaf in jax.tree.leaves(begin.split.params))
    plan = begin.program.plan
    return isinstance(plan, AllRows) and size * plan.work(begin.rows) <= _TINY


def are_alike(begins: Sequence[Ready]) -> bool:
    """Say whether one program runs all fits, on the same rows."""
    one = begins[0]
    same = all(begin.program == one.program for begin in begins[1:])
    return same and len({array_digest(begin.rows) for begin in begins}) == 1


def climb_together(begins: Sequence[Ready]) -> list[Fitted | None]:
    """Run fits side by side.

    Each stops by its own rule; its parameters are then those it stopped at.

    Args:
        begins: Tiny fits that are alike.

    Returns:
        What each gives; ``None`` for one that met NaN or infinity, which has to be run alone.
    """
    one = begins[0]
    states: State = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[begin.state for begin in begins])
    frozen, axes = _stacked([begin.split.frozen for begin in begins])
    keys = [begin.state.key for begin in begins]
    outcomes: dict[int, Outcome | None] = {}
    step, boundary = 0, one.course.calendar.boundary
    try:
        with Progress(one.course.calendar.total, 0) as one.course.bar:
            while len(outcomes) < len(begins) and (until := boundary(step)) > step:
                states, values, finite = advance_together(
                    one.program, axes, states, frozen, one.rows, jnp.asarray(until, jnp.int32)
                )
                numbers, seen = jax.device_get((values, finite))
                for lane, state in enumerate(_apart(states, keys)):
                    if lane in outcomes:
                        continue
                    if not seen[lane]:
                        outcomes[lane] = None
                        continue
                    reason = begins[lane].course.watch(state, numbers[lane, : until - step], ())
                    if reason is not None:
                        outcomes[lane] = Outcome(state, reason)
                step = until
        reason = None
    except KeyboardInterrupt:
        reason = "interrupted"
    last = _apart(states, keys)
    ended = [outcomes.get(lane, Outcome(state, reason)) for lane, state in enumerate(last)]
    return [None if out is None else begin.finish(out) for begin, out in zip(begins, ended, strict=True)]


@partial(jax.jit, static_argnames=("program", "axes"))
def advance_together(
    program: Program,
    axes: tuple[int | None, ...],
    states: State,
    frozen: PyTree,
    rows: Datum,
    until: Int[Array, ""],
) -> tuple[State, Float[Array, "lanes capacity"], Bool[Array, "lanes"]]:
    """Take steps of all fits up to number ``until``.

    Args:
        program: What to run.
        axes: Of each array of ``frozen``, 0 where every fit has its own, else ``None``.
        states: Where each fit is, stacked.
        frozen: Arrays that are not trained.
        rows: The data set.
        until: Number of steps taken in total when done.

    Returns:
        The states reached; the bounds at each step; whether all of each fit is finite.
    """
    first, lanes = states.step[0], states.step.shape[0]
    leaves, shape = jax.tree.flatten(frozen)

    def one(state: State, leaves: list[Any]) -> tuple[State, Array, Array]:
        own = jax.tree.unflatten(shape, leaves)
        return take_step(program, state, own, rows, None, jnp.zeros((), jnp.int32))

    def step(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        states, values, finite = carry
        moved, value, good = jax.vmap(one, in_axes=(0, list(axes)))(states, leaves)
        return moved, values.at[:, states.step[0] - first].set(value), finite & good

    carry = (states, jnp.zeros((lanes, CAPACITY), states.rate.dtype), jnp.ones(lanes, bool))
    going = lambda carry: (carry[0].step[0] < until) & carry[2].any()  # noqa: E731
    states, values, finite = jax.lax.while_loop(going, step, carry)
    return states, values, finite & jax.vmap(all_finite)(states.params)


def _stacked(trees: Sequence[PyTree]) -> tuple[PyTree, tuple[int | None, ...]]:
    """Stack arrays that differ between fits; keep one of those that are the same object in all."""
    each = [jax.tree.leaves(tree) for tree in trees]
    columns = list(zip(*each, strict=True))
    shared = [all(leaf is column[0] for leaf in column) for column in columns]
    leaves = [c[0] if same else jnp.stack(c) for c, same in zip(columns, shared, strict=True)]
    axes = tuple(None if same else 0 for same in shared)
    return jax.tree.unflatten(jax.tree.structure(trees[0]), leaves), axes


def _apart(states: State, keys: Sequence[PRNGKey]) -> list[State]:
    """Return each fit's parameters and step, its parameters on the host; nothing else is looked at."""
    params, step, rate = jax.device_get(states.params), states.step[0], states.rate[0]  # never halved here

    def lane(i: int) -> State:
        own = jax.tree.map(lambda leaf: leaf[i], params)
        return State(own, None, None, step, rate, keys[i])

    return [lane(i) for i in range(len(keys))]
