"""A Gaussian prior that reads the condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen import dist, families
from jensen.core import Datum, InitializesFromData
from jensen.errors import InputError, at_least, check_key
from jensen.models.priors.base import AbstractPrior
from jensen.nets import MLP, Frame
from jensen.typing import Array, Float, PRNGKey


class ConditionalGaussian(AbstractPrior, InitializesFromData):
    """p(z | c) = N(μ(c), diag σ²(c)) by a network, which starts near the standard normal (Sohn et al. 2015).

    Args:
        latent_dim: Length d of z.
        cond_dim: Length C of the condition.
        widths: Hidden widths of the perceptron.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> prior = ConditionalGaussian(2, 3, widths=(8,), key=jax.random.key(0))
        >>> prior(jnp.ones(3)).loc.shape
        (2,)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.DiagGaussian
    net: MLP
    cond_frame: Frame
    latent_dim: int
    cond_dim: int
    initialized: bool

    def __init__(self, latent_dim: int, cond_dim: int, *, widths: Sequence[int] = (64, 64), key: PRNGKey):
        check_key(key)
        at_least("prior", 1, latent_dim=latent_dim, cond_dim=cond_dim)
        self.net = MLP(cond_dim, 2 * latent_dim, widths, key=key).quiet()
        self.cond_frame = Frame.identity(cond_dim)
        self.latent_dim = latent_dim
        self.cond_dim = cond_dim
        self.initialized = False

    def __call__(self, cond: Any) -> dist.DiagGaussian:
        """Return the law of z given c.

        Raises:
            InputError: If there is no condition, or it has another length.
        """
        if cond is None or np.shape(cond)[-1:] != (self.cond_dim,):
            found = "none" if cond is None else f"shape {np.shape(cond)}"
            raise InputError(f"ConditionalGaussian prior: cond must have length {self.cond_dim}, got {found}")
        params = self.net(self.cond_frame.enter(jnp.asarray(cond, jnp.result_type(float))))
        return families.DiagGaussian(self.latent_dim)(params)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z itself."""
        return z

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> ConditionalGaussian:
        """Standardize the condition (N, C)."""
        weight = None if rows.weight is None else np.asarray(rows.weight)
        frame = Frame.standardizing(np.asarray(rows.cond), None, weight)
        return eqx.tree_at(lambda p: (p.cond_frame, p.initialized), self, (frame, True))
