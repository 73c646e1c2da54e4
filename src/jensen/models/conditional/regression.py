"""What conditional models without latents share: p(y | x) is one law of a row."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import jax.numpy as jnp

from jensen.core import (
    ChecksData,
    Datum,
    HasExactEvidence,
    HasObservation,
    InitializesFromData,
    Simulates,
)
from jensen.dist import AbstractDistribution, AbstractObservation, Empty
from jensen.models.conditional.condition import HasCondFrame
from jensen.typing import Array, Float, PRNGKey, Scalar


class AbstractRegression(
    HasExactEvidence, HasObservation, HasCondFrame, ChecksData, InitializesFromData, Simulates
):
    """p(y | x) in closed form, with no latent: z is empty."""

    prior_law: ClassVar[type[AbstractDistribution]] = Empty

    @abstractmethod
    def law(self, cond: Any) -> AbstractObservation:
        """Return p(y | x), in the data's own units."""

    def prior_of(self, cond: Any) -> Empty:
        """Return the law of nothing."""
        return Empty()

    def likelihood(self, z: Any, cond: Any) -> AbstractObservation:
        """Return p(y | x); there is no z to look at."""
        return self.law(cond)

    def log_likelihood(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        return self.log_evidence(datum)

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(y | x) over the observed entries, in nats."""
        return self.log_evidence(datum)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Float[Array, "0"], Float[Array, "d"]]:
        """Draw y given the condition that ``like`` lends."""
        return jnp.zeros(0), self.law(None if like is None else like.cond).sample(key=key)
