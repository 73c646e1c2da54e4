"""The third socket: objectives, what is climbed."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx

from jensen.core.datum import Datum
from jensen.core.terms import Losses, Terms
from jensen.core.verdict import AbstractInference, Verdict
from jensen.dist import AbstractDistribution
from jensen.typing import Array, Int, PRNGKey, Scalar


class AbstractObjective(eqx.Module):
    """A bound on log p(x), and the losses whose descent climbs it."""

    num_samples: eqx.AbstractVar[int]

    @abstractmethod
    def draw(self, model: Any, q: AbstractDistribution, datum: Datum, *, key: PRNGKey, share: Any) -> Terms:
        """Make the draws, stacked on a leading axis: independent, or with resampling inside."""

    @abstractmethod
    def bound(self, terms: Terms) -> Scalar:
        """Return the plain bound in nats (β = 1, no free bits): what is reported."""

    @abstractmethod
    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return what the model and the posterior descend at this step."""

    @abstractmethod
    def rule(self, inference: AbstractInference) -> Verdict:
        """Judge the combination from the objective's side."""


class MeanOverDraws(AbstractObjective):
    """Trait: bound and loss are averages over draws of a per-draw quantity."""

    closed_form_kl: eqx.AbstractVar[str]

    @property
    @abstractmethod
    def linear(self) -> bool:
        """Whether the loss is linear in each draw's log-densities: then zero-mean scores may go."""

    @property
    @abstractmethod
    def plain(self) -> bool:
        """Whether the loss is the negative bound itself: no β, free bits or balance."""


class LogMeanOfWeights(AbstractObjective):
    """Trait: the bound is log (1/K) Σ wₖ over independent draws."""


class HasBatchTerm(AbstractObjective):
    """An objective that may have a term across data (batch-mean free bits, β-TC, MMD)."""

    @property
    @abstractmethod
    def couples_data(self) -> bool:
        """Whether the term is there as configured."""

    @abstractmethod
    def batch_term(self, terms: Terms, q: Any, step: Int[Array, ""], num_data: Any) -> Scalar:
        """Return the term to add to the mean loss.

        Args:
            terms: Terms of the batch, axes (batch, draws, ...).
            q: The batch's posteriors, stacked.
            step: Number of the gradient step.
            num_data: Size of the data set.
        """
