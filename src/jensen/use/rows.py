"""Running a per-datum function over rows, in blocks of one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jensen.core import Inference
from jensen.diagnose.ahead import BLOCK, MEMORY, check_rows, in_units, mapped
from jensen.diagnose.rows import inference_of
from jensen.errors import check_key
from jensen.fit import Data
from jensen.fit.enter import centred, narrowed
from jensen.typing import PRNGKey, PyTree

__all__ = ["in_units", "inference_of", "map_rows"]


def map_rows(
    function: Callable[..., PyTree],
    inference: Inference,
    x: Any,
    *,
    key: PRNGKey,
    args: tuple[Any, ...] = (),
    size: int = 1,
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
        size: Numbers that one row keeps, where they are many: blocks are made to fit into memory.

    Returns:
        numpy arrays with a leading axis of rows.

    Raises:
        InputError: If the number of columns is not the model's, or a value is outside its support.
    """
    check_key(key)
    data = Data.of(x)
    check_rows(inference.model, data.rows())
    inference, rows = centred(inference, data.rows())
    rows, keys = narrowed(rows), jax.random.split(key, data.num_data)
    block = min(max(MEMORY // size, 1), BLOCK, data.num_data)
    out = []
    for start in range(0, data.num_data, block):
        # the last block is moved back to full length, so that one shape serves all
        begin = max(0, min(start, data.num_data - block))
        part = jax.tree.map(lambda a, b=begin: a[b : b + block], rows)
        got = mapped(function, inference, part, keys[begin : begin + block], args)
        out.append(jax.tree.map(lambda a, skip=start - begin: np.asarray(a)[skip:], got))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *out)
