"""The two ways to run the Kalman recursions: one step after another, or all at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jensen.algorithms import kalman, kalman_parallel


class Engine(NamedTuple):
    """A filter and a smoother that give the same moments as any other's, up to rounding.

    Attributes:
        filter: From a ``Chain`` and the number of real steps to ``Filtered``.
        smooth: From ``Filtered`` and the number of real steps to ``Smoothed``.
    """

    filter: Callable[..., kalman.Filtered]
    smooth: Callable[..., kalman.Smoothed]


ENGINES = {
    "serial": Engine(kalman.filter, kalman.smooth),
    "parallel": Engine(kalman_parallel.filter, kalman_parallel.smooth),
}
