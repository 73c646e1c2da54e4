"""The exact gradient of an exact evidence."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractGradient,
    AbstractInference,
    Datum,
    Estimate,
    HasExactEvidence,
    MeanOverDraws,
    Verdict,
)
from jensen.dist import stop
from jensen.typing import Array, Int, PRNGKey, PyTree


class Analytic(AbstractGradient):
    """Differentiate log p(x | c) itself: no draws, no noise.

    The partner of ``posteriors.Exact`` for models whose latents sum or integrate out.
    """

    def init(self, inference: AbstractInference) -> None:
        """No memory."""

    def __call__(
        self,
        inference: AbstractInference,
        datum: Datum,
        *,
        key: PRNGKey,
        step: Int[Array, ""],
        num_data: Any,
        state: PyTree,
    ) -> Estimate:
        """Evaluate for one datum."""
        evidence = inference.model.log_evidence(datum)
        if datum.burn_in is not None:  # log p(scored | burnt in)
            burnt = Datum(datum.x, datum.cond, datum.index, datum.mask, datum.burn_in)
            evidence = evidence - inference.model.log_evidence(burnt)
        return Estimate(-evidence, stop(evidence))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand an exact evidence, the exact posterior, and the plain bound."""
        name = type(inference.model).__name__
        if not isinstance(inference.model, HasExactEvidence):
            return Verdict(
                "refused", f"Analytic: {name} has no exact evidence; use Reparam, Enumerate or ScoreFunction"
            )
        posterior = type(inference.posterior).__name__
        if posterior != "Exact":
            return Verdict(
                "refused",
                f"Analytic ignores the {posterior} posterior; use posteriors.Exact(), or another gradient",
            )
        if not isinstance(inference.objective, MeanOverDraws) or not inference.objective.plain:
            return Verdict(
                "refused",
                "Analytic climbs log p(x) itself; use the plain objectives.ELBO(), or another gradient",
            )
        return Verdict("exact")
