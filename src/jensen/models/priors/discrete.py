"""Discrete priors with learned log-odds, starting even."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jensen import dist
from jensen.errors import at_least
from jensen.models.priors.base import AbstractPrior
from jensen.typing import Array, Float, Int


class Categorical(AbstractPrior):
    """One of K categories; z is an integer, read by decoders as a one-hot vector.

    Args:
        num_classes: K.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Categorical
    num_classes: int
    logits: Float[Array, "k"]

    def __init__(self, num_classes: int):
        at_least("prior", 2, num_classes=num_classes)
        self.num_classes = num_classes
        self.logits = jnp.zeros(num_classes)

    @property
    def latent_dim(self) -> int:
        """K."""
        return self.num_classes

    def __call__(self, cond: Any) -> dist.Categorical:
        """Return the learned odds."""
        return dist.Categorical(self.logits)

    def features(self, z: Int[Array, ""]) -> Float[Array, "d"]:
        """Return z one-hot."""
        return jax.nn.one_hot(z, self.num_classes)


class OneHot(AbstractPrior):
    """V independent one-hot blocks of K categories; z has length V·K.

    Args:
        num_classes: K.
        num_variables: V.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.OneHot
    num_classes: int
    num_variables: int
    logits: Float[Array, "v k"]

    def __init__(self, num_classes: int, num_variables: int = 1):
        at_least("prior", 2, num_classes=num_classes)
        at_least("prior", 1, num_variables=num_variables)
        self.num_classes = num_classes
        self.num_variables = num_variables
        self.logits = jnp.zeros((num_variables, num_classes))

    @property
    def latent_dim(self) -> int:
        """V·K."""
        return self.num_classes * self.num_variables

    def __call__(self, cond: Any) -> dist.OneHot:
        """Return the learned odds."""
        return dist.OneHot(self.logits)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z


class Bernoulli(AbstractPrior):
    """d independent binary variables.

    Args:
        latent_dim: d.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Bernoulli
    latent_dim: int
    logits: Float[Array, "d"]

    def __init__(self, latent_dim: int):
        at_least("prior", 1, latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.logits = jnp.zeros(latent_dim)

    def __call__(self, cond: Any) -> dist.Bernoulli:
        """Return the learned odds."""
        return dist.Bernoulli(self.logits)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z
