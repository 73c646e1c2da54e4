"""A family turns a vector of unconstrained numbers into a law over latents."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp

from jensen.dist import AbstractDensity
from jensen.errors import InputError
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


def bounded_exp(raw: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return exp(b tanh(raw / b)) with b = 10: a scale that can neither vanish nor overflow."""
    return jnp.exp(LOG_SCALE_BOUND * jnp.tanh(raw / LOG_SCALE_BOUND))


def at_least(name: str, value: int, least: int) -> None:
    """Refuse a size that is too small.

    Raises:
        InputError: If ``value`` is below ``least``.
    """
    if value < least:
        raise InputError(f"family: {name} is {value}; it must be at least {least}")
