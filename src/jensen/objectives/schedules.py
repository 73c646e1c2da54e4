"""Numbers that change with the gradient step."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jensen.errors import InputError
from jensen.typing import Array, Int, Scalar


class Linear(eqx.Module):
    """A number that moves linearly from ``start`` to ``end`` over ``steps`` steps, then stays.

    Args:
        start: Value at step 0.
        end: Value from step ``steps`` on.
        steps: Length of the ramp.

    Raises:
        InputError: If ``steps`` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> float(Linear(0.0, 1.0, 10)(jnp.asarray(5)))
        0.5
    """

    start: float
    end: float
    steps: int

    def __check_init__(self):
        if self.steps < 1:
            raise InputError(f"Linear schedule: steps is {self.steps}; it must be at least 1")

    def __call__(self, step: Int[Array, ""]) -> Scalar:
        """Return the value at a step."""
        return self.start + (self.end - self.start) * jnp.clip(step / self.steps, 0.0, 1.0)


def at(value: Any, step: Int[Array, ""]) -> Any:
    """Return a schedule's value at a step; numbers are their own schedule."""
    return value(step) if callable(value) else value
