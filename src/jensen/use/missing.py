"""Filling in what was not observed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    Datum,
    HasExactConditional,
    HasObservation,
    Inference,
    SharesLatent,
    independent_draws,
)
from jensen.dist import means_by_kind, row_of_means
from jensen.errors import InputError
from jensen.fit import Data
from jensen.fit.data import MaskedTable
from jensen.objectives.stepwise import is_stepwise
from jensen.posteriors import Exact
from jensen.typing import Array, Float, PRNGKey
from jensen.use.afresh import ready
from jensen.use.rows import in_units, inference_of, map_rows
from jensen.use.states import as_inferred, real_steps


def impute(fitted: Any, x: Any, *, mask: Any = None, key: PRNGKey, num_samples: int = 256) -> np.ndarray:
    """Return the rows with hidden entries replaced by E[x_hidden | x_observed], categories by the likeliest.

    Exact where the model has exact conditionals. Otherwise K draws of z from q(z | x_observed) are weighed by
    p(x_observed, z)/q(z), the weights divided by their sum: consistent as K grows, but at finite K biased
    towards q, the more the poorer q is. With one z behind all data, E_q[x_hidden | z]: the mean of the
    posterior predictive given the data q was fitted to, the row's own observed entries adding nothing.

    Sequences of models without exact conditionals take E_q[E[x_t | z_t]] over K paths, all weighing the same:
    weights of whole paths would leave a few of them. What lies in the future is used if q looks at it.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``.
        x: Rows (N, D) or sequences (N, T, D), NaN where hidden; or ``fit.Data`` or a ``Dataset`` with a mask.
        mask: True where observed; by default wherever x is not NaN.
        key: Randomness of the draws.
        num_samples: K, draws of z per row.

    Returns:
        (N, D) complete rows, or (N, T, D) sequences; observed entries and padded steps are unchanged.

    Raises:
        InputError: If nothing is hidden, an observed value is outside the support, or the model cannot say
            what hidden entries should be.
    """
    if isinstance(x, MaskedTable):
        x = Data.of(x)
    if not isinstance(x, Data):
        x = np.asarray(x, dtype=np.float64)
        x = Data(x, mask=~np.isnan(x) if mask is None else mask)
    hidden = np.zeros(x.x.shape, bool) if x.mask is None else ~x.mask
    if x.lengths is not None:
        hidden = hidden & real_steps(x)[..., None]
    if not hidden.any():
        raise InputError("impute: no entry is hidden; mark them by NaN or pass mask= (True where observed)")
    inference = inference_of(fitted)
    shared = isinstance(inference.posterior, SharesLatent)
    if is_stepwise(inference.model) and not isinstance(inference.model, HasExactConditional):
        means = as_inferred(inference, x, key=key, num_samples=num_samples).signal
        # the mean of category codes has no meaning: the most probable category stands for them
        means = means if means.ndim == 3 else means.argmax(-1)
        return np.where(hidden, means, x.x)
    if isinstance(inference.model, HasExactConditional) and not shared:
        means = map_rows(_exact, inference, x, key=key)
    elif isinstance(inference.model, HasObservation):
        means = map_rows(_weighted, ready(inference, x, key=key), x, key=key, args=(num_samples,))
    else:
        raise InputError(f"impute: {type(inference.model).__name__} cannot say what hidden entries should be")
    return np.where(hidden, in_units(inference, means), x.x)


def _exact(inference: Inference, datum: Datum, key: PRNGKey) -> Float[Array, "*t d"]:
    return inference.model.conditional_mean(datum)


def _weighted(inference: Inference, datum: Datum, key: PRNGKey, num_samples: int) -> Float[Array, "*t d"]:
    to_q, to_draws = jax.random.split(key)
    model, q = inference.bound_model(), inference.q(datum, key=to_q)
    terms = independent_draws(model, q, datum, num_samples, key=to_draws)
    # draws of the posterior itself weigh the same
    equal = isinstance(inference.posterior, Exact | SharesLatent)
    log_w = jnp.zeros(num_samples) if equal else terms.log_w
    means = jax.vmap(lambda z: means_by_kind(model.likelihood(z, datum.cond)))(terms.z)
    weights = jax.nn.softmax(log_w)
    return row_of_means([jnp.tensordot(weights, each, axes=1) for each in means], jnp.ndim(datum.x))
