"""What is believed of every step of a sequence: given its past, or given all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jensen.core import Inference
from jensen.diagnose.ahead import in_units
from jensen.diagnose.rows import inference_of
from jensen.errors import InputError
from jensen.fit import Data
from jensen.objectives.stepwise import is_stepwise
from jensen.posteriors import Filtering
from jensen.typing import PRNGKey
from jensen.use import beliefs
from jensen.use.afresh import ready
from jensen.use.rows import map_rows


@dataclass(frozen=True)
class States:
    """Beliefs about the latents of every step, and about the observation they make. NaN at padded steps.

    Attributes:
        mean: E[z_t], (N, T, d); of discrete states their probabilities, (N, T, K).
        std: Standard deviations of z_t, (N, T, d); ``None`` for discrete states.
        path: The most probable path of an HMM given the whole sequence (Viterbi), (N, T) integers, −1 at
            padded steps; ``None`` from ``filter`` and for other models.
        signal: E of E[x_t | z_t], (N, T, D), in the data's own units: x without its noise. Of categories
            their probabilities, (N, T, D, C).
        signal_std: Standard deviation of E[x_t | z_t], the shape of ``signal``: how well the signal is
            known. The noise of x itself is not in it.
    """

    mean: np.ndarray
    std: np.ndarray | None
    path: np.ndarray | None
    signal: np.ndarray
    signal_std: np.ndarray


def filter(fitted: Any, data: Any, *, key: PRNGKey | None = None, num_samples: int = 256) -> States:
    """Say what is believed of z_t given x_{1:t} and the actions before, for every step t.

    Exact for ``HMM`` and ``LinearGaussianSSM``. Under ``posteriors.Filtering`` it is what q says, averaged
    over K paths drawn from it. Under any other posterior a particle filter answers: K particles follow the
    dynamics and are weighed by p(x_t | z_t); consistent as K grows.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model must be one of sequences.
        data: Sequences (N, T, D), or ``fit.Data`` with actions, masks and lengths. Where nothing was
            observed, exact models and the particle filter fall back to the prior.
        key: Randomness of the draws; fixed by default, so that pictures repeat.
        num_samples: K; not looked at where the answer is exact.

    Returns:
        Means and spreads, one entry a step.

    Raises:
        InputError: If the model is not one of sequences, the data do not fit it, or K is not positive.

    Example:
        >>> import numpy as np, jensen as jn
        >>> level = jn.models.LinearGaussianSSM.with_parameters(
        ...     [[1.0]], [[1.0]], [[1.0]], [1.0], initial=([0.0], [[1.0]]))
        >>> exactly = jn.Inference(
        ...     level, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> print(filter(exactly, np.ones((1, 3, 1))).mean[0, :, 0].round(3))
        [0.5   0.8   0.923]
    """
    inference = _sequential("filter", fitted, num_samples)
    return _states(beliefs.filtered, inference, data, key, num_samples)


def smooth(fitted: Any, data: Any, *, key: PRNGKey | None = None, num_samples: int = 256) -> States:
    """Say what is believed of z_t given the whole sequence x_{1:T}, for every step t.

    Exact for ``HMM`` and ``LinearGaussianSSM``; otherwise what q says, averaged over K paths drawn from it.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its posterior must see the whole sequence.
        data: Sequences (N, T, D), or ``fit.Data`` with actions, masks and lengths.
        key: Randomness of the draws; fixed by default, so that pictures repeat.
        num_samples: K; not looked at where the answer is exact.

    Returns:
        Means and spreads, one entry a step; of an HMM also the most probable path.

    Raises:
        InputError: If the model is not one of sequences, the posterior sees the past only, the data do not
            fit the model, or K is not positive.

    Example:
        >>> import numpy as np, jensen as jn
        >>> switch = jn.models.HMM.with_parameters(
        ...     [0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], means=[[0.0], [3.0]], covariances=[[[1.0]], [[1.0]]])
        >>> exactly = jn.Inference(
        ...     switch, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
        >>> smooth(exactly, np.array([[[0.1], [-0.2], [2.9], [3.1]]])).path.tolist()
        [[0, 0, 1, 1]]
    """
    inference = _sequential("smooth", fitted, num_samples)
    if isinstance(inference.posterior, Filtering):
        raise InputError(
            "smooth: posteriors.Filtering sees the past only; fit posteriors.Smoothing, or call filter"
        )
    return _states(beliefs.inferred, inference, data, key, num_samples)


def as_inferred(inference: Inference, data: Any, *, key: PRNGKey, num_samples: int) -> States:
    """Return what the posterior says of every step, whether it filters or smooths."""
    return _states(beliefs.inferred, inference, data, key, num_samples)


def _sequential(name: str, fitted: Any, num_samples: int) -> Inference:
    inference = inference_of(fitted)
    if not is_stepwise(inference.model):
        model = type(inference.model).__name__
        raise InputError(f"{name}: {model} is no model of sequences; use encode")
    if num_samples < 1:
        raise InputError(f"{name}: num_samples is {num_samples}; it must be at least 1")
    return inference


def _states(
    believe: Callable[..., beliefs.Belief], inference: Inference, data: Any, key: PRNGKey | None, num: int
) -> States:
    data, key = Data.of(data), jax.random.key(0) if key is None else key
    # draws are averaged as they come; only a particle filter keeps all of them
    size = 8 * int(np.prod(data.x.shape[1:]))
    if believe is beliefs.filtered and beliefs.has_particles(inference):
        size += data.x.shape[1] * num * beliefs.width(inference.model)
    if believe is beliefs.inferred:
        inference = ready(inference, data, key=key)
    got = map_rows(believe, inference, data, key=key, args=(num,), size=size)
    real = real_steps(data)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.where(real.reshape(*real.shape, *[1] * (values.ndim - 2)), values, np.nan)

    return States(
        mean=padded(got.mean),
        std=None if got.std is None else padded(got.std),
        path=got.path,
        signal=padded(in_units(inference, got.signal)),
        signal_std=padded(got.signal_std),
    )


def real_steps(data: Data) -> np.ndarray:
    """Return which steps of sequences are real, (N, T)."""
    n, length = data.x.shape[:2]
    return np.arange(length) < (np.full(n, length) if data.lengths is None else data.lengths)[:, None]
