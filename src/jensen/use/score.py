"""How probable rows are: scores for anomaly detection and model comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jensen.core import (
    AbstractLatentModel,
    Datum,
    HasExactEvidence,
    HasPredictive,
    HoldsFactors,
    Inference,
    SharesLatent,
    Terms,
    independent_draws,
)
from jensen.errors import InputError
from jensen.typing import Array, PRNGKey, Scalar
from jensen.use.afresh import ready
from jensen.use.rows import inference_of, map_rows


def score(fitted: Any, x: Any, *, key: PRNGKey | None = None, num_samples: int = 512) -> np.ndarray:
    """Return log p(x) of every row, in nats: low scores are anomalies.

    Exact where the model has an exact evidence, otherwise the importance-weighted lower bound
    log (1/K) Σ p(x, zₖ)/q(zₖ) with zₖ ~ q. With one z behind all data, the posterior predictive density
    log (1/K) Σ p(x | zₖ) given the data q was fitted to: the log of an average over q, or its closed form
    (a Bayesian mixture).

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: Rows (N, D), or ``fit.Data``.
        key: Randomness of the draws; fixed by default, so that rankings repeat.
        num_samples: K, draws per row.

    Returns:
        (N,) log-densities in the data's own units, float64.

    Raises:
        InputError: If the number of columns is not the model's, a value is outside its support, K is not
            positive, or z is shared by all data but the model does not know p(x | z).
    """
    if num_samples < 1:
        raise InputError(f"score: num_samples is {num_samples}; it must be at least 1")
    inference = inference_of(fitted)
    key = jax.random.key(0) if key is None else key
    if isinstance(inference.posterior, HoldsFactors) and isinstance(inference.model, HasPredictive):
        return map_rows(_averaged, inference, x, key=key).astype(np.float64)
    if isinstance(inference.posterior, SharesLatent):
        return _predictive_of(inference, x, key=key, num_samples=num_samples)
    if isinstance(inference.model, HasExactEvidence):
        return map_rows(_exact, inference, x, key=key).astype(np.float64)
    inference = ready(inference, x, key=key)
    return map_rows(_weighted, inference, x, key=key, args=(num_samples,)).astype(np.float64)


def _exact(inference: Inference, datum: Datum, key: PRNGKey) -> Scalar:
    return inference.model.log_evidence(datum)


def _averaged(inference: Inference, datum: Datum, key: PRNGKey) -> Scalar:
    return inference.model.log_predictive(inference.posterior.factors, datum)


def _predictive_of(inference: Inference, x: Any, *, key: PRNGKey, num_samples: int) -> np.ndarray:
    if not isinstance(inference.model, AbstractLatentModel):
        name = type(inference.model).__name__
        raise InputError(f"score: one z is behind all data, and {name} does not know p(x | z)")
    return map_rows(_predictive, inference, x, key=key, args=(num_samples,)).astype(np.float64)


def _weighted(inference: Inference, datum: Datum, key: PRNGKey, num_samples: int) -> Scalar:
    return _log_mean(lambda terms: terms.log_w, inference, datum, key, num_samples)


def _predictive(inference: Inference, datum: Datum, key: PRNGKey, num_samples: int) -> Scalar:
    return _log_mean(lambda terms: terms.reconstruction, inference, datum, key, num_samples)


def _log_mean(
    what: Callable[[Terms], Array], inference: Inference, datum: Datum, key: PRNGKey, num_samples: int
) -> Scalar:
    to_q, to_draws = jax.random.split(key)
    model, q = inference.bound_model(), inference.q(datum, key=to_q)

    def one(key: PRNGKey) -> Scalar:
        return what(independent_draws(model, q, datum, 1, key=key))[0]

    # one draw after another in small groups: K decoders at once would not fit the cache
    log_w = jax.lax.map(one, jax.random.split(to_draws, num_samples), batch_size=16)
    return logsumexp(log_w) - jnp.log(float(num_samples))
