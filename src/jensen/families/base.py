"""A family turns a vector of unconstrained numbers into a law over latents."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp

from jensen.dist import AbstractDensity
from jensen.errors import check_made
from jensen.typing import Array, Float

LOG_SCALE_BOUND = 10.0
"""Scales stay within e^±10: wide enough for any standardized problem, narrow enough to stay finite."""


class AbstractFamily(eqx.Module):
    """Parameters to distribution.

    Attributes:
        law: The type of distribution it makes.
        latent_dim: Length of z as a feature vector.
    """

    law: ClassVar[type[AbstractDensity]]
    latent_dim: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Length of the parameter vector."""

    @abstractmethod
    def __call__(self, params: Float[Array, "p"]) -> AbstractDensity:
        """Build the law; any finite ``params`` is legal."""

    @abstractmethod
    def initial_params(self) -> Float[Array, "p"]:
        """The parameters to start from: a standard normal, or even odds."""


class AbstractContextFlow(AbstractFamily):
    """A flow whose layers have weights of their own and read a context h, emitted for every datum.

    Parameters are d means, d log-scales, then h.

    Attributes:
        context_dim: Length of h.
    """

    context_dim: eqx.AbstractVar[int]

    @property
    def num_params(self) -> int:
        """2d and the context."""
        return 2 * self.latent_dim + self.context_dim

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: the layers as they are, which do nothing until their weights are trained."""
        return jnp.zeros(self.num_params)


def bounded_exp(raw: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return exp(b tanh(raw / b)) with b = 10: a scale that can neither vanish nor overflow."""
    return jnp.exp(LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND))


def check_family(owner: str, name: str, family: Any) -> None:
    """Refuse what is no family.

    Args:
        owner: Who takes it, for the message.
        name: The argument.
        family: What was given.

    Raises:
        InputError: If it is a class, a name or anything else.
    """
    check_made(owner, name, family, AbstractFamily, "families.DiagGaussian(2)")
