"""Discrete families: one category, blocks of one-hot vectors, binary vectors."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from jensen import dist
from jensen.errors import InputError, at_least
from jensen.families.base import AbstractFamily
from jensen.typing import Array, Float


class Categorical(AbstractFamily):
    """One category out of K, from K logits; z is an integer.

    Args:
        num_classes: K.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Categorical
    num_classes: int

    def __check_init__(self):
        at_least("family", 2, num_classes=self.num_classes)

    @property
    def num_params(self) -> int:
        """K."""
        return self.num_classes

    @property
    def latent_dim(self) -> int:
        """K: the length of z once written one-hot."""
        return self.num_classes

    def __call__(self, params: Float[Array, "p"]) -> dist.Categorical:
        """Read the parameters as logits."""
        return dist.Categorical(params)

    def initial_params(self) -> Float[Array, "p"]:
        """Even odds."""
        return jnp.zeros(self.num_params)


class OneHot(AbstractFamily):
    """V independent one-hot blocks of K categories each; z has length V·K.

    Args:
        num_classes: K.
        num_variables: V.
        unimix: Share of the uniform law mixed into each block, so that no category is ever ruled out and no
            KL without end (Hafner et al. 2023 take 0.01).

    Raises:
        InputError: If a count is too small or the share not in [0, 1).
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.OneHot
    num_classes: int
    num_variables: int = 1
    unimix: float = 0.0

    def __check_init__(self):
        at_least("family", 2, num_classes=self.num_classes)
        at_least("family", 1, num_variables=self.num_variables)
        if not 0 <= self.unimix < 1:
            raise InputError(f"family: unimix is {self.unimix}; it must be at least 0 and below 1")

    @property
    def num_params(self) -> int:
        """V·K."""
        return self.num_classes * self.num_variables

    @property
    def latent_dim(self) -> int:
        """V·K."""
        return self.num_params

    def __call__(self, params: Float[Array, "p"]) -> dist.OneHot:
        """Read the parameters as logits, block by block."""
        logits = params.reshape(self.num_variables, self.num_classes)
        if self.unimix:
            mixed = (1 - self.unimix) * jax.nn.softmax(logits) + self.unimix / self.num_classes
            logits = jnp.log(mixed)
        return dist.OneHot(logits)

    def initial_params(self) -> Float[Array, "p"]:
        """Even odds."""
        return jnp.zeros(self.num_params)


class Bernoulli(AbstractFamily):
    """d independent binary variables, from d logits.

    Args:
        latent_dim: d.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Bernoulli
    latent_dim: int

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim)

    @property
    def num_params(self) -> int:
        """One logit a variable."""
        return self.latent_dim

    def __call__(self, params: Float[Array, "p"]) -> dist.Bernoulli:
        """Read the parameters as logits."""
        return dist.Bernoulli(params)

    def initial_params(self) -> Float[Array, "p"]:
        """Even odds."""
        return jnp.zeros(self.num_params)
