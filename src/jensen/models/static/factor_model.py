"""What the linear-Gaussian factor models share: x = μ + W z + noise."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.linalg import cholesky, solve_lower
from jensen.core import Datum, HasExactPosterior, HasLatentDim, HasObservation
from jensen.dist import AbstractDistribution, DiagGaussian, FullGaussian, GaussianRow, log_prob_observed
from jensen.errors import InputError, at_least
from jensen.models.static.components import Components
from jensen.models.static.factor_covariance import AbstractFactorCovariance
from jensen.models.static.framed import (
    AbstractGaussianModel,
    common_unit,
    frame_of,
    in_units,
    standardized,
)
from jensen.models.static.start import check_rows, pooled_covariance, weights_of
from jensen.nets import Frame
from jensen.typing import Array, Float, PRNGKey, Scalar


class AbstractFactorModel(AbstractGaussianModel, HasObservation, HasLatentDim, HasExactPosterior):
    """p(z) = N(0, I) and p(x | z) = N(μ + W z, Ψ), all in closed form."""

    structure: eqx.AbstractClassVar[type[AbstractFactorCovariance]]
    latent_dim: eqx.AbstractVar[int]

    @property
    def covariance(self) -> AbstractFactorCovariance:
        """The structure W Wᵀ + Ψ, in standardized coordinates."""
        structure = self.components.covariance
        assert isinstance(structure, AbstractFactorCovariance)
        return structure

    @property
    def mean(self) -> np.ndarray:
        """μ in the data's own units, (D,), float64."""
        return in_units(self.frame, self.components.means)[0]

    @property
    def loadings(self) -> np.ndarray:
        """W in the data's own units, (D, R), float64."""
        scale = np.asarray(self.frame.scale, np.float64)
        return scale[:, None] * np.asarray(self.covariance.loadings, np.float64)

    @property
    def noise_variances(self) -> np.ndarray:
        """Noise variance of every column in the data's own units, (D,), float64."""
        scale = np.asarray(self.frame.scale, np.float64)
        return (scale * np.asarray(self.covariance.noise_scale, np.float64)) ** 2

    @property
    def log_weights(self) -> Float[Array, "1"]:
        """One component of weight one."""
        return jnp.zeros(1)

    def reweighted(self, count: Float[Array, "1"], free: Any) -> "AbstractFactorModel":
        """There are no weights."""
        return self

    @property
    def prior_law(self) -> type[AbstractDistribution]:
        """A diagonal Gaussian."""
        return DiagGaussian

    def prior_of(self, cond: Any) -> DiagGaussian:
        """Return the standard normal."""
        return DiagGaussian(jnp.zeros(self.latent_dim), jnp.ones(self.latent_dim))

    def likelihood(self, z: Float[Array, "r"], cond: Any) -> GaussianRow:
        """Return p(x | z), in the data's own units."""
        law = self._standard_likelihood(z)
        return GaussianRow(self.frame.leave(law.loc), jax.lax.stop_gradient(self.frame.scale) * law.scale)

    def log_likelihood(self, z: Float[Array, "r"], datum: Datum) -> Scalar:
        """Return log p(x | z) over the observed entries, in nats."""
        y, mask = self.standard(datum)
        return log_prob_observed(self._standard_likelihood(z), y, mask) - self.frame.log_scale(mask)

    def log_joint(self, z: Float[Array, "r"], datum: Datum) -> Scalar:
        """Return log p(z) + log p(x | z), in nats."""
        return self.prior_of(datum.cond).log_prob(z) + self.log_likelihood(z, datum)

    def posterior(self, datum: Datum) -> FullGaussian:
        """Return p(z | x): precision I + WᵀΨ⁻¹W over the observed rows of W."""
        structure, noise = self.covariance, self.covariance.noise_scale
        scaled = structure.loadings / noise[:, None]
        y, mask = self.standard(datum)
        residual = (y - self.components.means[0]) / noise
        if mask is not None:
            scaled = jnp.where(mask[:, None], scaled, 0.0)
            residual = jnp.where(mask, residual, 0.0)
        precision = jnp.eye(self.latent_dim) + scaled.T @ scaled
        # the Cholesky factor of an inverse: flip, factor, invert, flip
        factor = cholesky(precision[::-1, ::-1])
        tril = solve_lower(factor, jnp.eye(self.latent_dim))[::-1, ::-1].T
        return FullGaussian(tril @ (tril.T @ (scaled.T @ residual)), tril)

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Float[Array, "r"], Float[Array, "d"]]:
        """Draw z and x."""
        to_z, to_x = jax.random.split(key)
        z = jax.random.normal(to_z, (self.latent_dim,))
        return z, self.likelihood(z, None).sample(key=to_x)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> "AbstractFactorModel":
        """Start at the principal directions, missing entries filled with column means."""
        check_rows(self, rows, 2)
        frame = frame_of(rows, self.structure.isotropic)
        pooled = pooled_covariance(standardized(frame, rows), weights_of(rows))
        components = Components(jnp.zeros((1, self.data_dim)), self.structure.start(pooled, self.latent_dim))
        return started(self, components, frame)

    def _standard_likelihood(self, z: Float[Array, "r"]) -> GaussianRow:
        structure = self.covariance
        return GaussianRow(self.components.means[0] + structure.loadings @ z, structure.noise_scale)


def started(model: Any, components: Components, frame: Frame) -> Any:
    """Return the model with these components in this frame, marked as started."""
    return eqx.tree_at(lambda m: (m.components, m.frame, m.initialized), model, (components, frame, True))


def check_dimensions(name: str, data_dim: int, latent_dim: int) -> None:
    """Refuse dimensions that are not positive, or more factors than columns."""
    at_least(name, 1, data_dim=data_dim, latent_dim=latent_dim)
    if latent_dim > data_dim:
        raise InputError(f"{name}: latent_dim={latent_dim} exceeds data_dim={data_dim}; take fewer factors")


def factor_frame(
    loadings: Any, noise_variance: Any, mean: Any, *, isotropic: bool
) -> tuple[Frame, Float[Array, "d r"], Float[Array, "d"]]:
    """Return the frame that standardizes N(μ, W Wᵀ + Ψ), and W and the noise deviations in it. Host code.

    Args:
        loadings: W, (D, R), in the data's own units.
        noise_variance: Ψ's diagonal, (D,).
        mean: μ, (D,).
        isotropic: Whether one unit must serve all columns.

    Raises:
        InputError: If shapes disagree or a variance is not positive.
    """
    w, noise, mean = (np.asarray(v, np.float64) for v in (loadings, noise_variance, mean))
    if w.ndim != 2 or noise.shape != w.shape[:1] or mean.shape != w.shape[:1]:
        raise InputError(
            f"loadings have shape {w.shape}, noise {noise.shape}, mean {mean.shape}; "
            "give (D, R), (D,) and (D,)"
        )
    if not (noise > 0).all():
        raise InputError("noise variances must be positive")
    real = jnp.result_type(float)
    frame = Frame(jnp.asarray(mean, real), jnp.asarray(np.sqrt((w**2).sum(1) + noise), real))
    frame = common_unit(frame) if isotropic else frame
    scale = np.asarray(frame.scale, np.float64)
    return frame, jnp.asarray(w / scale[:, None], real), jnp.asarray(np.sqrt(noise) / scale, real)
