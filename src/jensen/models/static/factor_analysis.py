"""Factor analysis."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist import AbstractDistribution, FullGaussian
from jensen.errors import check_key
from jensen.models.static.components import Components
from jensen.models.static.factor_covariance import AbstractFactorCovariance, FactorCovariance
from jensen.models.static.factor_model import AbstractFactorModel, check_dimensions, factor_frame, started
from jensen.models.static.raw import exactly
from jensen.nets import Frame
from jensen.typing import PRNGKey


class FactorAnalysis(AbstractFactorModel):
    r"""x = μ + W z + ε, z standard normal in R dimensions, ε with its own variance ψ for every column.

    Args:
        data_dim: Number D of columns.
        latent_dim: Number R of factors, at most D.
        key: Randomness of the loadings before any data is seen.

    Raises:
        InputError: If a dimension is not positive, or R exceeds D.

    Example:
        >>> import jax
        >>> model = FactorAnalysis(4, 2, key=jax.random.key(0))
        >>> model.loadings.shape
        (4, 2)
    """

    structure: ClassVar[type[AbstractFactorCovariance]] = FactorCovariance
    posterior_law: ClassVar[type[AbstractDistribution]] = FullGaussian
    components: Components
    frame: Frame
    data_dim: int
    latent_dim: int
    initialized: bool

    def __init__(self, data_dim: int, latent_dim: int, *, key: PRNGKey):
        check_key(key)
        check_dimensions("FactorAnalysis", data_dim, latent_dim)
        loadings = 0.5 * jax.random.normal(key, (data_dim, latent_dim))
        self.components = Components(
            jnp.zeros((1, data_dim)), FactorCovariance(loadings, jnp.zeros(data_dim))
        )
        self.frame = Frame.identity(data_dim)
        self.data_dim = data_dim
        self.latent_dim = latent_dim
        self.initialized = False

    @classmethod
    def with_parameters(cls, loadings: Any, noise_variance: Any, mean: Any) -> FactorAnalysis:
        """Return the model of these parameters, in the data's own units; fits start from it.

        Args:
            loadings: W, (D, R).
            noise_variance: ψ, (D,), positive.
            mean: μ, (D,).
        """
        frame, standard, noise = factor_frame(loadings, noise_variance, mean, isotropic=False)
        model = cls(*standard.shape, key=jax.random.key(0))
        structure = FactorCovariance(standard, exactly(noise))
        return started(model, Components(jnp.zeros((1, len(noise))), structure), frame)

    @property
    def noise_variance(self) -> np.ndarray:
        """ψ in the data's own units, (D,), float64."""
        return self.noise_variances
