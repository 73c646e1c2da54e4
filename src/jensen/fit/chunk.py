"""The compiled part of a fit: one program that takes any number of gradient steps up to a capacity."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from jensen.core import Datum
from jensen.fit.fingerprint import Static
from jensen.fit.lanes import going_on
from jensen.fit.plans import AbstractPlan, AllRows
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree, Scalar

CAPACITY = 1_000
"""Most steps in one call of the compiled program."""

_WORK = 3e10
"""Parameters × rows (or steps of sequences) × gradient steps in one call: about a second on two cores, so
that a bar moves, Ctrl-C works."""


@runtime_checkable
class Loss(Protocol):
    """What is descended. Hashable by content, so that equal losses share a compiled program."""

    def __call__(
        self, params: PyTree, frozen: PyTree, rows: Datum, *, key: PRNGKey, step: Any, memory: PyTree
    ) -> tuple[Scalar, tuple[Scalar, PyTree, PyTree]]:
        """Return the loss of a batch; the bound to report, the gradient's memory, where lanes ended."""
        ...


@dataclass(frozen=True)
class Program:
    """Everything a compiled program depends on besides shapes.

    Attributes:
        loss: What is descended.
        optimizer: An optax transformation.
        plan: What each step sees.
    """

    loss: Loss
    optimizer: Static
    plan: AbstractPlan


class State(eqx.Module):
    """Everything that changes during a fit, and the key, which does not.

    Attributes:
        params: What is trained.
        optimizer: The optimizer's state.
        memory: The gradient estimator's state.
        step: Steps taken.
        rate: What updates are multiplied by: 1, halved at each rollback.
        key: Randomness of the whole fit; batches and draws are functions of it and the step.
        lanes: Where the windows of the last batch ended, under ``fit.CarriedWindows``.
    """

    params: PyTree
    optimizer: PyTree
    memory: PyTree
    step: Int[Array, ""]
    rate: Scalar
    key: PRNGKey
    lanes: PyTree = None


def chunk_length(params: PyTree, rows: int) -> int:
    """Return the number of steps between two looks of the host: a function of shapes, never of timings.

    Args:
        params: What is trained.
        rows: Rows, or steps of sequences, in a batch.
    """
    work = sum(leaf.size for leaf in jax.tree.leaves(params)) * rows
    return int(min(CAPACITY, max(1, _WORK // max(work, 1))))


@partial(jax.jit, static_argnames="program")
def start(program: Program, params: PyTree, memory: PyTree, key: PRNGKey, lanes: PyTree = None) -> State:
    """Return the state before the first step."""
    zero, one = jnp.zeros((), jnp.int32), jnp.ones(())
    return State(params, program.optimizer.value.init(params), memory, zero, one, key, lanes)


@partial(jax.jit, static_argnames="program")
def advance(
    program: Program, state: State, frozen: PyTree, rows: Datum, until: Int[Array, ""]
) -> tuple[State, Float[Array, "capacity"], Bool[Array, ""]]:
    """Take steps up to number ``until``, at most ``CAPACITY``, or up to the first non-finite loss.

    Args:
        program: What to run.
        state: Where to start; left intact, so that the caller can return to it.
        frozen: Arrays of the inference that are not trained.
        rows: The data set.
        until: Number of steps taken in total when done.

    Returns:
        The state reached; the bound at each step, in nats per datum; whether all of it is finite.
    """
    first, plan = state.step, program.plan

    def take(state: State, order: PyTree, place: Any, values: Array) -> tuple[State, Array, Array]:
        moved, value, finite = take_step(program, state, frozen, rows, order, place)
        return moved, values.at[state.step - first].set(value), finite

    def before(end: Array) -> Any:
        return lambda carry: (carry[0].step < end) & carry[2]

    def epoch(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state = carry[0]
        number = state.step // per_epoch
        end = jnp.minimum((number + 1) * per_epoch, until)
        order = plan.order(rows, key=_shuffle(state.key, number))

        def step(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
            state, values, _ = carry
            return take(state, order, state.step - number * per_epoch, values)

        return jax.lax.while_loop(before(end), step, carry)

    def whole(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        return take(carry[0], None, jnp.zeros((), jnp.int32), carry[1])

    per_epoch = plan.steps_per_epoch(rows)
    carry = (state, jnp.zeros(CAPACITY, state.rate.dtype), jnp.array(True))
    always = isinstance(plan, AllRows)  # an epoch of one step needs no loop inside the loop
    state, values, finite = jax.lax.while_loop(before(until), whole if always else epoch, carry)
    return state, values, finite & all_finite(state.params)


def take_step(
    program: Program, state: State, frozen: PyTree, rows: Datum, order: PyTree, place: Any
) -> tuple[State, Scalar, Bool[Array, ""]]:
    """Take one step, on the batch at a place of an epoch's order.

    Returns:
        The next state, the bound in nats per datum, and whether loss and bound are finite.
    """
    plan = program.plan

    def slope(state: State, batch: Datum) -> Any:
        return jax.value_and_grad(program.loss, has_aux=True)(
            state.params,
            frozen,
            going_on(batch, state.lanes),
            key=_noise(state),
            step=state.step,
            memory=state.memory,
        )

    ways = [
        lambda state, shape=shape: slope(state, plan.pick(rows, order, place, shape))
        for shape in range(plan.shapes)
    ]
    found = ways[0](state) if len(ways) == 1 else jax.lax.switch(plan.shape(order, place), ways, state)
    (loss, (value, memory, lanes)), grads = found
    update = optax.with_extra_args_support(program.optimizer.value).update
    updates, optimizer = update(grads, state.optimizer, state.params, value=loss)
    params = jax.tree.map(lambda p, u: (p + state.rate * u).astype(p.dtype), state.params, updates)
    moved = State(params, optimizer, memory, state.step + 1, state.rate, state.key, lanes)
    return moved, value, jnp.isfinite(loss) & jnp.isfinite(value)


def batch_at(program: Program, state: State, rows: Datum) -> tuple[Datum, PRNGKey]:
    """Return the batch and the key of the step after ``state``, as ``advance`` takes them."""
    plan = program.plan
    number, place = jnp.divmod(state.step, plan.steps_per_epoch(rows))
    order = plan.order(rows, key=_shuffle(state.key, number))
    batch = plan.pick(rows, order, place, int(plan.shape(order, place)))
    return going_on(batch, state.lanes), _noise(state)


def _noise(state: State) -> PRNGKey:
    return jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)


def _shuffle(key: PRNGKey, epoch: Int[Array, ""]) -> PRNGKey:
    """Return the key of an epoch's order; a function of key and epoch, so that nothing needs to be kept."""
    return jax.random.fold_in(jax.random.fold_in(key, 0), epoch)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite."""
    flags = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.stack(flags).all() if flags else jnp.array(True)
