"""How a sequence begins: from the usual start, or where the window before it ended."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jensen.core.datum import Carried, Datum
from jensen.core.model import HasRecurrence
from jensen.typing import PyTree


def state_before(model: HasRecurrence, datum: Datum) -> PyTree | None:
    """Return the carry and the z before the first step; ``None`` for the usual start of a whole sequence.

    What is carried is a constant: no gradient passes from a window into the one before.
    """
    carried = datum.carried
    if carried is None:
        return None
    assert carried.end is not None  # the loop that cuts windows fills it in
    return _either(carried, carried.end.state, model.start())


def inputs_of(model: HasRecurrence, datum: Datum) -> PyTree:
    """Return what enters each step; into the first of a window that goes on, the action before it."""
    inputs = model.inputs(datum.cond, len(datum.x))
    carried = datum.carried
    if carried is None:
        return inputs
    # the model's own word for a second step: the action before it, and no beginning
    two = jax.tree.map(lambda before, rows: jnp.stack([before, rows[0]]), carried.cond, datum.cond)
    later = jax.tree.map(lambda leaf: leaf[1], model.inputs(two, 2))
    return jax.tree.map(
        lambda every, first: every.at[0].set(jnp.where(carried.goes_on, first, every[0])), inputs, later
    )


def _either(carried: Carried, end: PyTree, usual: PyTree) -> PyTree:
    return jax.tree.map(
        lambda mine, theirs: jnp.where(carried.goes_on, jax.lax.stop_gradient(mine), theirs), end, usual
    )
