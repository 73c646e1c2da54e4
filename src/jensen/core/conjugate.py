"""Models whose parameters have a conjugate prior, and the posterior that coordinate ascent gives them."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx

from jensen.core.datum import Datum
from jensen.core.model import AbstractLatentModel
from jensen.core.posterior import SharesLatent
from jensen.dist import AbstractDensity, AbstractDistribution
from jensen.typing import PRNGKey, PyTree, Scalar


class HasCoordinateAscent(AbstractLatentModel):
    """A model with parameters θ behind all data, latents z_i behind each, and closed-form steps for both.

    Mean-field q(θ) ∏ q(z_i): ``local_step`` sets every q(z_i) to its optimum given q(θ), ``global_step`` sets
    q(θ) to its optimum given those. Neither can lower the bound, and a fall is an error. Seen from the
    socket the latent is θ, and ``log_likelihood(θ, datum)`` has z_i summed out.
    """

    @abstractmethod
    def first_factors(self, rows: Datum, *, key: PRNGKey) -> AbstractDensity:
        """Return the q(θ) that ascent starts from. Host code; rows are numpy arrays."""

    @abstractmethod
    def local_step(self, q: Any, rows: Datum) -> PyTree:
        """Return weighted sums of expected sufficient statistics over a block of rows.

        The tree holds, under ``"bound"``, the weighted sum of E_q[log p(x, z | θ)] + H(q(z)), and under
        ``"weight"`` the sum of weights. Blocks add.
        """

    @abstractmethod
    def global_step(self, q: Any, statistics: PyTree) -> AbstractDensity:
        """Return the best q(θ) given what ``local_step`` of this very q summed over all rows."""

    @abstractmethod
    def local_bound(self, q: Any, datum: Datum) -> Scalar:
        """Return E_q[log p(x, z | θ)] + H(q(z)) of one datum at its best q(z), in nats."""

    @abstractmethod
    def local(self, q: Any, datum: Datum) -> AbstractDistribution:
        """Return q(z) of one datum: the best one given q(θ)."""


class IteratesLocally(HasCoordinateAscent):
    """One whose ``local_step`` iterates too, and finds one of several optima of each datum's bound.

    As q(θ) moves, a datum may end in a worse optimum than before, and the bound falls: ascent ends there.
    """


class HasPredictive(HasCoordinateAscent):
    """One whose log ∫ p(x | θ) q(θ) dθ has a closed form."""

    @abstractmethod
    def log_predictive(self, q: Any, datum: Datum) -> Scalar:
        """Return log ∫ p(x | θ) q(θ) dθ, in nats."""


class HoldsFactors(SharesLatent):
    """A posterior q(θ) that is one conjugate law, moved by coordinate ascent and by nothing else."""

    factors: eqx.AbstractVar[Any]
