"""Laws over finitely many values: a category, blocks of one-hot vectors, binary vectors."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist.protocol import (
    AbstractEnumerable,
    AbstractMoments,
    AbstractRelaxable,
    AbstractTransport,
    Reparameterized,
)
from jensen.typing import Array, Float, Int, PRNGKey, Scalar


def times_log(weight: Float[Array, "*s"], log_p: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Return weight·log p, where 0 · (−∞) is 0 in the value and in every gradient."""
    impossible = (weight == 0) & jnp.isneginf(log_p)
    return weight * jnp.where(impossible, 0.0, log_p)


class Categorical(AbstractEnumerable):
    """One category in 0..K−1, with unnormalized log-probabilities."""

    logits: Float[Array, "*b k"]

    @property
    def support_size(self) -> int:
        """K."""
        return self.logits.shape[-1]

    def support(self) -> Int[Array, "k"]:
        """0, 1, …, K−1."""
        return jnp.arange(self.support_size)

    @property
    def probs(self) -> Float[Array, "*b k"]:
        """Normalized probabilities."""
        return jax.nn.softmax(self.logits)

    def log_prob(self, z: Int[Array, ""]) -> Scalar:
        """Return log of the probability of category z, in nats."""
        return jax.nn.log_softmax(self.logits)[z]

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Int[Array, ""], Scalar]:
        """Draw a category."""
        z = jax.random.categorical(key, self.logits)
        return z, self.log_prob(z)


class OneHot(AbstractEnumerable, AbstractMoments, AbstractTransport, AbstractRelaxable):
    """V independent categories, each written as a one-hot block; z is the blocks joined, length V·K.

    The log-probability has one entry per block, so objectives can treat blocks as latent groups.
    """

    logits: Float[Array, "*b v k"]

    @property
    def support_size(self) -> int:
        """Kⱽ."""
        return self.logits.shape[-1] ** self.logits.shape[-2]

    def support(self) -> Float[Array, "size vk"]:
        """Every combination of the blocks."""
        v, k = self.logits.shape[-2:]
        codes = np.array(list(itertools.product(range(k), repeat=v)))
        return jnp.asarray(np.eye(k, dtype=np.float32)[codes].reshape(len(codes), v * k))

    @property
    def mean(self) -> Float[Array, "*b vk"]:
        """The probabilities, blocks joined."""
        return jax.nn.softmax(self.logits).reshape(*self.logits.shape[:-2], -1)

    @property
    def variance(self) -> Float[Array, "*b vk"]:
        """p(1 − p)."""
        return self.mean * (1 - self.mean)

    def log_prob(self, z: Float[Array, "vk"]) -> Float[Array, "v"]:
        """Return the log-probability of each block, in nats."""
        return times_log(z.reshape(self.logits.shape), jax.nn.log_softmax(self.logits)).sum(-1)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "vk"], Float[Array, "v"]]:
        """Draw every block."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> Float[Array, "v k"]:
        """Draw Gumbel noise."""
        return jax.random.gumbel(key, self.logits.shape, self.logits.dtype)

    def from_noise(self, noise: Float[Array, "v k"]) -> Float[Array, "vk"]:
        """Return, block by block, the category of the largest noisy logit."""
        codes = jnp.argmax(self.logits + noise, -1)
        return jax.nn.one_hot(codes, self.logits.shape[-1], dtype=self.logits.dtype).reshape(-1)

    def straight_through(self) -> OneHotThrough:
        """Return the law whose samples carry the gradient of the probabilities."""
        return OneHotThrough(self.logits)


class OneHotThrough(AbstractTransport, AbstractMoments, Reparameterized):
    """``OneHot`` with a straight-through sample: hard in value, with the gradient of the probabilities.

    References:
        Bengio, Léonard & Courville 2013.
    """

    logits: Float[Array, "*b v k"]

    @property
    def mean(self) -> Float[Array, "*b vk"]:
        """The probabilities, blocks joined."""
        return OneHot(self.logits).mean

    @property
    def variance(self) -> Float[Array, "*b vk"]:
        """p(1 − p)."""
        return OneHot(self.logits).variance

    def log_prob(self, z: Float[Array, "vk"]) -> Float[Array, "v"]:
        """Return the log-probability of each block, in nats."""
        return OneHot(self.logits).log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "vk"], Float[Array, "v"]]:
        """Draw every block."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> Float[Array, "v k"]:
        """Draw Gumbel noise."""
        return OneHot(self.logits).noise(key=key)

    def from_noise(self, noise: Float[Array, "v k"]) -> Float[Array, "vk"]:
        """Return the hard sample plus p − p, of which only the first p is differentiated."""
        mean = self.mean
        return OneHot(self.logits).from_noise(noise) + (mean - jax.lax.stop_gradient(mean))


class Bernoulli(AbstractEnumerable, AbstractMoments):
    """d independent binary variables; z holds zeros and ones as floats."""

    logits: Float[Array, "*b d"]

    @property
    def support_size(self) -> int:
        """2ᵈ."""
        return 2 ** self.logits.shape[-1]

    def support(self) -> Float[Array, "size d"]:
        """Every binary vector."""
        bits = list(itertools.product((0.0, 1.0), repeat=self.logits.shape[-1]))
        return jnp.asarray(np.array(bits, dtype=np.float32))

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """The probabilities of one."""
        return jax.nn.sigmoid(self.logits)

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """p(1 − p)."""
        return self.mean * (1 - self.mean)

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return Σᵢ zᵢ log pᵢ + (1 − zᵢ) log(1 − pᵢ), in nats."""
        one, zero = jax.nn.log_sigmoid(self.logits), jax.nn.log_sigmoid(-self.logits)
        return (times_log(z, one) + times_log(1 - z, zero)).sum()

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw every variable."""
        uniform = jax.random.uniform(key, self.logits.shape)
        z = (uniform < self.mean).astype(self.logits.dtype)
        return z, self.log_prob(z)
