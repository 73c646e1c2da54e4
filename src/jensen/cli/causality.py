"""What seeing the past only costs a run: a posterior that sees whole sequences, fitted to its model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax

from jensen.cli import training
from jensen.cli.data import Rows
from jensen.cli.runs import Job
from jensen.core import AbstractPosterior, Inference
from jensen.errors import InputError
from jensen.fit import Fitted


def check_filters(job: Job) -> None:
    """Refuse runs whose posterior looks ahead already, or that have none.

    Raises:
        InputError: The run's posterior does not filter.
    """
    kind = job.options.get("posterior", "an exact one")
    if not kind.startswith("filtering"):
        raise InputError(
            f"--smoothing says what it costs to see the past only, but the posterior of {job.folder} is "
            f"{kind}; leave it out"
        )


def smoothing(job: Job, rows: Rows, fitted: Fitted) -> AbstractPosterior:
    """Fit a smoothing posterior to a run's model, which stays as it is.

    It gets the run's own training data, widths, family, steps and stopping rule, and the plain ELBO.

    Args:
        job: The run.
        rows: Its data, divided as for the fit.
        fitted: Its model.
    """
    twin = replace(job, options=_options(job.options))
    prepared = training.prepare(twin, rows)
    made = prepared.inference
    start = Inference(fitted.inference.model, made.posterior, made.objective, made.gradient)
    key = jax.random.fold_in(training.keys(job)[1], 1)
    ahead = training.climb(
        twin, replace(prepared, inference=start), key=key, trainable=lambda inference: inference.posterior
    )
    return ahead.inference.posterior


def _options(own: dict[str, Any]) -> dict[str, Any]:
    through = "straight-through" if "components" in own else "reparam"
    plain = {"objective": "elbo", "num_samples": 1, "beta": 1.0, "free_bits": 0.0, "gradient": through}
    kept = {name: value for name, value in own.items() if name not in ("kl_balance", "windows")}
    return kept | plain | {"posterior": own["posterior"].replace("filtering", "smoothing")}
