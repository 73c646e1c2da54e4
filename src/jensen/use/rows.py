"""Running a per-datum function over rows, in blocks of one compiled shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, Inference
from jensen.errors import InputError
from jensen.fit import Data, Fitted
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

    Args:
        function: A function at the top of a module, so that the compiled code is found again.
        inference: The four choices.
        x: Rows, or ``fit.Data``.
        key: One key for all rows; each row gets its own.
        args: Hashable extras.

    Returns:
        numpy arrays with a leading axis of rows.
    """
    data = Data.of(x)
    check_features(inference.model, data)
    rows, keys = data.rows(), jax.random.split(key, data.num_data)
    block = min(BLOCK, data.num_data)
    out = []
    for start in range(0, data.num_data, block):
        # the last block is moved back to full length, so that one shape serves all
        begin = max(0, min(start, data.num_data - block))
        part = jax.tree.map(lambda a, b=begin: _device(a[b : b + block]), rows)
        got = _mapped(function, inference, part, keys[begin : begin + block], args)
        out.append(jax.tree.map(lambda a, skip=start - begin: np.asarray(a)[skip:], got))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *out)


def check_features(model: Any, data: Data) -> None:
    """Refuse rows with another number of columns than the model's, in scikit-learn's words."""
    if not isinstance(model, ChecksData) or data.data_dim == model.data_dim:
        return
    name, expected = type(model).__name__, model.data_dim
    raise InputError(f"X has {data.data_dim} features, but {name} is expecting {expected} features as input.")


def _device(a: np.ndarray) -> jax.Array:
    return jnp.asarray(a, jnp.float32) if a.dtype.kind in "fu" else jnp.asarray(a)


@eqx.filter_jit
def _mapped(
    function: Callable[..., PyTree], inference: Inference, rows: Datum, keys: PRNGKeys, args: tuple[Any, ...]
) -> PyTree:
    return jax.vmap(lambda datum, key: function(inference, datum, key, *args))(rows, keys)
