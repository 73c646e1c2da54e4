"""Are ranks uniform? Simultaneous bands and p-values for their empirical distribution. Host code, numpy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jensen.typing import Float, Int

SIMULATED = 10_000
"""Least number of uniform samples that p-values are read off."""


class Uniformity(NamedTuple):
    """How far columns of ranks are from uniform.

    Attributes:
        p_values: Chance that uniform ranks leave their pointwise intervals as far as these, one per column.
        lower: Lower side of the band for ECDF(u) − u at u = 1/(L+1), …, L/(L+1).
        upper: Its upper side. A column of uniform ranks stays inside everywhere with probability 1 − level.
    """

    p_values: Float[np.ndarray, "q"]
    lower: Float[np.ndarray, "l"]
    upper: Float[np.ndarray, "l"]


def uniformity(
    ranks: Int[np.ndarray, "n q"], most: int, level: float, *, rng: np.random.Generator
) -> Uniformity:
    """Test columns of independent ranks 0..L for uniformity.

    At each u = i/(L+1) the number of ranks below i is Binomial(N, u); the test statistic is the smallest
    two-sided tail probability over all u; its law under uniformity is simulated. Unlike the
    Kolmogorov–Smirnov distance it looks at the ends, where too narrow posteriors show, as hard as elsewhere.

    Args:
        ranks: N simulations of Q quantities.
        most: L, the largest rank there can be.
        level: Chance that the band loses a uniform column.
        rng: Randomness of the simulation.

    References:
        Säilynoja, Bürkner & Vehtari 2022, Graphical test for discrete uniformity.
    """
    n, q = ranks.shape
    tails = _tails(n, most)
    at = np.arange(most)
    num = max(SIMULATED, int(np.ceil(20 * q / level)) if level > 0 else 0)
    cells = np.full(most + 1, 1 / (most + 1))
    null = np.concatenate(
        [
            tails[at, rng.multinomial(n, cells, size=size).cumsum(1)[:, :-1]].min(1)
            for size in _parts(num, 5_000)
        ]
    )
    seen = np.array([tails[at, ecdf_counts(column, most)].min() for column in ranks.T])
    # simulated statistics are sorted once; ties count against uniformity being doubted
    below = np.searchsorted(np.sort(null), seen * (1 + 1e-12), side="right")
    inside = tails >= np.quantile(null, level, method="lower")
    counts = np.arange(n + 1)
    low = np.where(inside, counts, n).min(1) / n
    high = np.where(inside, counts, 0).max(1) / n
    u = (at + 1) / (most + 1)
    return Uniformity((below + 1) / (num + 1), low - u, high - u)


def ecdf_counts(ranks: Int[np.ndarray, "n"], most: int) -> Int[np.ndarray, "l"]:
    """Return how many ranks lie below 1, …, L."""
    return np.bincount(ranks, minlength=most + 1).cumsum()[:-1]


def _tails(n: int, most: int) -> Float[np.ndarray, "l m"]:
    """Return min(1, 2·min(P(X ≤ c), P(X ≥ c))) of X ~ Binomial(N, i/(L+1)), i = 1..L, c = 0..N."""
    from scipy.stats import binom

    u = np.arange(1, most + 1)[:, None] / (most + 1)
    c = np.arange(n + 1)
    return np.minimum(1.0, 2 * np.minimum(binom.cdf(c, n, u), binom.sf(c - 1, n, u)))


def _parts(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]
