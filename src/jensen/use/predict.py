"""What y will be, given x: mean, spread, quantiles, draws, and the density itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    ChecksData,
    Datum,
    HasCondition,
    HasExactEvidence,
    HasObservation,
    HoldsLatent,
    Inference,
    Simulates,
)
from jensen.errors import InputError
from jensen.fit import Data
from jensen.fit.enter import origin
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, Float, PRNGKey
from jensen.use.marginals import given_latents
from jensen.use.rows import in_units, inference_of, map_rows

LEVELS = (0.05, 0.5, 0.95)
"""A central interval of 90% and the median."""


@dataclass(frozen=True)
class Prediction:
    """The law of y at each of N conditions, entry by entry, in the data's own units.

    Attributes:
        mean: E[y | x], (N, D); of categories their probabilities, (N, D, K).
        std: Standard deviations, noise included, (N, D); ``None`` for categories, which have no order.
        levels: What the quantiles are of.
        quantiles: (levels, N, D); ``None`` for categories.
        samples: Draws of whole rows, (S, N, D).
    """

    mean: np.ndarray
    std: np.ndarray | None
    levels: tuple[float, ...]
    quantiles: np.ndarray | None
    samples: np.ndarray


def predict(
    fitted: Any,
    cond: Any,
    *,
    num_samples: int = 256,
    levels: tuple[float, ...] = LEVELS,
    key: PRNGKey,
) -> Prediction:
    """Predict y at each condition: mean, standard deviation, quantiles and draws.

    Exact but for the draws where z is absent or a category (``LinearGaussian``, ``HeteroscedasticNet``,
    ``MixtureDensity``). Otherwise p(y | x) ≈ (1/S) Σ p(y | zₛ, x) with zₛ ~ p(z | x), of which mean, spread
    and, of Gaussian likelihoods, quantiles are taken. Quantiles of other laws are those of the draws, placed
    so that a new y falls below with just that probability on average. Parameters are taken for certain.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model must be conditional.
        cond: Conditions, (N, C).
        num_samples: S, draws at each condition.
        levels: Probabilities that the quantiles are of, strictly between 0 and 1.
        key: Randomness of the draws.

    Returns:
        The law of every entry, and draws of rows.

    Raises:
        InputError: If the model takes no condition, or conditions of another length, or a number is out of
            range.

    Example:
        >>> import jax, jensen as jn
        >>> line = jn.models.LinearGaussian.with_parameters([[2.0]], [1.0], [[0.25]])
        >>> exactly = jn.Inference(
        ...     line, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> at = predict(exactly, [[0.0], [3.0]], key=jax.random.key(0))
        >>> print(at.mean[:, 0].round(3), at.std[:, 0].round(3), at.quantiles[:, 1, 0].round(2))
        [1. 7.] [0.5 0.5] [6.18 7.   7.82]
        >>> at.samples.shape
        (256, 2, 1)
    """
    inference, rows = _asked("predict", fitted, cond)
    levels = tuple(float(level) for level in levels)
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"predict: levels are {levels}; each must lie between 0 and 1")
    if num_samples < 2:
        raise InputError(f"predict: num_samples is {num_samples}; it must be at least 2")
    args, size = (num_samples, levels), 4 * num_samples * rows.data_dim
    mean, std, quantiles, samples = map_rows(_predicted, inference, rows, key=key, args=args, size=size)
    samples = in_units(inference, np.moveaxis(samples, 1, 0))
    if quantiles is None:
        return Prediction(mean, None, levels, None, samples)
    quantiles = in_units(inference, np.moveaxis(quantiles, 1, 0))
    return Prediction(in_units(inference, mean), std, levels, quantiles, samples)


def density(
    fitted: Any, cond: Any, grid: Any, *, column: int = 0, num_samples: int = 512, key: PRNGKey | None = None
) -> np.ndarray:
    """Return p(y_d | x) on a grid of values of one column of y, the others integrated out.

    Exact where z is absent or a category; otherwise the mean of p(y_d | zₛ, x) over draws zₛ ~ p(z | x):
    unbiased, but rough where few draws reach.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model must be conditional.
        cond: Conditions, (N, C).
        grid: Values of y_d, (G,), in the data's own units.
        column: d, which column of y.
        num_samples: Draws of z, where they are needed.
        key: Their randomness; fixed by default, so that pictures repeat.

    Returns:
        (N, G) densities per unit of y_d; of discrete laws probabilities.

    Raises:
        InputError: As ``predict``, or if there is no such column.

    Example:
        >>> import jensen as jn
        >>> line = jn.models.LinearGaussian.with_parameters([[2.0]], [1.0], [[0.25]])
        >>> exactly = jn.Inference(
        ...     line, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> density(exactly, [[3.0]], [6.0, 7.0, 8.0]).round(3).tolist()
        [[0.1080000028014183, 0.7979999780654907, 0.1080000028014183]]
    """
    inference, rows = _asked("density", fitted, cond)
    values = np.asarray(grid, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise InputError(f"density: grid must be finite numbers (G,), one at least, got shape {values.shape}")
    if not 0 <= column < rows.data_dim:
        raise InputError(f"density: there is no column {column}; y has {rows.data_dim}")
    if num_samples < 1:
        raise InputError(f"density: num_samples is {num_samples}; it must be at least 1")
    shift = origin(inference)
    values = values if shift is None else values - shift[column]
    args = (jnp.asarray(values, jnp.result_type(float)), column, num_samples)
    key = jax.random.key(0) if key is None else key
    return np.exp(
        map_rows(_log_density, inference, rows, key=key, args=args, size=4 * num_samples * len(values))
    )


def _asked(name: str, fitted: Any, cond: Any) -> tuple[Inference, Data]:
    """Return the inference, and rows that carry the conditions; their y is never looked at."""
    inference = inference_of(fitted)
    model, kind = inference.model, type(inference.model).__name__
    if not isinstance(model, HasCondition) or not isinstance(model, ChecksData):
        instead = "use.forecast continues sequences" if is_stepwise(model) else "use.sample draws from it"
        raise InputError(f"{name}: {kind} is no model of y given x; {instead}")
    if isinstance(model, HoldsLatent):
        raise InputError(
            f"{name}: {kind} predicts whole units of steps; draw them by use.sample(..., cond=states)"
        )
    given = np.asarray(cond)
    if given.ndim != 2:
        raise InputError(f"{name}: cond must be conditions by columns (N, C), got shape {given.shape}")
    return inference, Data(np.zeros((len(given), model.data_dim)), cond=given)


def _predicted(
    inference: Inference, datum: Datum, key: PRNGKey, num: int, levels: tuple[float, ...]
) -> tuple[Array, Array | None, Array | None, Float[Array, "s d"]]:
    model, (to_z, to_y) = inference.bound_model(), jax.random.split(key)
    if not isinstance(model, Simulates):
        raise InputError(f"predict: {type(model).__name__} has no simulate(); only its density is known")
    samples = jax.vmap(lambda k: model.simulate(datum, key=k)[1])(jax.random.split(to_y, num))
    at = jnp.asarray(levels, samples.dtype)
    if not isinstance(model, HasObservation):
        return samples.mean(0), samples.std(0, ddof=1), placed(samples, at), samples
    mixture = given_latents(model, datum.cond, num, key=to_z)
    if mixture.means.ndim == 3:
        return mixture.mean, None, None, samples
    if (scales := mixture.scales) is None:
        return mixture.mean, samples.std(0, ddof=1), placed(samples, at), samples
    return mixture.mean, mixture.std(scales), mixture.quantiles(scales, at), samples


def placed(samples: Float[Array, "s d"], levels: Float[Array, "l"]) -> Float[Array, "l d"]:
    """Return the order statistics, interpolated, below which one more draw falls with those probabilities."""
    num = len(samples)
    share = jnp.clip(((num + 1) * levels - 1) / (num - 1), 0.0, 1.0)
    return jnp.quantile(samples, share, axis=0)


def _log_density(
    inference: Inference, datum: Datum, key: PRNGKey, values: Float[Array, "g"], column: int, num: int
) -> Float[Array, "g"]:
    model = inference.bound_model()
    if isinstance(model, HasObservation):
        return given_latents(model, datum.cond, num, key=key).log_density(values, column)
    if not isinstance(model, HasExactEvidence):
        raise InputError(f"density: {type(model).__name__} does not know its density")
    mask = jnp.arange(len(datum.x)) == column

    def one(value: Array) -> Array:
        return model.log_evidence(Datum(jnp.full(len(datum.x), value), datum.cond, mask=mask))

    return jax.vmap(one)(values)
