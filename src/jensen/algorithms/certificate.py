"""A finite-sample interval for a data set's mean log-evidence, from unbiased estimates alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jensen.errors import InputError
from jensen.typing import ArrayLike


class Interval(NamedTuple):
    """Two numbers that hold the truth between them with at least ``confidence``.

    Attributes:
        lower: Lower end, nats per datum.
        upper: Upper end, nats per datum.
        confidence: Probability of holding the truth, at least; in (0, 1).
    """

    lower: float
    upper: float
    confidence: float

    @property
    def width(self) -> float:
        """Upper minus lower end, in nats."""
        return self.upper - self.lower


def interval(
    lower_logs: ArrayLike | Sequence[float], upper_logs: ArrayLike | Sequence[float], confidence: float = 0.95
) -> Interval:
    """Certify the mean of log p(x_i) over a data set.

    Let p̂_i be independent with E p̂_i = p(x_i), and r_i independent with E r_i = 1/p(x_i). Then
    E ∏ p̂_i/p(x_i) = 1, so by Markov's inequality ∏ p̂_i/p(x_i) ≥ 2/α has probability at most α/2; likewise
    for the r_i. With L_i = log p̂_i and U_i = −log r_i, with probability at least 1 − α,

        mean(L) − log(2/α)/N  ≤  mean(log p(x_i))  ≤  mean(U) + log(2/α)/N.

    Nothing is assumed about tails or variances; at 95% the allowance is 3.69/N. It does need *independence
    across data*: noise shared between data makes the product biased and the statement false. The two sides
    may depend on each other. A longer list than N data (several estimates each) is a mistake: average the
    estimates of one datum first, in the exponential.

    Args:
        lower_logs: L_i, one per datum, in nats; −∞ is allowed and makes the lower side vacuous.
        upper_logs: U_i, one per datum, in nats; +∞ is allowed and makes the upper side vacuous.
        confidence: 1 − α, in (0, 1).

    Returns:
        The interval, in nats per datum.

    Raises:
        InputError: If the lists differ in length, are empty or hold NaN, or the confidence is out of range.

    Source:
        Grosse, Ancha and Roy (2016), Measuring the reliability of MCMC inference with bidirectional Monte
        Carlo.

    Example:
        >>> low, high, _ = interval([-1.0] * 100, [-0.9] * 100)
        >>> print(f"{low:.3f} {high:.3f}")
        -1.037 -0.863
    """
    lower = np.asarray(lower_logs, np.float64).ravel()
    upper = np.asarray(upper_logs, np.float64).ravel()
    if lower.size != upper.size or lower.size == 0:
        raise InputError(
            f"interval needs one lower and one upper per datum; got {lower.size} and {upper.size}"
        )
    if np.isnan(lower).any() or np.isnan(upper).any():
        raise InputError("interval was given NaN; an estimate that failed is -inf below and +inf above")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie strictly between 0 and 1; got {confidence}")
    allowance = math.log(2.0 / (1.0 - confidence)) / lower.size
    return Interval(float(lower.mean() - allowance), float(upper.mean() + allowance), confidence)
