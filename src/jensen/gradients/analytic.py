"""The exact gradient of an exact evidence."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractGradient,
    AbstractInference,
    Datum,
    Estimate,
    HasCoordinateAscent,
    HasExactEvidence,
    HoldsFactors,
    MeanOverDraws,
    Verdict,
)
from jensen.dist import kl_divergence, stop
from jensen.typing import Array, Int, PRNGKey, PyTree


class Analytic(AbstractGradient):
    """Differentiate log p(x | c) itself: no draws, no noise.

    The partner of ``posteriors.Exact`` for models whose latents sum or integrate out; and of
    ``posteriors.Conjugate``, whose mean-field bound has a closed form.
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
        if isinstance(inference.posterior, HoldsFactors):
            return _mean_field(inference, datum, num_data)
        evidence = inference.model.log_evidence(datum)
        if datum.burn_in is not None:  # log p(scored | burnt in)
            burnt = Datum(datum.x, datum.cond, datum.index, datum.mask, datum.burn_in)
            evidence = evidence - inference.model.log_evidence(burnt)
        return Estimate(-evidence, stop(evidence))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand an exact evidence, the exact posterior, and the plain bound."""
        name = type(inference.model).__name__
        if isinstance(inference.posterior, HoldsFactors) and isinstance(inference.model, HasCoordinateAscent):
            return _plain(inference)
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
        return _plain(inference)


def _plain(inference: AbstractInference) -> Verdict:
    if not isinstance(inference.objective, MeanOverDraws) or not inference.objective.plain:
        return Verdict(
            "refused",
            "Analytic climbs log p(x) itself; use the plain objectives.ELBO(), or another gradient",
        )
    return Verdict("exact")


def _mean_field(inference: AbstractInference, datum: Datum, num_data: Any) -> Estimate:
    """Return the mean-field bound, of which one datum carries its share of KL(q(θ) ‖ p(θ))."""
    model, q = inference.model, inference.posterior.factors
    kl = kl_divergence(q, model.prior_of(datum.cond), None)
    assert kl is not None  # the prior is conjugate
    bound = model.local_bound(q, datum) - kl.sum() * inference.share(num_data)
    return Estimate(-bound, stop(bound))
