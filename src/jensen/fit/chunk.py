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
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree, Scalar

CAPACITY = 1_000
"""Most steps in one call of the compiled program."""

_WORK = 3e10
"""Parameters × rows × steps in one call: about a second on two cores, so that a bar moves, Ctrl-C works."""


@runtime_checkable
class Loss(Protocol):
    """What is descended. Hashable by content, so that equal losses share a compiled program."""

    def __call__(
        self, params: PyTree, frozen: PyTree, rows: Datum, *, key: PRNGKey, step: Any, memory: PyTree
    ) -> tuple[Scalar, tuple[Scalar, PyTree]]:
        """Return the loss of a batch, and the bound to report with the gradient's memory."""
        ...


@dataclass(frozen=True)
class Program:
    """Everything a compiled program depends on besides shapes.

    Attributes:
        loss: What is descended.
        optimizer: An optax transformation.
        num_rows: Size of the data set.
        batch_size: Rows per step, drawn without replacement; ``None`` for all of them.
    """

    loss: Loss
    optimizer: Static
    num_rows: int
    batch_size: int | None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data set."""
        return 1 if self.batch_size is None else self.num_rows // self.batch_size


class State(eqx.Module):
    """Everything that changes during a fit, and the key, which does not.

    Attributes:
        params: What is trained.
        optimizer: The optimizer's state.
        memory: The gradient estimator's state.
        step: Steps taken.
        rate: What updates are multiplied by: 1, halved at each rollback.
        key: Randomness of the whole fit; batches and draws are functions of it and the step.
    """

    params: PyTree
    optimizer: PyTree
    memory: PyTree
    step: Int[Array, ""]
    rate: Scalar
    key: PRNGKey


def chunk_length(params: PyTree, batch_size: int) -> int:
    """Return the number of steps between two looks of the host: a function of shapes, never of timings."""
    work = sum(leaf.size for leaf in jax.tree.leaves(params)) * batch_size
    return int(min(CAPACITY, max(1, _WORK // max(work, 1))))


@partial(jax.jit, static_argnames="program")
def start(program: Program, params: PyTree, memory: PyTree, key: PRNGKey) -> State:
    """Return the state before the first step."""
    zero, one = jnp.zeros((), jnp.int32), jnp.ones(())
    return State(params, program.optimizer.value.init(params), memory, zero, one, key)


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
    first = state.step
    per_epoch = program.steps_per_epoch
    update = optax.with_extra_args_support(program.optimizer.value).update

    def take(state: State, batch: Datum, values: Array) -> tuple[State, Array, Array]:
        key = _noise(state)
        (loss, (value, memory)), grads = jax.value_and_grad(program.loss, has_aux=True)(
            state.params, frozen, batch, key=key, step=state.step, memory=state.memory
        )
        updates, optimizer = update(grads, state.optimizer, state.params, value=loss)
        params = jax.tree.map(lambda p, u: (p + state.rate * u).astype(p.dtype), state.params, updates)
        values = values.at[state.step - first].set(value)
        moved = State(params, optimizer, memory, state.step + 1, state.rate, state.key)
        return moved, values, jnp.isfinite(loss) & jnp.isfinite(value)

    def before(end: Array) -> Any:
        return lambda carry: (carry[0].step < end) & carry[2]

    def epoch(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        state = carry[0]
        number = state.step // per_epoch
        end = jnp.minimum((number + 1) * per_epoch, until)
        order = _order(program, state.key, number)

        def step(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
            state, values, _ = carry
            return take(state, _pick(program, rows, order, state.step - number * per_epoch), values)

        return jax.lax.while_loop(before(end), step, carry)

    def whole(carry: tuple[State, Array, Array]) -> tuple[State, Array, Array]:
        return take(carry[0], rows, carry[1])

    carry = (state, jnp.zeros(CAPACITY, state.rate.dtype), jnp.array(True))
    state, values, finite = jax.lax.while_loop(
        before(until), whole if program.batch_size is None else epoch, carry
    )
    return state, values, finite & all_finite(state.params)


def batch_at(program: Program, state: State, rows: Datum) -> tuple[Datum, PRNGKey]:
    """Return the batch and the key of the step after ``state``, as ``advance`` takes them."""
    if program.batch_size is None:
        return rows, _noise(state)
    number, place = jnp.divmod(state.step, program.steps_per_epoch)
    return _pick(program, rows, _order(program, state.key, number), place), _noise(state)


def _noise(state: State) -> PRNGKey:
    return jax.random.fold_in(jax.random.fold_in(state.key, 1), state.step)


def _order(program: Program, key: PRNGKey, epoch: Int[Array, ""]) -> Int[Array, "rows"]:
    """Shuffle the rows; a function of key and epoch, so nothing about it needs to be kept."""
    shuffle = jax.random.fold_in(jax.random.fold_in(key, 0), epoch)
    return jax.random.permutation(shuffle, program.num_rows)


def _pick(program: Program, rows: Datum, order: Int[Array, "rows"], place: Int[Array, ""]) -> Datum:
    size = program.batch_size or program.num_rows
    which = jax.lax.dynamic_slice_in_dim(order, place * size, size)
    return jax.tree.map(lambda leaf: leaf[which], rows)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether every number of a tree is finite."""
    flags = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.stack(flags).all() if flags else jnp.array(True)
