"""Running a per-datum function over rows, in blocks of one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen.core import Datum, Inference
from jensen.errors import InputError, check_key
from jensen.fit import Data, Fitted
from jensen.fit.enter import centred, check_support, narrowed, origin
from jensen.typing import PRNGKey, PRNGKeys, PyTree

BLOCK = 256
"""Rows per compiled call."""


def inference_of(fitted: Any) -> Inference:
    """Return the inference of a ``Fitted``, or the inference given."""
    if isinstance(fitted, Fitted):
        return fitted.inference
    if isinstance(fitted, Inference):
        return fitted
    raise InputError(f"expected an Inference or what fit.* returns, got {type(fitted).__name__}")


def map_rows(
    function: Callable[..., PyTree], inference: Inference, x: Any, *, key: PRNGKey, args: tuple[Any, ...] = ()
) -> PyTree:
    """Apply ``function(inference, datum, key, *args)`` to every row.

    Under a model with a frame, inference and rows are moved to the frame's origin: what comes out as a row
    is moved back by ``in_units``.

    Args:
        function: A function at the top of a module, so that the compiled code is found again.
        inference: The four choices.
        x: Rows, or ``fit.Data``.
        key: One key for all rows; each row gets its own.
        args: Hashable extras.

    Returns:
        numpy arrays with a leading axis of rows.

    Raises:
        InputError: If the number of columns is not the model's, or a value is outside its support.
    """
    check_key(key)
    data = Data.of(x)
    check_support(inference.model, data.rows())
    inference, rows = centred(inference, data.rows())
    rows, keys = narrowed(rows), jax.random.split(key, data.num_data)
    block = min(BLOCK, data.num_data)
    out = []
    for start in range(0, data.num_data, block):
        # the last block is moved back to full length, so that one shape serves all
        begin = max(0, min(start, data.num_data - block))
        part = jax.tree.map(lambda a, b=begin: a[b : b + block], rows)
        got = _mapped(function, inference, part, keys[begin : begin + block], args)
        out.append(jax.tree.map(lambda a, skip=start - begin: np.asarray(a)[skip:], got))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *out)


def in_units(inference: Inference, x: np.ndarray) -> np.ndarray:
    """Return rows that ``map_rows`` got out of the inference in the data's own coordinates."""
    shift = origin(inference)
    return x if shift is None else shift + x


@eqx.filter_jit
def _mapped(
    function: Callable[..., PyTree], inference: Inference, rows: Datum, keys: PRNGKeys, args: tuple[Any, ...]
) -> PyTree:
    return jax.vmap(lambda datum, key: function(inference, datum, key, *args))(rows, keys)
