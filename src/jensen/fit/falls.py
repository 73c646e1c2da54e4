"""Falls of the bound from which a fit did not come back."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jensen.errors import JensenWarning
from jensen.fit.result import History

WINDOW = 100
"""Steps whose median is where the bound stood."""

SUDDEN, BELOW = 100.0, 5.0
"""In typical differences between neighbouring steps: a fall within one step, and how much lower it ended."""


class Fall(NamedTuple):
    """A sudden fall that lasted.

    Attributes:
        step: The step at which the bound was lowest, counted from 1.
        before: Where it stood before, nats per datum.
        lowest: The bound at that step.
        after: Where it stood in the end.
    """

    step: int
    before: float
    lowest: float
    after: float

    def __str__(self) -> str:
        return (
            f"the bound fell from {self.before:.4g} to {self.lowest:.4g} nats at step {self.step:,} and was "
            f"{self.after:.4g} in the end: clip the gradients, optimizer=optax.chain("
            "optax.clip_by_global_norm(10.0), ...), or lower the learning rate"
        )


def lasting_fall(bound: Float[np.ndarray, "t"]) -> Fall | None:
    """Return the deepest sudden fall of a fit if it ended lower than it stood before, or None.

    A schedule that trades the bound for something else lowers it over many steps, and is no fall.

    Args:
        bound: The bound at every step, nats per datum.

    Example:
        >>> bound = np.random.default_rng(0).normal(-80.0, 1.0, 1_000)
        >>> lasting_fall(bound) is None
        True
        >>> bound[600:] -= 50.0
        >>> bound[600] = -1e9
        >>> lasting_fall(bound).step
        601
    """
    if len(bound) < 2 * WINDOW:
        return None
    b = np.asarray(bound, np.float64)
    change = np.diff(b)
    typical = float(np.median(np.abs(change)))
    sudden = np.flatnonzero(change < -SUDDEN * typical) + 1
    sudden = sudden[(sudden >= WINDOW) & (sudden < len(b) - WINDOW)]
    if len(sudden) == 0 or typical == 0:
        return None
    at = int(sudden[np.argmin(b[sudden])])
    before, after = float(np.median(b[at - WINDOW : at])), float(np.median(b[-WINDOW:]))
    if after >= before - BELOW * typical:
        return None
    return Fall(at + 1, before, float(b[at]), after)


def told(history: History) -> History:
    """Warn of a fall that lasted, and put it among the events."""
    fall = lasting_fall(history.bound)
    if fall is None:
        return history
    warnings.warn(str(fall), JensenWarning, stacklevel=4)
    return replace(history, events=(*history.events, str(fall)))
