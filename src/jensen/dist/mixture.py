"""A mixture of laws of one family."""

from __future__ import annotations

from typing import Any

import jax

from jensen.dist.protocol import AbstractDensity
from jensen.typing import Array, Float, PRNGKey, Scalar


class Mixture(AbstractDensity):
    """Σₖ πₖ pₖ(z), π = softmax(logits), pₖ = ``make(params[k])``.

    Components are made where they are needed: what ``make`` holds itself (a flow's network) is there once,
    not K times. A draw picks its component, so it is no differentiable function of the weights.

    Attributes:
        logits: Unnormalized log-weights.
        params: Parameters of every component.
        make: From a component's parameters to its law; a family, for one.

    Example:
        >>> import jax.numpy as jnp
        >>> from jensen.dist import DiagGaussian
        >>> at = jnp.array([[-3.0], [3.0]])
        >>> two = Mixture(jnp.zeros(2), at, lambda loc: DiagGaussian(loc, jnp.ones(1)))
        >>> round(float(two.log_prob(jnp.array([3.0]))), 3)  # half of one Gaussian's peak
        -1.612
    """

    logits: Float[Array, "k"]
    params: Float[Array, "k p"]
    make: Any

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return log Σₖ πₖ pₖ(z), in nats."""
        each = jax.vmap(lambda params: self.make(params).log_prob(z).sum())(self.params)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + each)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw a component, then z from it."""
        to_which, to_z = jax.random.split(key)
        chosen = self.params[jax.random.categorical(to_which, self.logits)]
        z, _ = self.make(chosen).sample_and_log_prob(key=to_z)
        return z, self.log_prob(z)
