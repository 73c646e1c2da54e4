"""A mean over data with its standard error, and how much work an evaluation may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jensen.errors import at_least, positive


class Estimate(NamedTuple):
    """A mean over data, in nats per datum.

    Attributes:
        value: The mean; NaN where there was nothing to average.
        se: Its standard error over data (the noise of the evaluation included); NaN for one datum.
    """

    value: float
    se: float

    @classmethod
    def mean(cls, values: np.ndarray, weight: np.ndarray | None = None) -> Estimate:
        """Average one value per datum.

        Args:
            values: (N,).
            weight: Row weights, (N,); ``None`` for equal ones.

        Example:
            >>> Estimate.mean(np.array([1.0, 3.0]))
            Estimate(value=2.0, se=1.0)
        """
        values = np.asarray(values, np.float64)
        n = len(values)
        if n == 0:
            return cls(math.nan, math.nan)
        w = np.ones(n) if weight is None else np.asarray(weight, np.float64)
        w = w / w.sum() if w.sum() > 0 else np.full(n, 1 / n)
        value = float(w @ values)
        if n == 1 or not np.isfinite(value):
            return cls(value, math.nan)
        return cls(value, float(np.sqrt(n / (n - 1) * (w**2 @ (values - value) ** 2))))

    def to_json(self) -> dict[str, float | None]:
        """Return the two numbers, ``None`` for what is not finite."""
        return {"value": finite(self.value), "se": finite(self.se)}

    def __str__(self) -> str:
        return f"{self.value:.3f}" + ("" if math.isnan(self.se) else f" ± {self.se:.3f}")


def finite(value: float | None) -> float | None:
    """Return the number, or ``None`` if it has no place in JSON."""
    return None if value is None or not math.isfinite(value) else float(value)


@dataclass(frozen=True)
class Effort:
    """How much work goes into an evaluation. The defaults take a few minutes on two cores for 100 images.

    Attributes:
        temperatures: Increments of annealed importance sampling.
        chains: Annealed chains per datum.
        leapfrog: Gradients per transition.
        pilot: Temperatures of the pilot run that tunes the transitions.
        particles: Particles per sequence.
        samples: Draws per datum for each ELBO, and for importance weighting.
        steps: Gradient steps towards the best member of the family, per start.
        draws: Draws per such step.
        learning_rate: Where Adam starts; it decays to zero.

    Raises:
        InputError: If a number is too small.
    """

    temperatures: int = 300
    chains: int = 16
    leapfrog: int = 4
    pilot: int = 60
    particles: int = 1000
    samples: int = 1000
    steps: int = 1000
    draws: int = 8
    learning_rate: float = 0.05

    def __post_init__(self):
        least = {
            "temperatures": 3,
            "chains": 1,
            "leapfrog": 1,
            "pilot": 3,
            "particles": 2,
            "samples": 2,
            "steps": 8,
            "draws": 2,
        }
        for name, low in least.items():
            at_least("Effort", low, **{name: getattr(self, name)})
        positive("Effort", learning_rate=self.learning_rate)
