"""Models that go on learning: a memory of rows, and a few gradient steps on any inference at each update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError, at_least
from jensen.fit.fingerprint import Static
from jensen.fit.prepare import BatchLoss
from jensen.nets import trainable
from jensen.typing import Array, Float, Int, PRNGKey, PyTree

if TYPE_CHECKING:
    import optax


class Memory(eqx.Module):
    """The last C rows: arrays of fixed size, the oldest overwritten.

    Attributes:
        x: (C, D).
        cond: (C, E); no columns where models are unconditional.
        count: How many rows ever came.
    """

    x: Float[Array, "c d"]
    cond: Float[Array, "c e"]
    count: Int[Array, ""]

    @classmethod
    def empty(cls, capacity: int, data_dim: int, cond_dim: int = 0) -> Memory:
        """Return a memory without rows."""
        at_least("Memory", 1, capacity=capacity)
        zeros = jnp.zeros((capacity, data_dim)), jnp.zeros((capacity, cond_dim))
        return cls(*zeros, jnp.zeros((), jnp.int32))

    @property
    def capacity(self) -> int:
        """C."""
        return len(self.x)

    @property
    def filled(self) -> Int[Array, ""]:
        """Rows that are there."""
        return jnp.minimum(self.count, self.capacity)

    def pushed(self, x: Float[Array, "n d"], cond: Float[Array, "n e"], weight: Float[Array, "n"]) -> Memory:
        """Return the memory with the rows of positive weight, those that are finite."""
        if len(x) > self.capacity:
            raise InputError(
                f"Memory: {len(x)} rows at once do not fit into {self.capacity}; give a larger memory"
            )
        real = (weight > 0) & jnp.isfinite(x).all(1) & jnp.isfinite(cond).all(1)
        place = (self.count + jnp.cumsum(real) - 1) % self.capacity
        place = jnp.where(real, place, self.capacity)  # out of range: dropped
        return Memory(
            self.x.at[place].set(x, mode="drop"),
            self.cond.at[place].set(cond, mode="drop"),
            self.count + real.sum(),
        )

    def rows(self) -> Datum:
        """Return all rows, weight 0 where there is none yet."""
        weight = (jnp.arange(self.capacity) < self.filled).astype(self.x.dtype)
        return Datum(self.x, cond=self.cond if self.cond.shape[1] else None, weight=weight)

    def drawn(self, num: int, *, key: PRNGKey) -> Datum:
        """Return rows drawn with replacement."""
        which = jax.random.randint(key, (num,), 0, jnp.maximum(self.filled, 1))
        return Datum(self.x[which], cond=self.cond[which] if self.cond.shape[1] else None)


class Online(eqx.Module):
    """An inference that takes gradient steps on a memory whenever rows come.

    A step that is not finite is not taken; before the first row there is none.

    Args:
        inference: What learns, with an estimator that has no memory of its own.
        optimizer: An optax transformation.
        memory: Of how many rows, and how wide.
        batch_size: Rows a step.
        steps: Steps an update.

    Raises:
        CombinationError: An estimator with a memory of its own.
    """

    inference: Inference
    optimizer: Any
    moments: PyTree
    memory: Memory
    taken: Int[Array, ""]
    batch_size: int
    steps: int

    def __init__(
        self,
        inference: Inference,
        optimizer: optax.GradientTransformation,
        memory: Memory,
        *,
        batch_size: int = 32,
        steps: int = 1,
    ):
        at_least("Online", 1, batch_size=batch_size, steps=steps)
        if jax.tree.leaves(inference.gradient.init(inference)):
            name = type(inference.gradient).__name__
            raise CombinationError(f"{name} carries a state from step to step; use Analytic() or Reparam()")
        self.inference = inference
        self.optimizer = optimizer
        self.moments = optimizer.init(_parts(inference)[0])
        self.memory = memory
        self.taken = jnp.zeros((), jnp.int32)
        self.batch_size = batch_size
        self.steps = steps

    def learned(
        self, x: Float[Array, "n d"], cond: Float[Array, "n e"], weight: Float[Array, "n"], *, key: PRNGKey
    ) -> Online:
        """Return the model after the rows entered the memory and the steps were taken."""
        memory = self.memory.pushed(x, cond, weight)
        params, frozen, static = _parts(self.inference)

        def step(state: PyTree, key: PRNGKey) -> tuple[PyTree, None]:
            params, moments, taken = state
            to_rows, to_loss = jax.random.split(key)
            rows = memory.drawn(self.batch_size, key=to_rows)
            # of z behind all data each row answers for its share, so the loss must know how many there are
            loss = BatchLoss(static, jnp.maximum(memory.filled, 1))  # pyright: ignore[reportArgumentType]
            slope = jax.grad(
                lambda params: loss(params, frozen, rows, key=to_loss, step=taken, memory=None)[0]
            )(params)
            change, then = self.optimizer.update(slope, moments, params)
            new = (jax.tree.map(jnp.add, params, change), then, taken + 1)
            sound = all_finite(new[:2]) & (memory.count > 0)
            return jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, state), None

        start = (params, self.moments, self.taken)
        (params, moments, taken), _ = jax.lax.scan(step, start, jax.random.split(key, self.steps))
        inference = eqx.combine(params, frozen, static.value)
        where = lambda o: (o.inference, o.moments, o.memory, o.taken)  # noqa: E731
        return eqx.tree_at(where, self, (inference, moments, memory, taken), is_leaf=lambda x: x is None)


def all_finite(tree: PyTree) -> Array:
    """Return whether every number of a tree is finite."""
    leaves = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.stack(leaves).all() if leaves else jnp.asarray(True)


def flat_rows(values: Any) -> Float[Array, "n d"]:
    """Return one vector a row: pictures are laid out, codes become one column."""
    values = jnp.asarray(values, jnp.float32)
    return values.reshape(len(values), -1)


def _parts(inference: Inference) -> tuple[PyTree, PyTree, Static]:
    params, rest = eqx.partition(inference, trainable(inference))
    frozen, static = eqx.partition(rest, eqx.is_array)
    return params, frozen, Static(static)
