"""What mixtures of Gaussians and of heavier tails share: a category behind every row."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasExactPosterior, HasLatentDim
from jensen.dist import AbstractDistribution, Categorical
from jensen.models.static.components import AbstractComponents
from jensen.models.static.covariance import VARIANCE_FLOOR, AbstractCovariance
from jensen.models.static.framed import AbstractGaussianModel, frame_of, in_units, standardized
from jensen.models.static.start import RIDGE, check_rows, k_means, pooled_covariance, weights_of
from jensen.models.static.structures import any_covariance
from jensen.models.static.weights import shares
from jensen.nets import Frame
from jensen.typing import Array, Float, Int, PRNGKey, Scalar

M = TypeVar("M", bound="AbstractMixture")


class AbstractMixture(AbstractGaussianModel, HasLatentDim, HasExactPosterior):
    """p(x) = Σ_k w_k p_k(x); the latent z is the component, 0..K−1.

    Attributes:
        logits: Log-probabilities of the components, up to a constant.
        num_components: K.
        data_dim: D.
    """

    posterior_law: ClassVar[type[AbstractDistribution]] = Categorical
    logits: eqx.AbstractVar[Float[Array, "k"]]
    num_components: eqx.AbstractVar[int]
    data_dim: eqx.AbstractVar[int]

    @abstractmethod
    def shaped(self, means: Float[Array, "k d"], covariance: AbstractCovariance) -> AbstractComponents:
        """Return components about these means, with what else they have as before the fit."""

    @abstractmethod
    def start_weights(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return how much each standardized row, (N, D), counts where a fit starts, given its weight."""

    @property
    def weights(self) -> np.ndarray:
        """Probabilities of the components, (K,), float64."""
        return shares(self.logits)

    @property
    def means(self) -> np.ndarray:
        """Means in the data's own units, (K, D), float64."""
        return in_units(self.frame, self.components.means)

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
        """Return log p_z(x) over the observed entries, in nats."""
        return self.component_log_prob(datum)[z]

    def log_joint(self, z: Int[Array, ""], datum: Datum) -> Scalar:
        """Return log w_z + log p_z(x), in nats."""
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
        return z, self.frame.leave(self.components.draw(key=to_x)[z])

    def reweighted(self: M, count: Float[Array, "k"], free: Any) -> M:
        """Return the mixture with weights in proportion to ``count``; none is exactly zero."""
        if not free.logits:
            return self
        share = count / count.sum()
        logits = jnp.log(jnp.maximum(share, jnp.finfo(share.dtype).tiny))
        return eqx.tree_at(lambda m: m.logits, self, logits)

    def initialize_from(self: M, rows: Datum, *, key: PRNGKey) -> M:
        """Start at k-means centres, with their shares and the pooled covariance about them.

        Raises:
            InputError: If there are fewer rows than components.
        """
        k = self.num_components
        check_rows(self, rows, max(k, 2))
        structure = any_covariance(self.components.covariance)
        frame = frame_of(rows, structure.isotropic)
        y = standardized(frame, rows)
        weight = self.start_weights(y, weights_of(rows))
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        centres, label = k_means(y, weight, k, rng)
        share = np.bincount(label, weight, k) / weight.sum()
        pooled = pooled_covariance(y - centres[label], weight)
        # the unit is the clusters' own spread, however far apart they lie: variances have a floor in it
        unit = np.sqrt(np.maximum(np.diagonal(pooled) - RIDGE, VARIANCE_FLOOR))
        unit = np.full_like(unit, np.sqrt((unit**2).mean())) if structure.isotropic else unit
        frame = Frame(frame.shift, frame.scale * jnp.asarray(unit, frame.scale.dtype))
        pooled = pooled_covariance((y - centres[label]) / unit, weight)
        means = jnp.asarray(centres / unit, jnp.result_type(float))
        components = self.shaped(means, structure.pooled(pooled, k))
        return self.started(np.maximum(share, 1.0 / len(y)), components, frame)

    def started(self: M, weights: np.ndarray, components: AbstractComponents, frame: Frame) -> M:
        """Return the mixture with these parameters; fits start from it."""
        logits = jnp.asarray(np.log(weights / weights.sum()), jnp.result_type(float))
        return eqx.tree_at(
            lambda m: (m.logits, m.components, m.frame, m.initialized),
            self,
            (logits, components, frame, True),
        )
