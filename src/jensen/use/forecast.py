"""What comes next, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, Inference
from jensen.diagnose.ahead import continued, in_units, per_sequence, prepared
from jensen.diagnose.predictive import has_moments, moments
from jensen.diagnose.rows import inference_of
from jensen.errors import InputError
from jensen.typing import Array, PRNGKey


@dataclass(frozen=True)
class Forecast:
    """The predictive law of the steps that follow each sequence, in the data's own units.

    Attributes:
        mean: E[x_{t+h} | x_{1:t}], (N, horizon, D); of categories their probabilities, (N, horizon, D, C).
        lower: Lower end of a central interval for every entry, (N, horizon, D), the noise of x included;
            ``None`` for categories, which have no order.
        upper: Its upper end.
        level: Probability of each interval, entry by entry; not that all of them hold at once.
    """

    mean: np.ndarray
    lower: np.ndarray | None
    upper: np.ndarray | None
    level: float


def forecast(
    fitted: Any,
    data: Any,
    *,
    horizon: int,
    level: float = 0.9,
    actions: Any = None,
    key: PRNGKey | None = None,
    num_samples: int = 1000,
) -> Forecast:
    """Predict x_{t+1}, …, x_{t+h} from x_{1:t}: mean and central interval of every entry.

    A ``LinearGaussianSSM`` has exact Gaussians: the filtered law of z_t moved by m ← A m + B u + b and
    P ← A P Aᵀ + Q, and x ~ N(C m + D u + d, C P Cᵀ + R). An ``HMM`` has an exact mean, and intervals between
    quantiles of draws. Other models draw continuations as ``rollout`` does. Parameters are taken for certain.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model must be one of sequences.
        data: Sequences (N, T, D), or ``fit.Data`` with masks and lengths; row n goes on after its own last
            real step. An empty sequence is forecast from the prior.
        horizon: Steps to predict.
        level: Probability of the intervals, between 0 and 1.
        actions: Actions or inputs of the past and of the steps to come, as ``rollout`` takes them; by default
            what the data holds in ``cond``.
        key: Randomness of the draws; fixed by default, so that pictures repeat.
        num_samples: Continuations drawn of every row, where draws are needed.

    Returns:
        Mean, lower and upper ends.

    Raises:
        InputError: If the model has no dynamics, the level or a number is out of range, or there are too few
            actions.

    Example:
        >>> import numpy as np, jensen as jn
        >>> level = jn.models.LinearGaussianSSM.with_parameters(
        ...     [[0.5]], [[1.0]], [[1.0]], [1.0], initial=([0.0], [[1.0]]))
        >>> exactly = jn.Inference(
        ...     level, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> ahead = forecast(exactly, np.full((1, 1, 1), 4.0), horizon=3)
        >>> print(ahead.mean[0, :, 0].round(2), ahead.upper[0, :, 0].round(2))
        [1.   0.5  0.25] [3.4  2.98 2.76]
    """
    inference = inference_of(fitted)
    if not 0 < level < 1:
        raise InputError(f"forecast: level is {level}; it must lie between 0 and 1")
    moved, rows = prepared("forecast", inference, data, actions, horizon=horizon, num_samples=num_samples)
    args, size = (horizon, num_samples, float(level)), 4 * num_samples * horizon * rows.x.shape[-1]
    key = jax.random.key(0) if key is None else key
    mean, lower, upper = per_sequence(_forecast, moved, rows, key=key, size=size, args=args)
    lower, upper = (None if end is None else in_units(inference, end) for end in (lower, upper))
    return Forecast(in_units(inference, mean), lower, upper, level)


def _forecast(
    inference: Inference, datum: Datum, key: PRNGKey, horizon: int, num: int, level: float
) -> tuple[Array, Array | None, Array | None]:
    model = inference.model
    mean, std = moments(model, datum, horizon) if has_moments(model) else (None, None)
    if mean is not None and std is not None:
        reach = NormalDist().inv_cdf(0.5 + level / 2) * std
        return mean, mean - reach, mean + reach
    means, draws, _ = continued(inference, datum, key, horizon, num)
    mean = means.mean(0) if mean is None else mean
    if means.ndim > draws.ndim:
        return mean, None, None
    lower, upper = jnp.quantile(draws, jnp.array([0.5 - level / 2, 0.5 + level / 2]), axis=0)
    return mean, lower, upper
