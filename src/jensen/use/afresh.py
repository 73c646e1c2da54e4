"""Posteriors that only know their training rows, made ready for others."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jensen.core import Datum, HasFamily, IndexesData, Inference
from jensen.fit import Data
from jensen.fit.per_datum import optimal_parameters
from jensen.posteriors import PerDatum
from jensen.typing import Array, Float, PRNGKey
from jensen.use.rows import map_rows


def ready(inference: Inference, x: Any, *, key: PRNGKey) -> Inference:
    """Return an inference whose posterior answers for these rows.

    A per-datum posterior has no answer for rows it was not trained on, and cannot tell which ones these
    are: its parameters are optimized afresh for every row. Other posteriors are returned as they are.
    """
    posterior = inference.posterior
    if not isinstance(posterior, IndexesData) or not isinstance(posterior, HasFamily):
        return inference
    data = Data.of(x)
    table = map_rows(_optimal, inference, data, key=key)
    afresh = PerDatum(posterior.family, num_data=data.num_data, key=key)
    afresh = eqx.tree_at(lambda q: q.table, afresh, jnp.asarray(table))
    return Inference(inference.model, afresh, inference.objective, inference.gradient)


def _optimal(inference: Inference, datum: Datum, key: PRNGKey) -> Float[Array, "p"]:
    family = inference.posterior.family
    start = family.initial_params()
    return optimal_parameters(inference.bound_model(), family, datum, start, key=key).params
