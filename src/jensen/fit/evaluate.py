"""The bound on rows that were or were not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, Inference
from jensen.errors import InputError, check_key
from jensen.fit.data import Data
from jensen.fit.enter import centred, to_device
from jensen.fit.fingerprint import Static
from jensen.fit.prepare import Split, check_fits
from jensen.typing import Array, Float, PRNGKey, PyTree

BLOCK = 1_024
"""Most rows evaluated at once."""


@dataclass(frozen=True)
class Blocks:
    """Rows cut into equal blocks, the last filled up with copies of the first row.

    Attributes:
        rows: All rows, axes (blocks, rows of a block, ...).
        num_data: Number of real rows.
    """

    rows: Datum
    num_data: int

    @classmethod
    def of(cls, rows: Datum, batch_size: int | None = None) -> Blocks:
        """Cut rows into blocks of ``batch_size``."""
        num = rows.x.shape[0]
        size = min(num, batch_size or BLOCK)
        blocks = -(-num // size)
        which = np.arange(blocks * size)
        which = np.where(which < num, which, 0).reshape(blocks, size)
        return cls(jax.tree.map(lambda leaf: leaf[which], rows), num)


@partial(jax.jit, static_argnames=("static", "num_data"))
def _bounds(
    static: Static, num_data: int, params: PyTree, frozen: PyTree, rows: Datum, key: PRNGKey
) -> Float[Array, "blocks rows"]:
    inference: Inference = eqx.combine(params, frozen, static.value)
    memory = inference.gradient.init(inference)
    blocks, size = rows.x.shape[:2]

    def one(datum: Datum, number: Any) -> Array:
        return inference.gradient(
            inference,
            datum,
            key=jax.random.fold_in(key, number),
            step=jnp.zeros((), jnp.int32),
            num_data=num_data,
            state=memory,
        ).value

    numbers = jnp.arange(blocks * size).reshape(blocks, size)
    return jax.lax.map(lambda block: jax.vmap(one)(*block), (rows, numbers))


def bounds(split: Split, params: PyTree, blocks: Blocks, *, key: PRNGKey, num_data: int) -> np.ndarray:
    """Return the plain bound of every row, (N,), in nats; the same key gives the same noise to each row."""
    values = _bounds(split.static, num_data, params, split.frozen, blocks.rows, key)
    return np.asarray(values, np.float64).reshape(-1)[: blocks.num_data]


def evaluate(
    inference: Inference,
    x: Any,
    *,
    key: PRNGKey,
    repeats: int = 1,
    batch_size: int | None = None,
    num_data: int | None = None,
) -> np.ndarray:
    """Evaluate the objective's plain bound on every row, as the gradient estimator reports it.

    A row's noise depends on the key and the row's number alone, not on how rows are batched.

    Args:
        inference: The four choices.
        x: Rows, an array or ``fit.Data``. Per-datum posteriors take their own training data only.
        key: Randomness of the draws.
        repeats: Independent evaluations averaged per row.
        batch_size: Rows at once; 1,024 by default.
        num_data: Size of the training set, for a posterior over one z shared by all data; by default the
            number of rows of x.

    Returns:
        The bounds, (N,), float64, nats.

    Raises:
        InputError: If x does not fit the model, or a count is not positive.
    """
    check_key(key)
    if repeats < 1 or (batch_size is not None and batch_size < 1):
        raise InputError(f"evaluate: repeats={repeats}, batch_size={batch_size}; both must be at least 1")
    data = Data.of(x)
    check_fits(inference, data)
    inference, rows = centred(inference, data.rows())
    split = Split.of(inference)
    blocks = Blocks.of(to_device(rows), batch_size)
    total = sum(
        bounds(split, split.params, blocks, key=k, num_data=num_data or data.num_data)
        for k in jax.random.split(key, repeats)
    )
    return np.asarray(total) / repeats
