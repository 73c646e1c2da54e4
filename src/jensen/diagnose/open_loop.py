"""How far ahead a model of sequences can see: its open-loop error beside simple forecasts of the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.core import Datum, Inference
from jensen.diagnose.ahead import (
    continued,
    enters_own_step,
    in_units,
    per_sequence,
    prepared,
)
from jensen.diagnose.baselines import Autoregression, carried, column_scales, lags_for
from jensen.diagnose.predictive import has_moments, moments
from jensen.diagnose.rows import inference_of
from jensen.diagnose.table import columns, number
from jensen.errors import InputError
from jensen.fit import Data
from jensen.fit.enter import real_entries
from jensen.typing import Array, PRNGKey

SHOWN = (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500)
"""Steps ahead that the table shows, besides the last."""


@dataclass(frozen=True)
class OpenLoop:
    """Root mean squared errors of forecasts without observations, by steps ahead, in the data's own units.

    Attributes:
        model: Of the mean of the model's continuations, (H,); entry h is h + 1 steps ahead.
        copy_last: Of the last value observed.
        mean: Of the columns' means.
        linear: Of a ridge autoregression, fed with its own forecasts.
        context: Steps observed before the first forecast.
        num_windows: Forecasts averaged over.
        fitted_on: What means and autoregression were fitted on: ``"train"`` or ``"contexts"``.
    """

    model: np.ndarray
    copy_last: np.ndarray
    mean: np.ndarray
    linear: np.ndarray
    context: int
    num_windows: int
    fitted_on: str

    @property
    def horizon(self) -> int:
        """H."""
        return len(self.model)

    @property
    def ratios(self) -> dict[str, float]:
        """The model's squared error over each baseline's, averaged over steps ahead; below 1 is better."""
        own = np.nanmean(self.model**2)
        return {
            name: float(own / np.nanmean(getattr(self, name) ** 2))
            for name in ("copy_last", "mean", "linear")
        }

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        names = ("model", "copy_last", "mean", "linear")
        curves = {n: [float(v) if np.isfinite(v) else None for v in getattr(self, n)] for n in names}
        facts = {"context": self.context, "num_windows": self.num_windows, "fitted_on": self.fitted_on}
        return {"rmse": curves, "ratios": self.ratios, **facts}

    def __str__(self) -> str:
        steps = [h for h in SHOWN if h < self.horizon] + [self.horizon]
        rows = [("steps ahead", *map(str, steps), "model / it, squared")]
        for name in ("model", "copy_last", "mean", "linear"):
            ratio = "" if name == "model" else number(self.ratios[name])
            errors = (number(getattr(self, name)[h - 1]) for h in steps)
            rows.append((name.replace("_", " "), *errors, ratio))
        head = (
            f"open-loop error (root mean squared, the data's units; {self.num_windows} windows after "
            f"{self.context} or more steps; baselines fitted on {self.fitted_on})"
        )
        return f"{head}\n{columns(rows)}"


def open_loop(
    fitted: Any,
    x: Any,
    *,
    context: int,
    horizon: int,
    key: PRNGKey,
    num_samples: int = 16,
    stride: int | None = None,
    train: Any = None,
) -> OpenLoop:
    """Measure how well a model forecasts sequences it is no longer shown.

    From x_{1:t} and all actions, the model continues its latents; the mean of E[x | z] over draws (exact for
    ``HMM`` and ``LinearGaussianSSM``) is compared with what happened, and so are, on the same entries, the
    last value observed, the columns' means, and a linear autoregression that is given the same actions: of at
    most 8 past observations, of 2 where there are many columns, of principal components beyond 256.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: Sequences (N, T, D), or ``fit.Data``, with actions in ``cond``. Those shorter than
            ``context + horizon`` are left out.
        context: Steps observed before the first forecast.
        horizon: H, steps to forecast.
        key: Randomness of the draws.
        num_samples: Continuations the model's mean is taken over.
        stride: Forecast again every so many steps, as long as H steps remain, from all that was observed by
            then; by default once a sequence.
        train: What means and autoregression are fitted on, as ``x``: the training data, for a fair
            comparison. By default the first ``context`` steps of the sequences looked at.

    Returns:
        Errors by steps ahead; print them for a table.

    Raises:
        InputError: If the model has no dynamics, a number is not positive, every sequence is too short, x
            are categories, or there are too few actions.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> wave = jn.models.LinearGaussianSSM.with_parameters(
        ...     [[0.8, 0.6], [-0.6, 0.8]], 1e-4 * np.eye(2), [[1.0, 0.0]], [1e-4],
        ...     initial=([1.0, 0.0], np.eye(2)))
        >>> exactly = jn.Inference(
        ...     wave, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> x = jn.use.sample(exactly, 20, steps=30, key=jax.random.key(0))
        >>> out = open_loop(exactly, x, context=10, horizon=20, key=jax.random.key(1))
        >>> out.ratios["copy_last"] < 0.1
        True
    """
    inference, data = inference_of(fitted), Data.of(x)
    rows, origins = _windows(data, context, horizon, stride)
    windows = data.take(rows)
    length = int(origins.max())
    contexts = Data(
        windows.x[:, :length],
        lengths=origins,
        mask=None if windows.mask is None else windows.mask[:, :length],
    )
    moved, ready = prepared(
        "open_loop",
        inference,
        contexts,
        windows.cond,
        horizon=horizon,
        num_samples=num_samples,
        where="give fit.Data(x, cond=)",
    )
    size = 4 * num_samples * horizon * data.data_dim
    args = (horizon, num_samples)
    own = in_units(inference, per_sequence(_mean, moved, ready, key=key, size=size, args=args))
    if own.ndim > 3:
        raise InputError("open_loop: x are categories, whose codes have no distance; use use.forecast")
    reference = data.take(np.unique(rows)) if train is None else Data.of(train)
    guesses = _guesses(
        inference.model, windows, origins, horizon, reference, context if train is None else None
    )
    ahead = (origins[:, None] + np.arange(horizon))[..., None]
    truth = np.take_along_axis(windows.x, ahead, 1)
    seen = np.take_along_axis(real_entries(windows.rows()), ahead, 1)
    errors = {name: _rmse(guess, truth, seen) for name, guess in {"model": own, **guesses}.items()}
    return OpenLoop(
        **errors, context=context, num_windows=len(rows), fitted_on="contexts" if train is None else "train"
    )


def _windows(data: Data, context: int, horizon: int, stride: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the sequence of every forecast, and how many of its steps are observed."""
    if context < 1 or horizon < 1 or (stride is not None and stride < 1):
        raise InputError(
            f"open_loop: context={context}, horizon={horizon}, stride={stride}; each must be at least 1"
        )
    if data.x.ndim != 3:
        raise InputError(f"open_loop: x must be sequences (N, T, D), got shape {data.x.shape}")
    lengths = np.full(len(data), data.x.shape[1]) if data.lengths is None else data.lengths
    found = [
        (row, origin)
        for row, length in enumerate(lengths)
        for origin in range(context, int(length) - horizon + 1, stride or int(length) + 1)
    ]
    if not found:
        raise InputError(
            f"open_loop: context {context} and horizon {horizon} need sequences of {context + horizon} "
            f"steps; the longest has {int(lengths.max())}"
        )
    rows, origins = np.array(found).T
    return rows, origins


def _mean(inference: Inference, datum: Datum, key: PRNGKey, horizon: int, num: int) -> Array:
    if has_moments(inference.model):
        return moments(inference.model, datum, horizon)[0]
    return continued(inference, datum, key, horizon, num)[0].mean(0)


def _guesses(
    model: Any, windows: Data, origins: np.ndarray, horizon: int, reference: Data, upto: int | None
) -> dict[str, np.ndarray]:
    """Return what the baselines say, (W, H, D) each."""
    seen, known = real_entries(windows.rows()), real_entries(reference.rows())[:, :upto]
    mean, _ = column_scales(reference.x[:, :upto], known)
    lags = lags_for(windows.data_dim, int(origins.min()) if upto is None else upto // 2)
    inputs = [_inputs(model, part) for part in (windows, reference)]
    linear = Autoregression.fit(reference.x[:, :upto], known, inputs[1][:, :upto], lags)
    shape = (len(origins), horizon, windows.data_dim)
    last, moved = np.empty(shape), np.empty(shape)
    for origin in np.unique(origins):
        at = np.flatnonzero(origins == origin)
        x, there = windows.x[at, :origin], seen[at, :origin]
        last[at] = carried(x, there, mean)[:, -1:]
        moved[at] = linear.predict(x, there, inputs[0][at], horizon)
    return {"copy_last": last, "mean": np.broadcast_to(mean, shape), "linear": moved}


def _inputs(model: Any, data: Data) -> np.ndarray:
    """Return what enters x_{t+1}, at t: the action before it, and its own input where the model uses one."""
    n, t = data.x.shape[:2]
    if data.cond is None:
        return np.zeros((n, t, 0))
    u = np.zeros((n, t + 1, data.cond.shape[-1]))
    u[:, : data.cond.shape[1]] = data.cond[:, : t + 1]
    return np.concatenate([u[:, :-1], u[:, 1:]], -1) if enters_own_step(model) else u[:, :-1]


def _rmse(guess: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the error of every step ahead, over windows and columns; NaN where nothing was observed."""
    square, count = np.where(seen, guess - truth, 0.0) ** 2, seen.sum((0, 2))
    total = square.sum((0, 2), dtype=np.float64)
    return np.sqrt(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
