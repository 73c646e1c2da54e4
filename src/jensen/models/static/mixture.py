"""Mixtures of Gaussians."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import at_least, check_key
from jensen.models.static.abstract_mixture import AbstractMixture
from jensen.models.static.components import Components
from jensen.models.static.covariance import AbstractCovariance
from jensen.models.static.given import given
from jensen.models.static.structures import named
from jensen.models.static.weights import checked_weights
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey


class GaussianMixture(AbstractMixture):
    r"""p(x) = Σ_k w_k N(x; μ_k, Σ_k); the latent z is the component, 0..K−1.

    Parameters are held in standardized coordinates chosen at the first fit; ``weights``, ``means`` and
    ``covariances`` are in the data's own units.

    Args:
        num_components: Number K of components.
        data_dim: Number D of columns.
        covariance: ``"full"``, ``"diag"``, ``"tied"`` or ``"spherical"``.
        key: Randomness of the means before any data is seen.

    Raises:
        InputError: If a number is not positive or the structure unknown.

    Example:
        >>> import jax, numpy as np
        >>> from jensen import fit
        >>> rng = np.random.default_rng(0)
        >>> x = np.concatenate([rng.normal(-5.0, 1.0, (50, 1)), rng.normal(5.0, 1.0, (50, 1))])
        >>> fitted = fit.em(GaussianMixture(2, 1, key=jax.random.key(0)), x, key=jax.random.key(1))
        >>> fitted.model.weights.round(3).tolist()
        [0.5, 0.5]
    """

    logits: Float[Array, "k"]
    components: Components
    frame: Frame
    num_components: int
    data_dim: int
    initialized: bool

    def __init__(self, num_components: int, data_dim: int, *, covariance: str = "full", key: PRNGKey):
        check_key(key)
        at_least("GaussianMixture", 1, num_components=num_components, data_dim=data_dim)
        structure = named(covariance)
        means = jax.random.normal(key, (num_components, data_dim))
        self.logits = jnp.zeros(num_components)
        self.components = Components(means, structure.pooled(np.eye(data_dim), num_components))
        self.frame = Frame.identity(data_dim)
        self.num_components = num_components
        self.data_dim = data_dim
        self.initialized = False

    @classmethod
    def with_parameters(
        cls, weights: Any, means: Any, covariances: Any, *, covariance: str = "full"
    ) -> GaussianMixture:
        """Return the mixture of these parameters, in the data's own units; fits start from it.

        Args:
            weights: (K,), positive; scaled to sum to one.
            means: (K, D).
            covariances: Full (K, D, D); tied (D, D); diagonal (K, D); spherical (K,).
            covariance: The structure.

        Raises:
            InputError: If shapes disagree, a weight is not positive or a covariance not positive definite.
        """
        weights, means = checked_weights(weights, means, "means")
        components, frame = given(weights, means, covariances, named(covariance))
        new = cls(*means.shape, covariance=covariance, key=jax.random.key(0))
        return new.started(weights, components, frame)

    @property
    def covariances(self) -> np.ndarray:
        """Covariances in the data's own units, float64: (K, D, D), (D, D), (K, D) or (K,) by structure."""
        return self.components.covariance.in_units(np.asarray(self.frame.scale, np.float64))

    def shaped(self, means: Float[Array, "k d"], covariance: AbstractCovariance) -> Components:
        """Return Gaussians."""
        return Components(means, covariance)

    def start_weights(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Count all rows."""
        return weight
