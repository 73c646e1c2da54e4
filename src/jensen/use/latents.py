"""From rows to latents and back: encode and reconstruct."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasObservation, Inference
from jensen.dist import AbstractLayered, AbstractMoments, Categorical, means_by_kind, row_of_means
from jensen.errors import InputError
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, PRNGKey
from jensen.use.afresh import ready
from jensen.use.rows import in_units, inference_of, map_rows
from jensen.use.states import as_inferred

DRAWS = 64
"""Draws a mean is taken over where it has no closed form."""


def encode(fitted: Any, x: Any, *, key: PRNGKey | None = None) -> np.ndarray:
    """Return the posterior mean E_q[z | x] of every row, or of every step of sequences.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: Rows (N, D), sequences (N, T, D), or ``fit.Data``.
        key: Randomness, for posteriors that need it.

    Returns:
        (N, d) means; for a category, the probabilities of its K values. Of sequences (N, T, d), NaN at padded
        steps; each step is seen as the posterior sees it: exact ones and ``Smoothing`` look at the whole
        sequence, ``Filtering`` at the past.

    Raises:
        InputError: If the number of columns is not the model's, or a value is outside its support.
    """
    inference, key = inference_of(fitted), _key(key)
    if is_stepwise(inference.model):
        return as_inferred(inference, x, key=key, num_samples=DRAWS).mean
    inference = ready(inference, x, key=key)
    return map_rows(posterior_mean, inference, x, key=key)


def reconstruct(fitted: Any, x: Any, *, key: PRNGKey | None = None) -> np.ndarray:
    """Return E_q[E[x | z]], what the model makes of every row after passing it through its latents.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: Rows (N, D), sequences (N, T, D), or ``fit.Data``.
        key: Randomness of the draws of z; fixed by default, so that pictures repeat.

    Returns:
        (N, D) means in the data's own units; for categories, the probabilities (N, D, K), and in a mixed
        table the most probable code. Of sequences (N, T, D), or (N, T, D, K), NaN at padded steps.

    Raises:
        InputError: If the model has no likelihood to average, or x does not fit the model.
    """
    inference, key = inference_of(fitted), _key(key)
    if is_stepwise(inference.model):
        return as_inferred(inference, x, key=key, num_samples=DRAWS).signal
    if not isinstance(inference.model, HasObservation):
        name = type(inference.model).__name__
        raise InputError(f"reconstruct: {name} does not separate x from its latents")
    inference = ready(inference, x, key=key)
    return in_units(inference, map_rows(_reconstruction, inference, x, key=key))


def posterior_mean(inference: Inference, datum: Datum, key: PRNGKey) -> Array:
    """Return E_q[z | x] of one datum; of a category its probabilities. Traced code."""
    q = inference.q(datum, key=key)
    if isinstance(q, AbstractMoments):
        return q.mean
    if isinstance(q, Categorical):
        return q.probs
    draws = jax.vmap(lambda k: q.sample_and_log_prob(key=k)[0])(jax.random.split(key, DRAWS))
    if isinstance(q, AbstractLayered):
        draws = jax.vmap(q.means)(draws)
    return jnp.mean(draws, axis=0)


def _reconstruction(inference: Inference, datum: Datum, key: PRNGKey) -> Array:
    q = inference.q(datum, key=key)
    model = inference.bound_model()

    def one(k: PRNGKey) -> tuple[Array, ...]:
        z, _ = q.sample_and_log_prob(key=k)
        return means_by_kind(model.likelihood(z, datum.cond))

    means = [each.mean(0) for each in jax.vmap(one)(jax.random.split(key, DRAWS))]
    return means[0] if len(means) == 1 else row_of_means(means, jnp.ndim(datum.x))


def _key(key: PRNGKey | None) -> PRNGKey:
    return jax.random.key(0) if key is None else key
