"""Posteriors that only know their training rows, made ready for others."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from jensen.core import IndexesData, Inference
from jensen.fit import Data
from jensen.typing import PRNGKey


def ready(inference: Inference, x: Any, *, key: PRNGKey) -> Inference:
    """Return an inference whose posterior answers for these rows.

    A per-datum posterior has no answer for rows it was not trained on, and cannot tell which ones these
    are: its parameters are optimized afresh for every row. Other posteriors are returned as they are.
    """
    if not isinstance(inference.posterior, IndexesData):
        return inference
    from jensen.diagnose import optimal_parameters

    data = Data.of(x)
    table = optimal_parameters(inference, data, key=key)
    posterior = eqx.tree_at(lambda q: (q.table, q.num_data), inference.posterior, (table, data.num_data))
    return Inference(inference.model, posterior, inference.objective, inference.gradient)
