"""New rows from a fitted model."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen.core import Simulates
from jensen.errors import InputError
from jensen.typing import Array, PRNGKey, PRNGKeys
from jensen.use.rows import inference_of


def sample(fitted: Any, num: int, *, key: PRNGKey, cond: Any = None) -> np.ndarray:
    """Draw rows from the model: z ~ p(z), x ~ p(x | z).

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        num: Number of rows.
        key: Randomness.
        cond: One condition shared by all rows, for conditional models.

    Returns:
        (num, D) rows in the data's own units.

    Raises:
        InputError: If the model cannot be sampled from, or ``num`` is not positive.
    """
    model = inference_of(fitted).bound_model()
    if not isinstance(model, Simulates):
        raise InputError(f"sample: {type(model).__name__} has no simulate(); only its density is known")
    if num < 1:
        raise InputError(f"sample: num is {num}; it must be at least 1")
    return np.asarray(_simulate(model, cond, jax.random.split(key, num)))


@eqx.filter_jit
def _simulate(model: Any, cond: Any, keys: PRNGKeys) -> Array:
    return jax.vmap(lambda key: model.simulate(cond, key=key)[1])(keys)
