"""Laws of z = (z_L, …, z_1), one vector drawn layer by layer; each layer is a latent group, the top first."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist.gaussian import DiagGaussian
from jensen.dist.kl import kl_per_dimension, register_kl
from jensen.dist.protocol import AbstractDensity, Reparameterized
from jensen.typing import Array, Float, PRNGKey


class AbstractLink(eqx.Module):
    """The law of a layer given the one before it.

    Attributes:
        dim: Length of the layer's latent.
    """

    dim: eqx.AbstractVar[int]

    @abstractmethod
    def law(self, state: Float[Array, "s"]) -> DiagGaussian:
        """Return the law of z_l given the latent before it, or the state that stands for all before."""


class AbstractRung(AbstractLink):
    """One layer of a top-down pass, with what it leaves to those below."""

    @abstractmethod
    def below(self, state: Float[Array, "s"], z: Float[Array, "d"]) -> Float[Array, "r"]:
        """Return the state under the layer, for the next one or for the decoder."""


class AbstractLayered(AbstractDensity, Reparameterized):
    """A law of layers, drawn in some order, each a diagonal Gaussian given those drawn before it.

    Its log-densities have one entry a layer, the top first.
    """

    @property
    @abstractmethod
    def dims(self) -> tuple[int, ...]:
        """Lengths of the layers, the top first."""

    @abstractmethod
    def laws(self, z: Float[Array, "d"]) -> tuple[DiagGaussian, ...]:
        """Return the law of each layer given the layers of z it depends on, the top first."""

    @abstractmethod
    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the z that standard normal noise makes."""

    def means(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the mean of each layer's law given the layers of z it depends on.

        Averaged over draws it estimates E[z] with less noise than the draws themselves.
        """
        return jnp.concatenate([law.loc for law in self.laws(z)])

    def noise(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw ε."""
        return jax.random.normal(key, (sum(self.dims),))

    def log_prob(self, z: Float[Array, "d"]) -> Float[Array, "groups"]:
        """Return the conditional log-density of each layer, in nats."""
        parts = split_layers(z, self.dims)
        return jnp.stack([law.log_prob(part) for law, part in zip(self.laws(z), parts, strict=True)])

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Float[Array, "groups"]]:
        """Draw layer by layer."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)


class TopDownGaussian(AbstractLayered):
    """p(z_L) ∏ p(z_l | z_{>l}), times a Gaussian factor for every layer where there are messages.

    With messages N(z_l; m_l, s_l²) the law of a layer is N(z_l; μ_l, σ_l²) N(z_l; m_l, s_l²), normalized:
    precisions add. Were that factor the likelihood p(x | z_l), this would be the exact posterior.

    Attributes:
        rungs: The layers, the top first.
        messages: What the data says to each layer; ``None`` for nothing.

    """

    rungs: tuple[AbstractRung, ...]
    messages: tuple[DiagGaussian, ...] | None = None

    @property
    def dims(self) -> tuple[int, ...]:
        """Lengths of the layers, the top first."""
        return tuple(rung.dim for rung in self.rungs)

    def descend(self, layer: Any) -> tuple[tuple[DiagGaussian, ...], Array]:
        """Go down the rungs; return the law of every layer and the state under the last.

        Args:
            layer: From a layer's number and law to its latent.
        """
        state, laws = jnp.zeros(0), []
        for i, rung in enumerate(self.rungs):
            law = rung.law(state)
            if self.messages is not None:
                law = precision_weighted(law, self.messages[i])
            laws.append(law)
            state = rung.below(state, layer(i, law))
        return tuple(laws), state

    def laws(self, z: Float[Array, "d"]) -> tuple[DiagGaussian, ...]:
        """Return the law of each layer given the layers above it."""
        parts = split_layers(z, self.dims)
        return self.descend(lambda i, law: parts[i])[0]

    def bottom(self, z: Float[Array, "d"]) -> Float[Array, "r"]:
        """Return the state under the lowest layer: what a decoder reads."""
        parts = split_layers(z, self.dims)
        return self.descend(lambda i, law: parts[i])[1]

    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Draw from the top down."""
        parts, drawn = split_layers(noise, self.dims), []

        def layer(i: int, law: DiagGaussian) -> Array:
            drawn.append(law.from_noise(parts[i]))
            return drawn[-1]

        self.descend(layer)
        return jnp.concatenate(drawn)


class BottomUpGaussian(AbstractLayered):
    """q(z_1) ∏ q(z_{l+1} | z_l), drawn from the layer next to the data upwards.

    Attributes:
        first: q(z_1).
        links: From z_l to the law of z_{l+1}, the lowest first.
    """

    first: DiagGaussian
    links: tuple[AbstractLink, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        """Lengths of the layers, the top first."""
        return (*(link.dim for link in reversed(self.links)), self.first.loc.shape[-1])

    def laws(self, z: Float[Array, "d"]) -> tuple[DiagGaussian, ...]:
        """Return the law of each layer given the layer below it."""
        parts = split_layers(z, self.dims)[::-1]
        upward = [link.law(part) for link, part in zip(self.links, parts, strict=False)]
        return (*reversed(upward), self.first)

    def from_noise(self, noise: Float[Array, "d"]) -> Float[Array, "d"]:
        """Draw from the bottom up."""
        parts = split_layers(noise, self.dims)[::-1]
        drawn = [self.first.from_noise(parts[0])]
        for link, part in zip(self.links, parts[1:], strict=True):
            drawn.append(link.law(drawn[-1]).from_noise(part))
        return jnp.concatenate(drawn[::-1])


def precision_weighted(p: DiagGaussian, message: DiagGaussian) -> DiagGaussian:
    """Return the Gaussian proportional to the product of two: precisions add, means are weighed by them.

    Example:
        >>> import jax.numpy as jnp
        >>> prior = DiagGaussian(jnp.zeros(1), jnp.ones(1))
        >>> precision_weighted(prior, DiagGaussian(jnp.ones(1), jnp.ones(1))).loc.tolist()
        [0.5]
    """
    share = jax.nn.sigmoid(2 * (jnp.log(p.scale) - jnp.log(message.scale)))  # of the message, σ²/(σ² + s²)
    return DiagGaussian(p.loc + share * (message.loc - p.loc), message.scale * jnp.sqrt(share))


def split_layers(z: Float[Array, "d"], dims: Sequence[int]) -> list[Float[Array, "l"]]:
    """Cut a vector of layers into its layers."""
    return jnp.split(z, np.cumsum(dims)[:-1])


@register_kl(TopDownGaussian, TopDownGaussian)
def _layer_by_layer(q: TopDownGaussian, p: TopDownGaussian, z: Any) -> Float[Array, "groups"]:
    """KL(q(z_l | z_{>l}) ‖ p(z_l | z_{>l})) of each layer at the drawn layers above it."""
    own = p.laws(z)
    if q.rungs is p.rungs and p.messages is None and q.messages is not None:
        # one way down for both, and one way back for the gradient
        pairs = zip(own, q.messages, strict=True)
        laws = tuple(precision_weighted(law, message) for law, message in pairs)
    else:
        laws = q.laws(z)
    return jnp.stack([kl_per_dimension(a, b).sum() for a, b in zip(laws, own, strict=True)])
