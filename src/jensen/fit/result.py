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

    def __repr__(self) -> str:
        return f"History({len(self.step):,} steps, {len(self.validation):,} validations)"


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

    def __repr__(self) -> str:
        """Sum the fit up in at most five lines; the numbers themselves are in ``history``."""
        four = (
            self.inference.model,
            self.inference.posterior,
            self.inference.objective,
            self.inference.gradient,
        )
        history = self.history
        steps = int(history.step[-1]) if len(history.step) else 0
        lines = [
            "Fitted: " + " × ".join(type(member).__name__ for member in four),
            f"stopped: {self.stop_reason}",
            f"steps: {steps:,} in {history.seconds:.1f} s",
        ]
        if len(history.bound):
            lines.append(f"last bound: {history.bound[-1]:.3f} nats per datum")
            if len(history.validation):
                lines[-1] += f"; best on validation rows: {np.max(history.validation):.3f}"
        if len(self.restarts):
            low, high = np.min(self.restarts), np.max(self.restarts)
            lines.append(f"restarts: {len(self.restarts)}, final bounds from {low:.3f} to {high:.3f}")
        return "\n".join(lines)

    @property
    def model(self) -> Any:
        """The fitted model."""
        return self.inference.model

    def save(self, folder: Any) -> None:
        """Save to a run directory; see ``fit.save``."""
        from jensen.fit.run import save

        save(self, folder)
