"""What a fit returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jensen.core import Inference


@dataclass(frozen=True)
class History:
    """The course of a fit, in nats per datum.

    Attributes:
        step: Number of each gradient or EM step recorded.
        bound: The objective's plain bound at those steps, on the minibatch (gradient) or all data (EM).
        validation_step: Steps at which the validation bound was taken.
        validation: The bound on held-out data.
        events: What happened besides: rollbacks, halved learning rates, floors that became active.
        seconds: Wall time of the fit.
        chunk: Steps per compiled chunk.
    """

    step: np.ndarray
    bound: np.ndarray
    validation_step: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    validation: np.ndarray = field(default_factory=lambda: np.zeros(0))
    events: tuple[str, ...] = ()
    seconds: float = 0.0
    chunk: int = 1


@dataclass(frozen=True)
class Fitted:
    """A fitted inference, how it got there, and why it stopped.

    Attributes:
        inference: The four choices with their fitted parameters.
        history: The course of the fit.
        stop_reason: ``"epochs"``, ``"steps"``, ``"converged"``, ``"patience"``, ...
        restarts: Final bounds of all restarts, nats per datum, best first; empty for a single fit.
        meta: Facts for the report and the run directory (data shape, options); JSON-ready.
    """

    inference: Inference
    history: History
    stop_reason: str
    restarts: np.ndarray = field(default_factory=lambda: np.zeros(0))
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The fitted model."""
        return self.inference.model

    def save(self, folder: Any) -> None:
        """Save to a run directory; see ``fit.save``."""
        from jensen.fit.run import save

        save(self, folder)
