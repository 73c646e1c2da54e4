"""What a distribution must be able to do, one capability a class."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar


class Draw(eqx.Module):
    """One draw from a distribution over latents, with everything computed on the way.

    Attributes:
        z: The sample.
        log_q: Log-density of the sample, one entry per latent group (layer, step, block), in nats.
        carry: What the law computed and the model should not compute again (a recurrent state).
        penalty: Extra loss that came with the draw (a codebook's commitment), in nats.
    """

    z: PyTree
    log_q: Float[Array, "*draws groups"]
    carry: PyTree = None
    penalty: Float[Array, "*draws"] = eqx.field(default_factory=lambda: jnp.zeros(()))


class AbstractDistribution(eqx.Module):
    """A law that can be sampled with the log-density of the sample. One event, no batch axes."""

    @abstractmethod
    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Any, Array]:
        """Draw z and return it with log q(z), a scalar or one entry per latent group."""


class AbstractDensity(AbstractDistribution):
    """A distribution whose log-density can be evaluated anywhere."""

    @abstractmethod
    def log_prob(self, z: Any) -> Array:
        """Return log q(z) in nats, a scalar or one entry per latent group."""


class AbstractCarrying(AbstractDistribution):
    """A law whose draw brings more than z and log q: a carry for the model, or a penalty."""

    @abstractmethod
    def draw(self, *, key: PRNGKey) -> Draw:
        """Draw z with everything the model may reuse."""


class Reparameterized(AbstractDistribution):
    """Trait: the sample is a differentiable function of the parameters and of parameter-free noise."""


class AbstractTransport(AbstractDensity):
    """A law whose sample is a function of noise that knows nothing of the parameters.

    Noise for many laws can then be made at once, ahead of a scan over them.
    """

    @abstractmethod
    def noise(self, *, key: PRNGKey) -> PyTree:
        """Draw the noise of one sample; parameters are looked at for their shapes alone."""

    @abstractmethod
    def from_noise(self, noise: PyTree) -> Any:
        """Return the sample this noise makes."""


class AbstractRelaxable(AbstractDensity):
    """A law of discrete values that a gradient can be passed through, at the price of a bias."""

    @abstractmethod
    def straight_through(self) -> AbstractDensity:
        """Return the same law with the sample's gradient taken to be that of its mean."""


class AbstractEnumerable(AbstractDensity):
    """A law over finitely many values of z."""

    @property
    @abstractmethod
    def support_size(self) -> int:
        """The number of values z can take."""

    @abstractmethod
    def support(self) -> Any:
        """All values of z, stacked on a leading axis of length ``support_size``."""


class AbstractMoments(AbstractDistribution):
    """A law with a known mean and marginal variance."""

    @property
    @abstractmethod
    def mean(self) -> Array:
        """E[z]."""

    @property
    @abstractmethod
    def variance(self) -> Array:
        """Marginal variances of z, the shape of the mean."""


def draw(q: AbstractDistribution, *, key: PRNGKey) -> Draw:
    """Draw once from any law.

    Args:
        q: The law.
        key: Randomness for this one draw.

    Returns:
        The sample with its log-density per latent group, its carry and its penalty.
    """
    if isinstance(q, AbstractCarrying):
        return q.draw(key=key)
    z, log_q = q.sample_and_log_prob(key=key)
    return Draw(z, jnp.atleast_1d(log_q))


class Empty(AbstractEnumerable):
    """The law of no latent at all: z is an array of length zero and log q(z) = 0."""

    @property
    def support_size(self) -> int:
        """One value: nothing."""
        return 1

    def support(self) -> Float[Array, "1 0"]:
        """The only value there is."""
        return jnp.zeros((1, 0))

    def log_prob(self, z: Float[Array, "0"]) -> Scalar:
        """Return zero."""
        return jnp.zeros(())

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "0"], Scalar]:
        """Return the only value there is."""
        return jnp.zeros((0,)), jnp.zeros(())
