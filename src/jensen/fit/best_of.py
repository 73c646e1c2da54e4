"""Restarts: the same fit from several random starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jensen.errors import InputError, NonFiniteError, check_key
from jensen.fit.data import Data
from jensen.fit.evaluate import evaluate
from jensen.fit.result import Fitted
from jensen.typing import PRNGKey


def best_of(
    make: Callable[..., Any],
    x: Any,
    *,
    restarts: int,
    by: Callable[..., Fitted],
    key: PRNGKey,
    **options: Any,
) -> Fitted:
    """Fit from several starts and keep the one with the highest bound on the training data.

    The restarts run one after another through one compiled program: only the first compiles. All are scored
    on all rows with the same noise. A restart that ends in ``NonFiniteError`` counts as minus infinity.

    Args:
        make: ``make(key)`` makes a start: a model for ``fit.em``, an inference for
            ``fit.gradient``.
        x: Rows, an array or ``fit.Data``.
        restarts: How many.
        by: ``fit.em`` or ``fit.gradient``.
        key: Randomness of starts and fits.
        **options: Passed on to ``by``.

    Returns:
        The best fit; its ``restarts`` holds the final bounds of all, nats per datum, best first.

    Raises:
        InputError: If ``restarts`` is not positive.
        NonFiniteError: If every restart failed.
    """
    if restarts < 1:
        raise InputError(f"best_of: restarts is {restarts}; it must be at least 1")
    check_key(key)
    data = Data.of(x)
    to_score, *keys = jax.random.split(key, restarts + 1)
    best: Fitted | None = None
    scores: list[float] = []
    problem: NonFiniteError | None = None
    for each in keys:
        to_start, to_fit = jax.random.split(each)
        try:
            fitted = by(make(to_start), data, key=to_fit, **options)
        except NonFiniteError as error:
            problem = error
            scores.append(-np.inf)
            continue
        score = float(np.average(evaluate(fitted.inference, data, key=to_score), weights=data.weights))
        if best is None or score > max(scores):
            best = fitted
        scores.append(score)
    if best is None:
        raise NonFiniteError(f"all {restarts} restarts failed; the last: {problem}")
    return dataclasses.replace(best, restarts=np.sort(np.array(scores))[::-1])
