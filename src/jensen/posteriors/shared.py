"""One posterior for a latent behind the whole data set."""

from __future__ import annotations

from jensen.core import (
    AbstractInference,
    AbstractLatentModel,
    AbstractModel,
    Datum,
    HasFamily,
    LogMeanOfWeights,
    SharesLatent,
    Verdict,
)
from jensen.dist import AbstractDistribution
from jensen.errors import check_key
from jensen.families import AbstractFamily
from jensen.posteriors.rules import family_matches_prior
from jensen.typing import Array, Float, PRNGKey


class Global(HasFamily, SharesLatent):
    """q(z) for one z behind all data: its KL counts once, so each of N data answers for 1/N of it.

    The per-datum bound is E_q[log p(x_i | z)] − KL(q ‖ p)/N; summed over the data it is the bound on
    log p(x_1, …, x_N).

    Args:
        family: Which laws q may be.
        key: Unused by families with a fixed start; kept so that every posterior is made alike.
    """

    family: AbstractFamily
    params: Float[Array, "p"]

    def __init__(self, family: AbstractFamily, *, key: PRNGKey):
        check_key(key)
        self.family = family
        self.params = family.initial_params()

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Return the one set of parameters."""
        return self.params

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the one law."""
        return self.family(self.params)

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse bounds that do not add over data while z is shared by all of them."""
        if isinstance(inference.objective, LogMeanOfWeights) and isinstance(
            inference.model, AbstractLatentModel
        ):
            name = type(inference.objective).__name__
            return Verdict(
                "refused",
                f"{name} with Global: not additive over data that share one z; use ELBO",
            )
        return family_matches_prior(self.family, inference.model)
