"""The exact posterior of a model that has one."""

from __future__ import annotations

from typing import Any

from jensen.core import (
    AbstractInference,
    AbstractModel,
    AbstractPosterior,
    Datum,
    HasCoordinateAscent,
    HasExactEvidence,
    HasExactPosterior,
    HasRecurrence,
    HoldsData,
    Verdict,
)
from jensen.dist import AbstractDistribution, Empty
from jensen.typing import PRNGKey


class Exact(AbstractPosterior):
    """q(z | x, c) = p(z | x, c): the bound is tight.

    For models without latents, the law of nothing.
    """

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Ask the model for its posterior."""
        return model.posterior(datum) if isinstance(model, HasExactPosterior) else Empty()

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the type of the model's posterior."""
        return model.posterior_law if isinstance(model, HasExactPosterior) else Empty

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse models that have neither an exact posterior nor an exact evidence."""
        if isinstance(inference.model, HasExactPosterior | HasExactEvidence):
            return Verdict("exact")
        name = type(inference.model).__name__
        instead = "Amortized or PerDatum"
        if isinstance(inference.model, HasRecurrence):
            instead = "Smoothing or Filtering"
        if isinstance(inference.model, HoldsData):
            instead = "Global"
        if isinstance(inference.model, HasCoordinateAscent):
            instead = "Conjugate, as fit.em does"
        return Verdict("refused", f"Exact: {name} has no exact posterior; use {instead}")
