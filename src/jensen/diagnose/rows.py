"""Which rows are looked at, and the loop over blocks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, Inference
from jensen.diagnose.progress import Progress
from jensen.errors import InputError
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.fit.enter import centred, check_support, narrowed
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import PRNGKey, PyTree

BLOCK = 25
"""Most rows in one compiled call: it bounds memory, and progress is shown between calls."""


def inference_of(fitted: Any) -> Inference:
    """Return the inference of a ``Fitted``, or the inference given."""
    if isinstance(fitted, Fitted):
        return fitted.inference
    if isinstance(fitted, Inference):
        return fitted
    raise InputError(f"expected an Inference or what fit.* returns, got {type(fitted).__name__}")


def look(inference: Inference, x: Any, rows: int | None, *, key: PRNGKey) -> tuple[Inference, Datum]:
    """Return the rows to look at, checked, and the inference, both about the origin of the model's frame.

    Args:
        inference: The four choices.
        x: An array (N, D) or ``fit.Data``.
        rows: How many; ``None`` for all.
        key: Randomness of the choice.

    Raises:
        InputError: If ``rows`` is not positive, or the rows do not fit the model.
    """
    chosen = choose(x, rows, key=key)
    check_support(inference.model, chosen)
    inference, chosen = centred(inference, chosen)
    return inference, narrowed(chosen)


def choose(x: Any, rows: int | None, *, key: PRNGKey) -> Datum:
    """Return the rows to look at, stacked: all of them, or a random choice without replacement.

    Args:
        x: An array (N, D) or ``fit.Data``.
        rows: How many; ``None`` for all.
        key: Randomness of the choice.

    Raises:
        InputError: If ``rows`` is not positive.
    """
    if rows is not None and rows < 1:
        raise InputError(f"rows is {rows}; it must be at least 1, or None for all rows")
    data = Data.of(x)
    stacked = data.rows()
    if rows is None or rows >= data.num_data:
        return stacked
    chosen = np.sort(np.asarray(jax.random.permutation(key, data.num_data))[:rows])
    return jax.tree.map(lambda leaf: leaf[chosen], stacked)


def count(rows: Datum) -> int:
    """Return the number of stacked rows."""
    return len(rows.x)


def first(rows: Datum) -> Datum:
    """Return the first row, as arrays a model can be called with."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), rows)


def weight_of(rows: Datum) -> np.ndarray | None:
    """Return the row weights as the host sees them."""
    return None if rows.weight is None else np.asarray(rows.weight)


def steps_of(model: Any, rows: Datum) -> np.ndarray | None:
    """Return how many real steps every row has; ``None`` where rows are no sequences."""
    if rows.steps is not None:
        return np.asarray(rows.steps)
    return np.full(count(rows), rows.x.shape[1]) if is_stepwise(model) else None


def per_row(
    function: Callable[..., PyTree],
    rows: Any,
    *,
    key: PRNGKey,
    progress: Progress,
    label: str,
    block: int = BLOCK,
) -> PyTree:
    """Call ``function(rows, keys)`` on blocks of equal size and join the results as numpy arrays.

    Row i gets a key made from its place alone, so that no noise is shared between rows and the size of blocks
    changes nothing but rounding.

    Args:
        function: Takes a block of rows and as many keys; returns arrays with a leading axis of rows.
        rows: A tree of arrays with a leading axis of rows.
        key: Randomness.
        progress: Told of every block.
        label: What is being done, for the progress bar.
        block: Most rows per call.
    """
    n = len(jax.tree.leaves(rows)[0])
    blocks = -(-n // block)
    size = -(-n // blocks)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))
    parts = []
    progress.start(label, blocks)
    for first in range(0, n, size):
        index = np.minimum(np.arange(first, first + size), n - 1)  # the last block repeats the last row
        part = function(jax.tree.map(lambda leaf: jnp.asarray(leaf[index]), rows), keys[index])  # noqa: B023
        keep = min(size, n - first)
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:keep], part))  # noqa: B023
        progress.advance()
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
