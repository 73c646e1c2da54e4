"""What a gap report holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.diagnose.estimate import Estimate, finite
from jensen.diagnose.evidence import Evidence
from jensen.diagnose.simulated import Bracket
from jensen.diagnose.table import gap_table

UNITS = "nats per datum"


@dataclass(frozen=True)
class Gap:
    """The decomposition log p(x) = elbo + amortization + approximation. All terms use the same rows.

    Attributes:
        log_evidence: log p(x), with both sides labelled.
        elbo: The plain bound (β = 1, one draw inside the logarithm), whatever was trained.
        approximation: log p(x) − L[q*], the family's loss; q* is its best member for each row.
        amortization: L[q*] − L[q], the inference network's loss.
        total: log p(x) − L[q] = KL(q ‖ p(z|x)).
        training_bound: The objective's own bound where it is another one (IWAE), else ``None``.
        simulated: Certified interval on data simulated from the model; ``None`` where it cannot be had.
        per_datum: ``log_evidence``, ``elbo``, ``best_elbo``, ``approximation``, ``amortization``, ``total``,
            ``converged``, ``index`` and the evidence's own columns, one entry per row looked at.
        flags: One line for each thing a reader must know before trusting the numbers.
        num_data: Rows averaged over.
        split: ``"train"``, ``"test"``, ...
        units: Always nats per datum; a sequence is one datum.
        mean_steps: Mean number of real steps of a sequence; ``None`` where data are no sequences.
        causality: L[q_smoothing] − L[q], what a q that sees the past only loses to the smoothing one it was
            compared with: a part of ``total``, not amortization. ``None`` without one.
    """

    log_evidence: Evidence
    elbo: Estimate
    approximation: Estimate
    amortization: Estimate
    total: Estimate
    training_bound: Estimate | None
    simulated: Bracket | None
    per_datum: dict[str, np.ndarray]
    flags: tuple[str, ...]
    num_data: int
    split: str
    units: str = UNITS
    mean_steps: float | None = None
    causality: Estimate | None = None

    @property
    def per_step(self) -> dict[str, float] | None:
        """The same terms in nats per real step, total nats over total steps; ``None`` without steps."""
        if not self.mean_steps:
            return None
        names = ("log_evidence", "elbo", "approximation", "amortization", "total")
        terms = {name: getattr(self, name).value for name in names}
        if self.causality is not None:
            terms["causality"] = self.causality.value
        return {name: value / self.mean_steps for name, value in terms.items()}

    def to_json(self) -> dict[str, Any]:
        """Return what ``gap.json`` holds; what is not known is ``None``."""
        terms = {
            name: getattr(self, name).to_json() for name in ("elbo", "approximation", "amortization", "total")
        }
        each = self.per_step
        steps = {} if each is None else {
            "per_step": {name: finite(value) for name, value in each.items()}, "mean_steps": self.mean_steps
        }  # fmt: skip
        return {
            "log_evidence": self.log_evidence.to_json(),
            **terms,
            "simulated": None if self.simulated is None else self.simulated.to_json(),
            "units": self.units,
            "num_data": self.num_data,
            "split": self.split,
            **steps,
            **({} if self.causality is None else {"causality": self.causality.to_json()}),
        }

    def __str__(self) -> str:
        return gap_table(self)
