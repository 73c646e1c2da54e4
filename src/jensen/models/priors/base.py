"""A prior over latents, possibly learned, possibly conditional."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx

from jensen.core import AbstractInference, Verdict
from jensen.dist import AbstractDensity
from jensen.typing import Array, Float


class AbstractPrior(eqx.Module):
    """p(z | c), with ``law`` the type of distribution it gives."""

    law: eqx.AbstractVar[type[AbstractDensity]]
    latent_dim: eqx.AbstractVar[int]

    @abstractmethod
    def __call__(self, cond: Any) -> AbstractDensity:
        """Return the law of z."""

    @abstractmethod
    def features(self, z: Any) -> Float[Array, "d"]:
        """Write z as the vector a decoder network reads, length ``features_dim(prior)``."""


class AbstractLivePrior(AbstractPrior):
    """A prior made from the posterior as it is at the moment; models look at the posterior on its behalf."""

    @abstractmethod
    def looking_at(self, posterior: Any) -> AbstractPrior:
        """Return the prior this posterior makes."""

    @abstractmethod
    def rule(self, inference: AbstractInference) -> Verdict:
        """Judge whether the posterior can make it."""
