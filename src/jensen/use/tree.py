"""Draws as an ``xarray.DataTree``, the form ArviZ reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.errors import MissingExtraError


def datatree(draws: Any) -> Any:
    """Return draws as a tree of data sets.

    The group ``posterior`` holds q's draws as one chain; ``sample_stats`` their log importance weights, raw
    and smoothed (normalized), with k̂ and the log-evidence as attributes. ``arviz.from_datatree`` turns it
    into an ``InferenceData`` where ArviZ is older than 1.0.

    Args:
        draws: What ``use.draws`` returned.

    Raises:
        MissingExtraError: If xarray is not installed.
    """
    try:
        import xarray
    except ImportError as error:
        raise MissingExtraError("to_datatree needs xarray: pip install 'jensen[arviz]'") from error

    def variable(name: str, values: np.ndarray) -> Any:
        dims = ("chain", "draw", *(f"{name}_dim_{i}" for i in range(values.ndim - 1)))
        return dims, np.asarray(values)[None]

    at = {"chain": [0], "draw": np.arange(len(draws))}
    named = {name: variable(name, values) for name, values in draws.values.items()}
    with np.errstate(divide="ignore"):
        smoothed = np.log(draws.weights)
    stats = {
        "log_w": variable("log_w", draws.log_w),
        "log_weight_smoothed": variable("log_weight_smoothed", smoothed),
    }
    facts = {
        "pareto_k": draws.pareto_k,
        "log_evidence": draws.log_evidence.value,
        "log_evidence_se": draws.log_evidence.se,
        "inference_library": "jensen",
    }
    return xarray.DataTree.from_dict(
        {
            "posterior": xarray.Dataset(named, at, {"inference_library": "jensen"}),
            "sample_stats": xarray.Dataset(stats, at, facts),
        }
    )
