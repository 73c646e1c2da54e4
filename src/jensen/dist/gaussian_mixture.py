"""A mixture of Gaussians whose samples are differentiable functions of all its parameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr

from jensen.dist.gaussian import AbstractGaussian, DiagGaussian
from jensen.dist.protocol import AbstractMoments, AbstractTransport, Reparameterized
from jensen.typing import Array, Float, PRNGKey, PyTree, Scalar


class GaussianMixture(AbstractTransport, AbstractMoments, Reparameterized):
    r"""q(z) = Σₖ πₖ N(z; μₖ, Lₖ Lₖᵀ), π = softmax(logits), reparameterized implicitly.

    The component is drawn by Gumbel noise and never differentiated. Instead, the conditional distribution
    functions Fᵢ(zᵢ | z_{<i}) of a sample are uniform whatever the parameters φ, so that
    dz/dφ = −(∂F/∂z)⁻¹ ∂F/∂φ, with ∂F/∂z lower triangular. Exact, weights included; second derivatives too.
    A gradient costs O(K d²) a sample where the components are diagonal, O(K d³) elsewhere.

    Args:
        logits: Unnormalized log-weights.
        components: Any Gaussian law, stacked on a leading axis of length K.

    References:
        Figurnov, Mohamed & Mnih 2018, Implicit reparameterization gradients.
    """

    logits: Float[Array, "*b k"]
    components: Any

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return log Σₖ πₖ N(z; μₖ, Lₖ Lₖᵀ), in nats."""
        each = jax.vmap(lambda component: component.log_prob(z))(self.components)
        return jax.nn.logsumexp(jax.nn.log_softmax(self.logits) + each)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw a component and z from it."""
        z = self.from_noise(self.noise(key=key))
        return z, self.log_prob(z)

    def noise(self, *, key: PRNGKey) -> PyTree:
        """Draw the Gumbel noise that picks the component, and ε."""
        to_which, to_z = jax.random.split(key)
        loc: Array = self.components.loc
        gumbel = jax.random.gumbel(to_which, self.logits.shape, self.logits.dtype)
        return gumbel, jax.random.normal(to_z, loc.shape[-1:], loc.dtype)

    def from_noise(self, noise: PyTree) -> Float[Array, "d"]:
        """Return the sample this noise makes."""

        def root(component: AbstractGaussian) -> Array:
            return component.scale if isinstance(component, DiagGaussian) else component.scale_tril

        return _sample(noise, (self.logits, self.components.mean, jax.vmap(root)(self.components)))

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """Σₖ πₖ μₖ."""
        return jnp.einsum("...k,...kd->...d", jax.nn.softmax(self.logits), self.components.mean)

    @property
    def variance(self) -> Float[Array, "*b d"]:
        """Marginal variances: within components and between them."""
        own = self.components.variance + (self.components.mean - self.mean[..., None, :]) ** 2
        return jnp.einsum("...k,...kd->...d", jax.nn.softmax(self.logits), own)


@jax.custom_jvp
def _sample(noise: PyTree, params: PyTree) -> Float[Array, "d"]:
    """Return μₖ + Lₖ ε for the k with the largest logit + Gumbel noise; roots are L, or its diagonal."""
    (gumbel, normal), (logits, mean, root) = noise, params
    k = jnp.argmax(logits + gumbel)
    return mean[k] + (root[k] * normal if root.ndim == 2 else root[k] @ normal)


@_sample.defjvp
def _implicit(primals: tuple[PyTree, PyTree], tangents: tuple[PyTree, PyTree]) -> tuple[Array, Array]:
    (noise, params), (_, moved) = primals, tangents
    z = _sample(noise, params)
    upper = jax.lax.stop_gradient(_distribution_functions(z, params, jnp.zeros(z.shape, bool)) > 0.5)
    _, change = jax.jvp(lambda params: _distribution_functions(z, params, upper), (params,), (moved,))
    slope = jax.jacfwd(_distribution_functions)(z, params, upper)
    return z, -_substitute(slope, change)


def _distribution_functions(z: Float[Array, "d"], params: PyTree, upper: Array) -> Float[Array, "d"]:
    """Return Fᵢ(zᵢ | z_{<i}), less one where ``upper``: the same slopes, exact in that tail too."""
    logits, mean, root = params
    diagonal = root if root.ndim == 2 else jnp.diagonal(root, axis1=-2, axis2=-1)
    white = (z - mean) / root if root.ndim == 2 else jax.vmap(_substitute)(root, z - mean)
    log_density = -0.5 * white**2 - jnp.log(diagonal)
    before = jnp.cumsum(log_density, -1) - log_density
    weight = jax.nn.softmax(jax.nn.log_softmax(logits)[:, None] + before, axis=0)
    return (weight * jnp.where(upper, -ndtr(-white), ndtr(white))).sum(0)


def _substitute(tril: Float[Array, "d d"], right: Float[Array, "d"]) -> Float[Array, "d"]:
    """Solve L x = b row by row: unlike LAPACK's, differentiable in both modes and mapped over as it is."""

    def row(x: Array, at: tuple[Array, Array, Array]) -> tuple[Array, None]:
        entries, value, i = at
        return x.at[i].set((value - entries @ x) / entries[i]), None

    return jax.lax.scan(row, jnp.zeros_like(right), (tril, right, jnp.arange(len(right))))[0]
