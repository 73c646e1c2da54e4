"""The posterior of parameters with a conjugate prior."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractInference,
    AbstractModel,
    Datum,
    HasCoordinateAscent,
    HoldsFactors,
    LogMeanOfWeights,
    Verdict,
)
from jensen.dist import Factors
from jensen.errors import check_made
from jensen.nets import Fixed
from jensen.typing import PRNGKey


class Conjugate(HoldsFactors, Fixed):
    """q(θ) in the family of the model's own prior, as ``fit.em`` finds it by coordinate ascent.

    θ is behind all data: its KL counts once, so each of N data answers for 1/N of it. Gradients do not move
    it. Use ``model.local(posterior.factors, datum)`` for q(z_i) of one datum.

    Args:
        factors: q(θ): what ``fit.em`` gave, or ``model.prior_of(None)``.

    Raises:
        InputError: If they are something else.
    """

    factors: Factors

    def __check_init__(self):
        check_made("Conjugate", "factors", self.factors, Factors, "model.prior_of(None)")

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> Factors:
        """Return the one law."""
        return self.factors

    def law(self, model: AbstractModel) -> type[Factors]:
        """Return the type of the law."""
        return Factors

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a conjugate model, with factors of its own names, and a bound that adds over data."""
        name, objective = type(inference.model).__name__, inference.objective
        if not isinstance(inference.model, HasCoordinateAscent):
            return Verdict("refused", f"Conjugate: {name} has no conjugate prior; use Global or Amortized")
        prior: Any = inference.model.prior_of(None)
        wanted, found = sorted(prior.laws), sorted(self.factors.laws)
        if wanted != found:
            return Verdict(
                "refused",
                f"Conjugate: {name} has factors {wanted}, q has {found}; use "
                "posteriors.Conjugate(model.prior_of(None)), or what fit.em gives",
            )
        if type(inference.gradient).__name__ != "Analytic":
            return Verdict(
                "refused",
                "Conjugate: coordinate ascent (fit.em) moves q, gradients do not; use gradients.Analytic(), "
                "which evaluates the bound in closed form",
            )
        if isinstance(objective, LogMeanOfWeights):
            bound = type(objective).__name__
            return Verdict(
                "refused", f"{bound} with Conjugate: not additive over data that share θ; use ELBO"
            )
        return Verdict("exact")
