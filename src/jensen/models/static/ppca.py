"""Probabilistic principal component analysis."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import AbstractDistribution, FullGaussian
from jensen.errors import InputError, check_key
from jensen.models.static.components import Components
from jensen.models.static.factor_covariance import AbstractFactorCovariance, IsotropicFactorCovariance
from jensen.models.static.factor_model import AbstractFactorModel, check_dimensions, factor_frame, started
from jensen.models.static.raw import exactly
from jensen.nets import Frame
from jensen.typing import PRNGKey


class ProbabilisticPCA(AbstractFactorModel):
    r"""x = μ + W z + ε, z standard normal in R dimensions, ε of one variance σ² in all of them.

    Args:
        data_dim: Number D of columns.
        latent_dim: Number R of components, less than D.
        key: Randomness of the loadings before any data is seen.

    Raises:
        InputError: If a dimension is not positive, or R is not less than D.

    Example:
        >>> import jax
        >>> model = ProbabilisticPCA(4, 2, key=jax.random.key(0))
        >>> model.loadings.shape
        (4, 2)
    """

    structure: ClassVar[type[AbstractFactorCovariance]] = IsotropicFactorCovariance
    posterior_law: ClassVar[type[AbstractDistribution]] = FullGaussian
    components: Components
    frame: Frame
    data_dim: int
    latent_dim: int
    initialized: bool

    def __init__(self, data_dim: int, latent_dim: int, *, key: PRNGKey):
        check_key(key)
        check_dimensions("ProbabilisticPCA", data_dim, latent_dim)
        if latent_dim == data_dim:
            raise InputError(
                f"ProbabilisticPCA: latent_dim={latent_dim} leaves no noise; it must be below {data_dim=}"
            )
        loadings = 0.5 * jax.random.normal(key, (data_dim, latent_dim))
        self.components = Components(
            jnp.zeros((1, data_dim)), IsotropicFactorCovariance(loadings, jnp.zeros(()))
        )
        self.frame = Frame.identity(data_dim)
        self.data_dim = data_dim
        self.latent_dim = latent_dim
        self.initialized = False

    @classmethod
    def with_parameters(cls, loadings: Any, noise_variance: float, mean: Any) -> ProbabilisticPCA:
        """Return the model of these parameters, in the data's own units; fits start from it.

        Args:
            loadings: W, (D, R).
            noise_variance: σ², positive.
            mean: μ, (D,).
        """
        variances = np.full(len(np.asarray(mean)), noise_variance, np.float64)
        frame, standard, noise = factor_frame(loadings, variances, mean, isotropic=True)
        model = cls(*standard.shape, key=jax.random.key(0))
        structure = IsotropicFactorCovariance(standard, exactly(noise[0]))
        return started(model, Components(jnp.zeros((1, len(noise))), structure), frame)

    @property
    def noise_variance(self) -> float:
        """σ² in the data's own units."""
        return float(self.noise_variances[0])
