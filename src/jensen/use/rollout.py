"""What comes next: sequences continued without observing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.diagnose.ahead import continued, in_units, per_sequence, prepared
from jensen.diagnose.rows import inference_of
from jensen.typing import PRNGKey


@dataclass(frozen=True)
class Rollout:
    """Sequences continued past their last observation.

    Attributes:
        mean: E[x_t | z_t], averaged over draws, (N, horizon, D), in the data's own units.
        draws: Observations drawn, (S, N, horizon, D).
        z: Latents drawn, (S, N, horizon, ...).
    """

    mean: np.ndarray
    draws: np.ndarray
    z: np.ndarray


def rollout(
    fitted: Any,
    context: Any,
    actions: Any = None,
    *,
    horizon: int,
    key: PRNGKey,
    num_samples: int = 1,
) -> Rollout:
    """Continue sequences open loop: infer z over the context, then follow the dynamics alone.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model needs latents that go forward in time.
        context: Observed sequences (N, T, D), or ``fit.Data`` with masks and lengths; row n goes on after
            its own last real step, an empty one from the prior.
        actions: (N, ≥ T + horizon − 1, U), a_t following observation o_t: the context's and those to come;
            for models that take actions; by default what the data holds in ``cond``. Exact models whose
            inputs enter the observation need one row more.
        horizon: Steps to go on.
        key: Randomness of the latents, past and future, and of the observations.
        num_samples: Independent continuations of every row.

    Returns:
        Means, draws and latents as numpy arrays.

    Raises:
        InputError: If the model cannot be rolled out, the horizon or a number is not positive, or there are
            too few actions.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> dmm = jn.models.NeuralStateSpace(3, 2, decoder=(8,), width=8, key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=dmm, widths=(8,), key=jax.random.key(1))
        >>> inference = jn.Inference(dmm, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> rollout(inference, np.ones((4, 5, 3)), horizon=7, key=jax.random.key(2)).mean.shape
        (4, 7, 3)
    """
    inference = inference_of(fitted)
    moved, rows = prepared("rollout", inference, context, actions, horizon=horizon, num_samples=num_samples)
    size = 4 * num_samples * horizon * rows.x.shape[-1]
    args = (horizon, num_samples)
    mean, draws, z = per_sequence(continued, moved, rows, key=key, size=size, args=args)
    mean, draws = in_units(inference, mean.mean(1)), in_units(inference, np.moveaxis(draws, 1, 0))
    return Rollout(mean, draws, np.moveaxis(z, 1, 0))
