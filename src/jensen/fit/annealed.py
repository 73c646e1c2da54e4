"""An optimizer for fits of a fixed number of steps."""

from __future__ import annotations

import optax

from jensen.errors import InputError


def annealed_adam(learning_rate: float, steps: int) -> optax.GradientTransformation:
    """Return Adam at one rate for half of the steps, then along a cosine to zero.

    The first half goes to where the optimum is, the second averages the noise of the gradient away. Give
    ``fit.gradient`` the same ``steps``.

    Args:
        learning_rate: The rate of the first half.
        steps: Steps of the whole fit.

    Raises:
        InputError: If a number is not positive.

    Example:
        >>> optimizer = annealed_adam(0.02, steps=4_000)
    """
    if steps < 2 or not learning_rate > 0:
        raise InputError(
            f"annealed_adam: learning_rate={learning_rate}, steps={steps}; the rate must be positive, and "
            "steps at least 2"
        )
    half = steps // 2
    # optax turns the number into a float at its first use: another program, were it not one already
    decay = optax.cosine_decay_schedule(learning_rate, float(steps - half))  # pyright: ignore[reportArgumentType]
    parts = [optax.constant_schedule(learning_rate), decay]
    return optax.adam(optax.join_schedules(parts, [half]))
