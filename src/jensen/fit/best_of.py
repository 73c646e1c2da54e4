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
from jensen.fit.gradient import gradient, ready
from jensen.fit.lockstep import are_alike, climb_together, is_tiny
from jensen.fit.plans import AbstractBatches
from jensen.fit.result import Fitted
from jensen.typing import PRNGKey

SCORED = 64
"""Evaluations that a score averages at least: of few data each is taken several times."""


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

    Tiny gradient fits (parameters × rows up to 50,000, every row in every step) run side by side; others one
    after another through one compiled program, of which only the first compiles. All are scored on all rows
    with the same noise. A restart that ends in ``NonFiniteError`` counts as minus infinity.

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
    pairs = [jax.random.split(each) for each in keys]
    done = _side_by_side(make, pairs, data, options) if by is gradient else [None] * restarts
    repeats = max(1, SCORED // data.num_data)
    batches = options.get("batches")
    scored = batches.drawn(data, key=to_score) if isinstance(batches, AbstractBatches) else data
    best: Fitted | None = None
    scores: list[float] = []
    problem: NonFiniteError | None = None
    for (to_start, to_fit), fitted in zip(pairs, done, strict=True):
        try:
            fitted = fitted or by(make(to_start), data, key=to_fit, **options)
        except NonFiniteError as error:
            problem = error
            scores.append(-np.inf)
            continue
        each = evaluate(fitted.inference, scored, key=to_score, repeats=repeats)
        score = float(np.average(each, weights=data.weights))
        if best is None or score > max(scores):
            best = fitted
        scores.append(score)
    if best is None:
        raise NonFiniteError(f"all {restarts} restarts failed; the last: {problem}")
    return dataclasses.replace(best, restarts=np.sort(np.array(scores))[::-1])


def _side_by_side(
    make: Callable[..., Any], pairs: list[Any], data: Data, options: dict[str, Any]
) -> list[Fitted | None]:
    """Run tiny fits side by side; ``None`` for those that have to be run alone."""
    alone: list[Fitted | None] = [None] * len(pairs)
    if len(pairs) < 2 or options.get("run") is not None:
        return alone
    (to_start, to_fit), *others = pairs
    begins = [ready(make(to_start), data, key=to_fit, **options)]
    if not is_tiny(begins[0]):
        return alone
    begins += [ready(make(to_start), data, key=to_fit, **options) for to_start, to_fit in others]
    return climb_together(begins) if are_alike(begins) else alone
