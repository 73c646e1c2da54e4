"""New rows from a fitted model."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, HasCondition, HoldsLatent, Simulates
from jensen.errors import InputError, check_key
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, PRNGKey, PRNGKeys
from jensen.use.rows import inference_of


def sample(fitted: Any, num: int, *, key: PRNGKey, cond: Any = None, steps: int | None = None) -> np.ndarray:
    """Draw rows, or sequences, from the model: z ~ p(z), x ~ p(x | z).

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        num: Number of rows.
        key: Randomness.
        cond: One condition shared by all rows, for conditional models: the actions or inputs of every step
            for models of sequences.
        steps: Length of each sequence, for models of sequences.

    Returns:
        (num, D) rows, or (num, steps, D) sequences, in the data's own units.

    Raises:
        InputError: If the model cannot be sampled from, a number is not positive, or ``steps`` is missing,
            not asked for, or does not fit ``cond``.
    """
    model = inference_of(fitted).bound_model()
    if not isinstance(model, Simulates):
        raise InputError(f"sample: {type(model).__name__} has no simulate(); only its density is known")
    for name, value in (("num", num), ("steps", steps)):
        if value is not None and value < 1:
            raise InputError(f"sample: {name} is {value}; it must be at least 1")
    check_key(key)
    if isinstance(model, HasCondition) and cond is None:
        raise InputError(f"sample: {type(model).__name__} draws y given x; pass cond=, one x")
    _check_cond(model, cond, steps)
    _check_steps(model, cond, steps)
    shape = (model.data_dim,) if isinstance(model, ChecksData) else ()
    like = Datum(jnp.zeros(shape if steps is None else (steps, *shape)), cond)
    return np.asarray(_simulate(model, like, jax.random.split(key, num)))


def _check_cond(model: Any, cond: Any, steps: int | None) -> None:
    """Refuse many conditions where one is shared by all rows, and numbers that are not finite."""
    if not isinstance(model, HasCondition) or cond is None:
        return
    given = np.asarray(cond)
    if steps is None and given.ndim != 1 and not isinstance(model, HoldsLatent):
        raise InputError(
            f"sample: cond must be one x, ({model.cond_dim},), shared by all rows, got shape {given.shape}; "
            "use.predict draws at many"
        )
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise InputError("sample: cond holds NaN or infinity: remove or replace it")


def _check_steps(model: Any, cond: Any, steps: int | None) -> None:
    name = type(model).__name__
    if is_stepwise(model) != (steps is not None):
        what = (
            "draws sequences; pass steps=" if steps is None else "is no model of sequences; leave steps out"
        )
        raise InputError(f"sample: {name} {what}")
    if steps is not None and isinstance(model, ChecksData):
        # zeros are in every support: what can be wrong is the condition
        cond = None if cond is None else np.asarray(cond)[None]
        model.check_data(Datum(np.zeros((1, steps, model.data_dim)), cond))


@eqx.filter_jit
def _simulate(model: Any, like: Datum, keys: PRNGKeys) -> Array:
    return jax.vmap(lambda key: model.simulate(like, key=key)[1])(keys)
