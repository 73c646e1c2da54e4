"""Statistics of behaviour: rates, entropies and divergences over modes, robust means over runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jensen.errors import InputError


class Interval(NamedTuple):
    """A number with the interval it lies in.

    Attributes:
        value: The estimate.
        lower: Lower end.
        upper: Upper end.
    """

    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        return f"{_short(self.value)} [{_short(self.lower)}, {_short(self.upper)}]"


def _short(value: float) -> str:
    """Return three digits, or all before the point."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e9 else f"{value:.3g}"


def wilson(successes: int, trials: int, *, confidence: float = 0.95) -> Interval:
    r"""Return a rate with its Wilson score interval, which keeps its level near 0 and 1 (Wilson 1927).

    The ends are (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), z the normal quantile.

    Args:
        successes: How often it went well.
        trials: Out of how many.
        confidence: Level of the interval.

    Raises:
        InputError: No trial, or more successes than trials.

    Example:
        >>> print(wilson(8, 10))
        0.8 [0.49, 0.943]
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"wilson: {successes} successes of {trials} trials")
    from scipy.stats import norm

    z = float(norm.ppf(0.5 + confidence / 2))
    p = successes / trials
    middle = p + z**2 / (2 * trials)
    half = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    low, high = (middle - half) / scale, (middle + half) / scale
    return Interval(p, 0.0 if successes == 0 else float(low), 1.0 if successes == trials else float(high))


def entropy(counts: Mapping[str, int] | Sequence[int]) -> float:
    """Return −Σ p log p of the frequencies, in nats; 0 of nothing.

    Example:
        >>> round(entropy({"left": 5, "right": 5}), 4)
        0.6931
    """
    values = counts.values() if isinstance(counts, Mapping) else counts
    p = np.array([count for count in values if count > 0], np.float64)
    p = p / p.sum() if len(p) else p
    return float(-(p * np.log(p)).sum()) + 0.0


def divergence(
    reference: Mapping[str, float | int], counts: Mapping[str, int], *, smoothing: float = 0.5
) -> float:
    r"""Return KL(reference ‖ behaviour) over modes, in nats, the behaviour's frequencies smoothed.

    Σ_m r_m log(r_m / b_m) with b_m = (n_m + α) / Σ (n + α): a mode that was never taken costs much, not
    infinitely much.

    Args:
        reference: Share of each mode among the demonstrations.
        counts: How often the policy took each.
        smoothing: α, added to each count.

    Raises:
        InputError: No mode has a share.

    Example:
        >>> round(divergence({"left": 0.5, "right": 0.5}, {"left": 9, "right": 0}), 4)
        0.8304
    """
    names = sorted({*reference, *counts})
    r = np.array([reference.get(name, 0.0) for name in names], np.float64)
    if not r.sum() > 0:
        raise InputError("divergence: no mode has a share among the demonstrations")
    b = np.array([counts.get(name, 0) for name in names], np.float64) + smoothing
    r, b = r / r.sum(), b / b.sum()
    taken = r > 0
    with np.errstate(divide="ignore"):
        return float((r[taken] * np.log(r[taken] / b[taken])).sum())


def interquartile_mean(scores: Any) -> float:
    """Return the mean of the middle half of all scores (Agarwal et al. 2021).

    A quarter of the scores, rounded down, is left out at each end.

    Args:
        scores: Any shape; runs and tasks are pooled.

    Raises:
        InputError: No scores, or NaN among them.

    Example:
        >>> interquartile_mean([0.0, 1.0, 2.0, 100.0])
        1.5
    """
    flat = np.sort(_numbers("interquartile_mean", np.ravel(scores)))
    cut = len(flat) // 4
    return float(flat[cut : len(flat) - cut].mean())


def bootstrap(
    scores: Any,
    statistic: Callable[[Any], float] = interquartile_mean,
    *,
    seed: int = 0,
    draws: int = 2_000,
    confidence: float = 0.95,
) -> Interval:
    """Return a statistic with its stratified bootstrap interval (Agarwal et al. 2021).

    Runs are drawn again with replacement, for each task by itself; the interval holds the middle share of the
    statistic over the draws.

    Args:
        scores: (runs,) of one task, an array (runs, tasks), or a list that holds the runs of each task.
        statistic: A function of all scores.
        seed: Randomness of the draws.
        draws: How many.
        confidence: Level of the interval.

    Raises:
        InputError: No scores, or NaN among them.

    Example:
        >>> bootstrap([0.5, 0.5, 0.5])
        Interval(value=0.5, lower=0.5, upper=0.5)
    """
    tasks = _tasks(scores)
    rng = np.random.default_rng(seed)
    found = np.array(
        [statistic(np.concatenate([rng.choice(task, len(task)) for task in tasks])) for _ in range(draws)]
    )
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(statistic(np.concatenate(tasks)), float(low), float(high))


def _tasks(scores: Any) -> list[Float[np.ndarray, "_"]]:
    if isinstance(scores, list | tuple) and len(scores) and np.ndim(scores[0]) == 1:
        tasks = [np.asarray(task, np.float64) for task in scores]
    else:
        table = np.asarray(scores, np.float64)
        tasks = (
            [table] if table.ndim == 1 else list(table.reshape(len(table), int(np.prod(table.shape[1:]))).T)
        )
    if not tasks:
        raise InputError("bootstrap: no scores")
    return [_numbers("bootstrap", task) for task in tasks]


def _numbers(name: str, scores: Any) -> Float[np.ndarray, "_"]:
    numbers = np.asarray(scores, np.float64)
    if not len(numbers):
        raise InputError(f"{name}: no scores")
    if np.isnan(numbers).any():
        run = int(np.argmax(np.isnan(numbers)))
        raise InputError(f"{name}: the score of run {run} is NaN; say what a run that failed is worth")
    return numbers
