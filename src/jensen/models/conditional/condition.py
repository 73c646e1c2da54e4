"""What models of p(x | c) share: the condition, checked at the edge and read in standard coordinates."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasCondition, real_steps_of
from jensen.errors import InputError
from jensen.nets import Frame
from jensen.typing import Array, Float


class HasCondFrame(HasCondition):
    """A conditional model that reads c in coordinates chosen at the first fit."""

    cond_frame: eqx.AbstractVar[Frame]

    def entered(self, cond: Any) -> Float[Array, "*t c"]:
        """Return the condition in standard coordinates.

        Raises:
            InputError: If there is none, or it has another length than the model's.
        """
        name = type(self).__name__
        if cond is None:
            raise InputError(missing(name, self.cond_dim))
        cond = jnp.asarray(cond, jnp.result_type(float))
        if cond.ndim < 1 or cond.shape[-1] != self.cond_dim:
            found = cond.shape[-1] if cond.ndim else 1
            raise InputError(another_width(name, found, self.cond_dim))
        return self.cond_frame.enter(cond)


def missing(name: str, width: int) -> str:
    """Say that a condition is missing."""
    return f"{name}: cond is missing; give fit.Data(y, cond=x) with {width} column{'s' * (width != 1)} of x"


def another_width(name: str, found: int, expected: int) -> str:
    """Say, in scikit-learn's words, that a condition has another number of columns."""
    return f"cond: X has {found} features, but {name} is expecting {expected} features as input."


def check_cond(model: HasCondition, rows: Datum, *, axes: int = 1) -> None:
    """Refuse a condition that is missing, not numeric, or of another shape. Host code.

    Args:
        model: The model that reads it.
        rows: Stacked rows.
        axes: 1 where each datum has one condition, 2 where each of its steps has one.

    Raises:
        InputError: Saying what is wrong with it.
    """
    name, shape = type(model).__name__, np.shape(rows.x)
    if len(shape) != axes + 1:
        takes = "rows (N, D)" if axes == 1 else "units of steps (N, T, D)"
        use = "models.EpisodeDecoder holds one z over the steps of a unit" if axes == 1 else "use x[None]"
        raise InputError(f"{name} takes {takes}, got shape {shape}: {use}")
    if rows.cond is None:
        raise InputError(missing(name, model.cond_dim))
    cond = np.asarray(rows.cond)
    if cond.dtype.kind not in "fiub":
        raise InputError(f"{name}: cond must hold real numbers, not {cond.dtype}: encode categories first")
    if cond.ndim == 1 and axes == 1:
        raise InputError(f"{name}: cond must be rows by columns, got shape {cond.shape}: use x[:, None]")
    if cond.ndim != axes + 1 or cond.shape[:axes] != shape[:axes]:
        wanted = (*shape[:axes], model.cond_dim)
        raise InputError(f"{name}: cond has shape {cond.shape}, x has {shape}; cond must be {wanted}")
    if cond.shape[-1] != model.cond_dim:
        raise InputError(another_width(name, cond.shape[-1], model.cond_dim))


def cond_frame_of(rows: Datum) -> Frame:
    """Return the frame in which every column of the condition has mean 0 and deviation 1. Host code."""
    cond = np.asarray(rows.cond)
    weight = None if rows.weight is None else np.asarray(rows.weight)
    if cond.ndim == 2:
        return Frame.standardizing(cond, None, weight)
    real = real_steps_of(rows)
    each = None if weight is None else np.broadcast_to(weight[:, None], real.shape)[real]
    return Frame.standardizing(cond[real], None, each)
