"""Mixtures of Gaussians."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasExactPosterior, HasLatentDim
from jensen.dist import AbstractDistribution, Categorical
from jensen.errors import InputError, check_key
from jensen.models.static.components import Components
from jensen.models.static.covariance import VARIANCE_FLOOR
from jensen.models.static.framed import AbstractGaussianModel, frame_of, in_units, standardized
from jensen.models.static.given import given
from jensen.models.static.start import RIDGE, check_rows, k_means, pooled_covariance, weights_of
from jensen.models.static.structures import any_covariance, named
from jensen.nets import Frame
from jensen.typing import Array, Float, Int, PRNGKey, Scalar


class GaussianMixture(AbstractGaussianModel, HasLatentDim, HasExactPosterior):
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

    posterior_law: ClassVar[type[AbstractDistribution]] = Categorical
    logits: Float[Array, "k"]
    components: Components
    frame: Frame
    num_components: int
    data_dim: int
    initialized: bool

    def __init__(self, num_components: int, data_dim: int, *, covariance: str = "full", key: PRNGKey):
        check_key(key)
        if num_components < 1 or data_dim < 1:
            raise InputError(
                f"GaussianMixture: num_components={num_components}, data_dim={data_dim}; both must be above 0"
            )
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
        weights, means = np.asarray(weights, np.float64), np.asarray(means, np.float64)
        if means.ndim != 2 or weights.shape != means.shape[:1]:
            raise InputError(
                f"weights have shape {weights.shape} and means {means.shape}; give (K,) and (K, D)"
            )
        if not (weights > 0).all():
            raise InputError("weights must be positive: leave out a component that has none")
        weights = weights / weights.sum()
        components, frame = given(weights, means, covariances, named(covariance))
        new = cls(*means.shape, covariance=covariance, key=jax.random.key(0))
        return new._started(weights, components, frame)

    @property
    def weights(self) -> np.ndarray:
        """Probabilities of the components, (K,), float64."""
        logits = np.asarray(self.logits, np.float64)
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()

    @property
    def means(self) -> np.ndarray:
        """Means in the data's own units, (K, D), float64."""
        return in_units(self.frame, self.components.means)

    @property
    def covariances(self) -> np.ndarray:
        """Covariances in the data's own units, float64: (K, D, D), (D, D), (K, D) or (K,) by structure."""
        return self.components.covariance.in_units(np.asarray(self.frame.scale, np.float64))

    @property
    def log_weights(self) -> Float[Array, "k"]:
        """Log-probabilities of the components."""
        return jax.nn.log_softmax(self.logits)

    @property
    def latent_dim(self) -> int:
        """K: the length of z once written one-hot."""
        return self.num_components

    @property
    def prior_law(self) -> type[AbstractDistribution]:
        """A category."""
        return Categorical

    def prior_of(self, cond: Any) -> Categorical:
        """Return p(z)."""
        return Categorical(self.logits)

    def log_likelihood(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log N(x; μ_z, Σ_z) over the observed entries, in nats."""
        return self.component_log_prob(datum)[z]

    def log_joint(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log w_z + log N(x; μ_z, Σ_z), in nats."""
        return self.log_weights[z] + self.log_likelihood(z, datum)

    def posterior(self, datum: Datum) -> Categorical:
        """Return the responsibilities p(z | x)."""
        return Categorical(self.log_weights + self.component_log_prob(datum))

    def simulate(
        self, like: Datum | None = None, *, key: PRNGKey
    ) -> tuple[Int[Array, ""], Float[Array, "d"]]:
        """Draw z and x."""
        to_z, to_x = jax.random.split(key)
        z = jax.random.categorical(to_z, self.logits)
        noise = jax.random.normal(to_x, self.components.means.shape)
        y = self.components.means + self.components.covariance.color(noise)
        return z, self.frame.leave(y[z])

    def reweighted(self, count: Float[Array, "k"], free: Any) -> GaussianMixture:
        """Return the mixture with weights in proportion to ``count``; none is exactly zero."""
        if not free.logits:
            return self
        share = count / count.sum()
        logits = jnp.log(jnp.maximum(share, jnp.finfo(share.dtype).tiny))
        return eqx.tree_at(lambda m: m.logits, self, logits)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> GaussianMixture:
        """Start at k-means centres, with their shares and the pooled covariance about them.

        Raises:
            InputError: If there are fewer rows than components.
        """
        k = self.num_components
        check_rows(self, rows, max(k, 2))
        structure = any_covariance(self.components.covariance)
        frame = frame_of(rows, structure.isotropic)
        y, weight = standardized(frame, rows), weights_of(rows)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        centres, label = k_means(y, weight, k, rng)
        share = np.bincount(label, weight, k) / weight.sum()
        pooled = pooled_covariance(y - centres[label], weight)
        # the unit is the clusters' own spread, however far apart they lie: variances have a floor in it
        unit = np.sqrt(np.maximum(np.diagonal(pooled) - RIDGE, VARIANCE_FLOOR))
        unit = np.full_like(unit, np.sqrt((unit**2).mean())) if structure.isotropic else unit
        frame = Frame(frame.shift, frame.scale * jnp.asarray(unit, frame.scale.dtype))
        pooled = pooled_covariance((y - centres[label]) / unit, weight)
        components = Components(
            jnp.asarray(centres / unit, jnp.result_type(float)), structure.pooled(pooled, k)
        )
        return self._started(np.maximum(share, 1.0 / len(y)), components, frame)

    def _started(self, weights: np.ndarray, components: Components, frame: Frame) -> GaussianMixture:
        logits = jnp.asarray(np.log(weights / weights.sum()), jnp.result_type(float))
        return eqx.tree_at(
            lambda m: (m.logits, m.components, m.frame, m.initialized),
            self,
            (logits, components, frame, True),
        )
