"""A family seen from other coordinates, about a good guess of where it will end."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.lax import stop_gradient

from jensen import dist
from jensen.algorithms.linalg import inverse
from jensen.errors import InputError
from jensen.families.base import AbstractFamily, check_family
from jensen.nets import Fixed
from jensen.typing import Array, Float

_AXIS_PARALLEL = (dist.DiagGaussian, dist.LowRankGaussian)


class Origin(Fixed):
    """z = loc + L u, held fixed.

    Attributes:
        loc: Where u = 0 lies.
        tril: L, lower triangular with a positive diagonal.
    """

    loc: Float[Array, "d"]
    tril: Float[Array, "d d"]


class Placed(AbstractFamily):
    r"""The laws of z = loc + L u, u of a family: the same parameters, about another centre and scale.

    ``posteriors.Global(family, start=posteriors.Laplace(), key=key)`` makes one, with the centre and the
    scale of Laplace's law: where u is standard normal, z is nearly right, and every parameter is of order
    one. Families with axes of their own (``DiagGaussian``, ``LowRankGaussian``) take the scale of each z
    given the others, and span the same laws as before; so does ``FullGaussian``. A flow gains the
    correlations.

    Args:
        base: The family of u, Gaussian or a flow.
        loc: Centre; 0 by default.
        tril: L; the identity by default, and diagonal where the base has axes of its own.

    Raises:
        InputError: If the family is neither Gaussian nor a flow, or L turns axes that it cannot turn.

    Example:
        >>> import jax.numpy as jnp
        >>> from jensen.families import DiagGaussian
        >>> family = Placed(DiagGaussian(2), jnp.ones(2), 3 * jnp.eye(2))
        >>> q = family(family.initial_params())
        >>> q.loc.tolist(), q.scale.tolist()
        ([1.0, 1.0], [3.0, 3.0])
    """

    base: Any
    origin: Origin

    def __init__(
        self,
        base: AbstractFamily,
        loc: Float[Array, "d"] | None = None,
        tril: Float[Array, "d d"] | None = None,
    ):
        check_family("Placed", "base", base)
        if not issubclass(base.law, dist.AbstractGaussian | dist.Flow):
            raise InputError(
                f"Placed: {type(base).__name__} is neither Gaussian nor a flow; use families.FullGaussian, "
                "or leave start= out"
            )
        own_axes = issubclass(base.law, _AXIS_PARALLEL)
        if own_axes and tril is not None and not isinstance(tril, Tracer) and _turns(np.asarray(tril)):
            raise InputError(
                f"Placed: tril is not diagonal, but {type(base).__name__} has axes of its own; use "
                "families.Placed.near(base, loc, tril), or families.FullGaussian"
            )
        self.base = base
        loc = jnp.zeros(base.latent_dim) if loc is None else loc
        self.origin = Origin(loc, jnp.eye(base.latent_dim) if tril is None else tril)

    @classmethod
    def near(cls, base: AbstractFamily, mean: Float[Array, "d"], tril: Float[Array, "d d"]) -> Placed:
        """Return the family that starts where a normal law N(mean, L Lᵀ) is, as nearly as its axes allow."""
        if issubclass(base.law, _AXIS_PARALLEL):
            # of all axis-parallel laws the one with KL(q ‖ p) least has the precisions' diagonal
            unit = jnp.sqrt((tril**2).sum(1))
            root = inverse(tril / unit[:, None])
            tril = jnp.diag(unit / jnp.sqrt((root**2).sum(0)))
        return cls(base, mean, tril)

    @property
    def law(self) -> type[dist.AbstractDensity]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The base's."""
        return self.base.law

    @property
    def latent_dim(self) -> int:
        """The base's."""
        return self.base.latent_dim

    @property
    def num_params(self) -> int:
        """The base's."""
        return self.base.num_params

    def __call__(self, params: Float[Array, "p"]) -> dist.AbstractDensity:
        """Carry the base's law over."""
        loc, tril = stop_gradient(self.origin.loc), stop_gradient(self.origin.tril)
        q: Any = self.base(params)
        scale = jnp.diagonal(tril)
        if isinstance(q, dist.DiagGaussian):
            return dist.DiagGaussian(loc + scale * q.loc, scale * q.scale)
        if isinstance(q, dist.LowRankGaussian):
            return dist.LowRankGaussian(loc + scale * q.loc, scale[:, None] * q.factor, scale * q.scale)
        if isinstance(q, dist.FullGaussian):
            return dist.FullGaussian(loc + tril @ q.loc, tril @ q.tril)
        return dist.Flow(dist.Chain((q.bijection, dist.Triangular(loc, tril))), q.dim)

    def initial_params(self) -> Float[Array, "p"]:
        """The base's."""
        return self.base.initial_params()


def _turns(tril: np.ndarray) -> bool:
    """Say whether anything is off the diagonal."""
    return bool((tril != np.diag(np.diagonal(tril))).any())
