"""A prior over latents, possibly learned, possibly conditional."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import equinox as eqx

from jensen.dist import AbstractDensity
from jensen.typing import Array, Float


class AbstractPrior(eqx.Module):
    """p(z | c), with ``law`` the type of distribution it gives."""

    law: ClassVar[type[AbstractDensity]]
    latent_dim: eqx.AbstractVar[int]

    @abstractmethod
    def __call__(self, cond: Any) -> AbstractDensity:
        """Return the law of z."""

    @abstractmethod
    def features(self, z: Any) -> Float[Array, "d"]:
        """Write z as the vector a decoder network reads, length ``latent_dim``."""
