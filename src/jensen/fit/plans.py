"""What each step sees, inside the compiled program: how an epoch is shuffled and cut into batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.fit.data import Data
from jensen.typing import Array, Int, PRNGKey, PyTree


class AbstractPlan(ABC):
    """How an epoch is cut into batches; hashable, since a compiled program depends on it.

    Everything is a function of the rows, the epoch's key and the place in the epoch, so that nothing about it
    needs to be kept between steps.
    """

    @property
    def shapes(self) -> int:
        """How many shapes batches have; the step is compiled once for each."""
        return 1

    @abstractmethod
    def steps_per_epoch(self, rows: Datum) -> Any:
        """Return the whole batches of an epoch: an integer, traced where the lengths are."""

    @abstractmethod
    def work(self, rows: Datum) -> int:
        """Return the rows, or steps of sequences, in the largest batch."""

    @abstractmethod
    def order(self, rows: Datum, *, key: PRNGKey) -> PyTree:
        """Shuffle an epoch."""

    @abstractmethod
    def pick(self, rows: Datum, order: PyTree, place: Int[Array, ""], shape: int) -> Datum:
        """Return the batch at a place, given which of the shapes it has."""

    def shape(self, order: PyTree, place: Int[Array, ""]) -> Int[Array, ""]:
        """Say which of the shapes the batch at a place has."""
        return jnp.zeros((), jnp.int32)


class AbstractBatches(ABC):
    """What batches are to be made of; given as ``batches=`` to ``fit.gradient``."""

    @abstractmethod
    def plan(self, data: Data, batch_size: int | None) -> AbstractPlan:
        """Return the plan for a data set.

        Raises:
            InputError: If the data do not allow it.
        """

    def seen(self, data: Data) -> Data:
        """Return the data as the model may see them: as they are, unless each step draws them anew."""
        return data

    def drawn(self, data: Data, *, key: PRNGKey) -> Data:
        """Return the data drawn once, to be scored on."""
        return data


@dataclass(frozen=True)
class AllRows(AbstractPlan):
    """Every row in every batch."""

    def steps_per_epoch(self, rows: Datum) -> int:
        """One."""
        return 1

    def work(self, rows: Datum) -> int:
        """All rows."""
        return _cells(rows)

    def order(self, rows: Datum, *, key: PRNGKey) -> None:
        """None."""

    def pick(self, rows: Datum, order: None, place: Int[Array, ""], shape: int) -> Datum:
        """Return all rows."""
        return rows


@dataclass(frozen=True)
class SomeRows(AbstractPlan):
    """``size`` rows in every batch, drawn without replacement."""

    size: int

    def steps_per_epoch(self, rows: Datum) -> int:
        """⌊N / size⌋."""
        return rows.x.shape[0] // self.size

    def work(self, rows: Datum) -> int:
        """As many rows as a batch has."""
        return _cells(rows) // rows.x.shape[0] * self.size

    def order(self, rows: Datum, *, key: PRNGKey) -> Int[Array, "rows"]:
        """Shuffle the rows."""
        return jax.random.permutation(key, rows.x.shape[0])

    def pick(self, rows: Datum, order: Int[Array, "rows"], place: Int[Array, ""], shape: int) -> Datum:
        """Take the next ``size`` of the shuffled rows."""
        which = jax.lax.dynamic_slice_in_dim(order, place * self.size, self.size)
        return jax.tree.map(lambda leaf: leaf[which], rows)


@dataclass(frozen=True)
class SomeWindows(AbstractPlan):
    """``size`` windows of sequences in every batch: see ``fit.Windows``."""

    size: int
    length: int
    burn_in: int

    def steps_per_epoch(self, rows: Datum) -> Any:
        """Whole batches of windows that lie end to end over all sequences."""
        return self.positions(rows).sum() // self.length // self.size

    def work(self, rows: Datum) -> int:
        """As many steps as a batch has."""
        return self.size * (self.length + self.burn_in)

    def positions(self, rows: Datum) -> Any:
        """Count the places of a window in each sequence, the n + length − 1 in which it holds a step."""
        if rows.steps is None:
            num, steps = rows.x.shape[:2]
            return np.full(num, steps + self.length - 1)
        return (rows.steps + self.length - 1) * (rows.steps > 0)

    def order(self, rows: Datum, *, key: PRNGKey) -> Int[Array, "windows"]:
        """Lay windows end to end over all places, the first at random, and shuffle them."""
        num, steps = rows.x.shape[:2]
        places = jnp.asarray(self.positions(rows)).sum()
        most = num * (-(-(steps + self.length - 1) // self.length))
        to_first, to_shuffle = jax.random.split(key)
        numbers = jax.random.permutation(to_shuffle, most)
        # the windows there are come first, in an order that stays uniform
        numbers = numbers[jnp.argsort(numbers >= places // self.length, stable=True)]
        return (jax.random.randint(to_first, (), 0, places) + numbers * self.length) % places

    def pick(self, rows: Datum, order: Int[Array, "windows"], place: Int[Array, ""], shape: int) -> Datum:
        """Cut the next ``size`` windows; what hangs over an end is padding."""
        steps = rows.x.shape[1]
        length = jnp.full(rows.x.shape[0], steps) if rows.steps is None else rows.steps
        positions = jnp.asarray(self.positions(rows))
        ends = jnp.cumsum(positions)
        at = jax.lax.dynamic_slice_in_dim(order, place * self.size, self.size)
        which = jnp.searchsorted(ends, at, side="right")
        begin = at - (ends - positions)[which] - (self.length - 1)
        first, end = jnp.maximum(begin, 0), jnp.minimum(begin + self.length, length[which])
        warm = jnp.maximum(first - self.burn_in, 0)
        # the mean over windows of sums over steps, scaled, is the mean over sequences of sums over steps
        scale = ends[-1] / (self.length * len(positions))
        windows = cut_windows(rows, which, warm, end, self.length + self.burn_in, scale)
        if not self.burn_in:
            return windows
        return eqx.tree_at(lambda d: d.burn_in, windows, first - warm, is_leaf=lambda leaf: leaf is None)


@dataclass(frozen=True)
class LikeLengths(AbstractPlan):
    """``size`` sequences of like length in every batch: see ``fit.ByLength``.

    Attributes:
        size: Sequences in a batch.
        batches: Batches of each group in an epoch.
        lengths: Steps that the batches of each group are padded to, rising.
    """

    size: int
    batches: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def shapes(self) -> int:
        """One for each group."""
        return len(self.batches)

    def steps_per_epoch(self, rows: Datum) -> int:
        """⌊N / size⌋."""
        return sum(self.batches)

    def work(self, rows: Datum) -> int:
        """As many steps as a batch of the longest."""
        return self.size * self.lengths[-1]

    def order(self, rows: Datum, *, key: PRNGKey) -> tuple[Int[Array, "batches size"], Int[Array, "batches"]]:
        """Deal rows out by length, shuffle within groups, and shuffle the batches.

        Returns:
            The rows of every batch, and the order of batches.
        """
        to_rows, to_batches, *to_groups = jax.random.split(key, 2 + self.shapes)
        total = sum(self.batches)
        assert rows.steps is not None  # the plan is made from them
        some = jax.random.permutation(to_rows, rows.x.shape[0])[: total * self.size]
        ranked = some[jnp.argsort(rows.steps[some], stable=True)]
        groups = jnp.split(ranked, np.cumsum(self.batches)[:-1] * self.size)
        mixed = [jax.random.permutation(k, group) for k, group in zip(to_groups, groups, strict=True)]
        return jnp.concatenate(mixed).reshape(total, self.size), jax.random.permutation(to_batches, total)

    def shape(self, order: tuple[Array, Array], place: Int[Array, ""]) -> Int[Array, ""]:
        """Say which group the batch at a place is of."""
        ends = jnp.asarray(np.cumsum(self.batches))
        return jnp.searchsorted(ends, order[1][place], side="right").astype(jnp.int32)

    def pick(self, rows: Datum, order: tuple[Array, Array], place: Int[Array, ""], shape: int) -> Datum:
        """Take the rows of a batch, up to the length of its group."""
        which, steps, length = order[0][order[1][place]], rows.x.shape[1], self.lengths[shape]
        taken = jax.tree.map(lambda leaf: leaf[which], rows)
        cut = lambda leaf: leaf[:, :length] if _over_time(leaf, steps) else leaf  # noqa: E731
        return eqx.tree_at(
            lambda d: (d.x, d.cond, d.mask),
            taken,
            (cut(taken.x), jax.tree.map(cut, taken.cond), None if taken.mask is None else cut(taken.mask)),
            is_leaf=lambda leaf: leaf is None,
        )


def cut_windows(
    rows: Datum, which: Int[Array, "b"], first: Int[Array, "b"], end: Int[Array, "b"], length: int, scale: Any
) -> Datum:
    """Cut windows out of sequences, padded to one length.

    Args:
        rows: The sequences.
        which: The sequence of each window.
        first: Its first step there.
        end: The step after its last.
        length: Steps that windows are padded to.
        scale: What weights are multiplied by.
    """
    times = first[:, None] + jnp.arange(length)

    def cut(leaf: Any) -> Any:
        if not _over_time(leaf, rows.x.shape[1]):
            return leaf[which]
        # no action after the last step is looked at: the last row may stand for one that is missing
        return leaf[which[:, None], jnp.minimum(times, leaf.shape[1] - 1)]

    return Datum(
        cut(rows.x),
        jax.tree.map(cut, rows.cond),
        None if rows.index is None else rows.index[which],
        None if rows.mask is None else cut(rows.mask),
        end - first,
        jnp.broadcast_to(scale, which.shape) if rows.weight is None else scale * rows.weight[which],
    )


def _over_time(leaf: Any, steps: int) -> bool:
    """Whether an array has one entry a step, or one between two steps."""
    return leaf.ndim >= 3 and leaf.shape[1] in (steps, steps - 1)


def _cells(rows: Datum) -> int:
    """Count rows, or steps of sequences."""
    return rows.x.shape[0] * (rows.x.shape[1] if rows.x.ndim > 2 else 1)
