"""The second socket: posteriors q(z | x, c)."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx

from jensen.core.datum import Datum, End
from jensen.core.model import AbstractModel
from jensen.core.verdict import AbstractInference, Verdict
from jensen.dist import AbstractDistribution
from jensen.typing import Array, Float, PRNGKey


class AbstractPosterior(eqx.Module):
    """How the latents of one datum are inferred."""

    @abstractmethod
    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Return q(z | x, c). ``key`` serves posteriors that are random themselves."""

    @abstractmethod
    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the type of distribution that calling it gives."""

    @abstractmethod
    def rule(self, inference: AbstractInference) -> Verdict:
        """Judge the combination from the posterior's side."""


class PicksLaw(AbstractPosterior):
    """A posterior that picks, for each datum, a member of a family of laws by a vector of parameters."""

    @abstractmethod
    def family_given(self, model: Any, datum: Datum) -> Any:
        """Return the family; it may be made of the model's prior, or of its density at the datum."""

    @abstractmethod
    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Return the family's parameters for one datum."""


class HasFamily(PicksLaw):
    """A posterior that picks from one family, whatever the model."""

    family: eqx.AbstractVar[Any]

    def family_given(self, model: Any, datum: Datum) -> Any:
        """Return the family."""
        return self.family


class Refines(HasFamily):
    """A posterior that looks at the model to improve on the parameters it first had in mind."""

    @abstractmethod
    def refine(self, model: Any, datum: Datum, *, key: PRNGKey) -> Float[Array, "p"]:
        """Return the improved parameters for one datum."""


class CarriesOn(AbstractPosterior):
    """A posterior that looks back only, so that a window can go on where the one before it ended.

    Its law's draws leave a ``dist.Walk``, and the law keeps the posterior's own ``memory`` at its last step.
    """

    @abstractmethod
    def onset(self, model: Any) -> End:
        """Return what comes before the first step of a sequence."""


class SharesLatent(AbstractPosterior):
    """A posterior over one z behind the whole data set: its prior and entropy count once, not per datum."""


class StartsFromModel(AbstractPosterior):
    """A posterior that can choose a start by looking at the model, once it has seen the data."""

    initialized: eqx.AbstractVar[bool]

    @abstractmethod
    def start_from(self, model: Any, rows: Datum, *, key: PRNGKey) -> "StartsFromModel":
        """Return a copy that starts near the model's posterior. Host code; rows are numpy arrays."""


class IndexesData(AbstractPosterior):
    """A posterior that holds one set of parameters per training datum and cannot speak of new data."""

    num_data: eqx.AbstractVar[int]
