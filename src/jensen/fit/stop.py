"""When to stop before the last step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jensen.errors import InputError


class Seen(NamedTuple):
    """What a stopping rule may look at.

    Attributes:
        bounds: The bound at every step so far, nats per datum.
        validation: All validation bounds so far, the latest last.
        fresh: Whether the last validation bound is new.
    """

    bounds: np.ndarray
    validation: np.ndarray
    fresh: bool


class AbstractStop(ABC):
    """A rule that looks at the course of a fit and may end it. It has no memory of its own."""

    needs_validation: bool = False

    @abstractmethod
    def reason(self, seen: Seen) -> str | None:
        """Return why to stop now, or None."""


@dataclass(frozen=True)
class Patience(AbstractStop):
    """Stop after ``rounds`` validations without a new best; the best parameters are returned.

    Args:
        rounds: Validations to wait for an improvement.
        min_delta: Nats per datum that count as an improvement.

    Raises:
        InputError: If ``rounds`` is not positive or ``min_delta`` negative.

    Example:
        >>> Patience(2).reason(Seen(np.zeros(0), np.array([-3.0, -2.0, -2.5, -2.4]), True))
        'patience'
    """

    rounds: int = 10
    min_delta: float = 0.0
    needs_validation = True

    def __post_init__(self):
        if self.rounds < 1:
            raise InputError(f"Patience: {self.rounds} rounds; it must be at least 1")
        if not self.min_delta >= 0:
            raise InputError(f"Patience: min_delta is {self.min_delta}; it must be 0 or more nats")

    def reason(self, seen: Seen) -> str | None:
        """Count validations since the last that beat all before it by ``min_delta``."""
        best, since = -np.inf, 0
        for value in seen.validation:
            better = value > best + self.min_delta
            best, since = (value, 0) if better else (best, since + 1)
        return "patience" if since >= self.rounds else None


@dataclass(frozen=True)
class Converged(AbstractStop):
    """Stop when the mean bound over a window of steps beats that of the window before by too little.

    Args:
        tolerance: Nats per datum.
        window: Steps per window; take it long enough to average the minibatch noise away.

    Raises:
        InputError: If ``window`` is not positive or ``tolerance`` negative.

    Example:
        >>> Converged(1e-3, window=2).reason(Seen(np.array([-5.0, -4.0, -4.0, -5.0]), np.zeros(0), False))
        'converged'
    """

    tolerance: float = 1e-3
    window: int = 1_000

    def __post_init__(self):
        if self.window < 1:
            raise InputError(f"Converged: window is {self.window} steps; it must be at least 1")
        if not self.tolerance >= 0:
            raise InputError(f"Converged: tolerance is {self.tolerance}; it must be 0 or more nats")

    def reason(self, seen: Seen) -> str | None:
        """Compare the last two windows."""
        if len(seen.bounds) < 2 * self.window:
            return None
        earlier = seen.bounds[-2 * self.window : -self.window].mean()
        return "converged" if seen.bounds[-self.window :].mean() - earlier < self.tolerance else None


@dataclass(frozen=True)
class Settled(AbstractStop):
    """Stop when the mean bound over a window of steps beats that of the window before by no more than noise.

    The noise is that of the difference of two window means, taken from differences of neighbouring steps, so
    that a trend does not pass for noise. Noise that lasts longer than a step (Adam's own wandering) is not
    seen: the fit then goes on for longer.

    Args:
        window: Steps per window: the longer, the smaller the gain that is still told from noise.
        errors: Standard errors of the difference that count as a gain.

    Raises:
        InputError: If ``window`` is below 2 or ``errors`` negative.

    Example:
        >>> bounds = np.random.default_rng(0).normal(size=2_000)
        >>> Settled(1_000).reason(Seen(bounds, np.zeros(0), False))
        'settled'
        >>> Settled(1_000).reason(Seen(bounds + 0.01 * np.arange(2_000), np.zeros(0), False)) is None
        True
    """

    window: int = 1_000
    errors: float = 2.0

    def __post_init__(self):
        if self.window < 2:
            raise InputError(f"Settled: window is {self.window} steps; it must be at least 2")
        if not self.errors >= 0:
            raise InputError(f"Settled: errors is {self.errors}; it must be 0 or more")

    def reason(self, seen: Seen) -> str | None:
        """Compare the last two windows with what noise would do."""
        last = seen.bounds[-2 * self.window :].astype(np.float64)
        if len(last) < 2 * self.window:
            return None
        noise = np.sqrt((np.diff(last) ** 2).mean() / 2 * 2 / self.window)
        gain = last[self.window :].mean() - last[: self.window].mean()
        return "settled" if gain <= self.errors * noise else None
