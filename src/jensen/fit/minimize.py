"""The loop beneath every gradient fit: compiled chunks, and between them the host's affairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.errors import NonFiniteError
from jensen.fit.chunk import CAPACITY, Program, State, advance
from jensen.typing import PyTree

MAX_HALVINGS = 3
"""How often the learning rate may be halved before a fit gives up."""


class Bad(NamedTuple):
    """A step that met NaN or infinity: its number, counted from 1, and the finite state before it."""

    step: int
    state: State


class Outcome(NamedTuple):
    """Where the loop ended: the last finite state, and the reason if it was cut short."""

    state: State
    reason: str | None


Watch = Callable[[State, np.ndarray, tuple[str, ...]], str | None]


def minimize(
    program: Program,
    state: State,
    frozen: PyTree,
    rows: Datum,
    *,
    boundary: Callable[[int], int],
    watch: Watch,
    explain: Callable[[State], str],
) -> Outcome:
    """Descend until the boundaries end.

    A chunk in which anything is non-finite never happened: the state before it is taken up again with the
    learning rate halved, at most three times in a fit.

    Args:
        program: Loss, optimizer and batches.
        state: Where to start.
        frozen: Arrays that are not trained.
        rows: The data set, on the device.
        boundary: Given the number of steps taken, the number at which the host looks next; the same number
            to end.
        watch: Sees each finite chunk: its final state, its bounds, and what happened on the way. Returns the
            reason to stop, or None.
        explain: Given the finite state before a bad step, says what of that step is not finite.

    Returns:
        The last finite state and the reason ``watch`` gave; ``"interrupted"`` after Ctrl-C; None at the end.

    Raises:
        NonFiniteError: A step is non-finite even at an eighth of the learning rate.
    """
    step = int(state.step)
    events: tuple[str, ...] = ()
    try:
        while (until := boundary(step)) > step:
            assert until - step <= CAPACITY
            moved, values, finite = advance(program, state, frozen, rows, jnp.asarray(until, jnp.int32))
            bounds = np.asarray(values)[: until - step]
            if not finite:
                state, event = _roll_back(program, state, frozen, rows, int(moved.step), explain)
                events += (event,)
                continue
            state, step = moved, until
            reason = watch(state, bounds, events)
            events = ()
            if reason is not None:
                return Outcome(state, reason)
    except KeyboardInterrupt:
        return Outcome(state, "interrupted")
    return Outcome(state, None)


def _roll_back(
    program: Program, state: State, frozen: PyTree, rows: Datum, reached: int, explain: Callable[[State], str]
) -> tuple[State, str]:
    """Return the state before the chunk with its rate halved, and one line about it."""
    rate = float(state.rate) / 2
    bad = _find(program, state, frozen, rows, reached)
    what = f"step {bad.step}: {explain(bad.state)}"
    if rate < 2.0**-MAX_HALVINGS:
        raise NonFiniteError(
            f"{what}, even at 1/{2**MAX_HALVINGS} of the learning rate; lower the learning rate, clip "
            "gradients, or check the model at this data"
        )
    event = f"{what}; back to step {int(state.step)}, learning rate halved to {rate:g}x"
    return eqx.tree_at(lambda s: s.rate, state, jnp.asarray(rate, state.rate.dtype)), event


def _find(program: Program, state: State, frozen: PyTree, rows: Datum, reached: int) -> Bad:
    """Bisect the chunk for its first step that gave something non-finite; NaN, once there, stays."""
    good, bad = int(state.step), reached
    while bad - good > 1:
        middle = (good + bad) // 2
        moved, _, finite = advance(program, state, frozen, rows, jnp.asarray(middle, jnp.int32))
        if finite:
            good, state = middle, moved
        else:
            bad = middle
    return Bad(bad, state)
