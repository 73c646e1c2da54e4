"""Mixtures of Gaussians as a variational family."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from jensen import dist
from jensen.errors import InputError, at_least
from jensen.families.base import AbstractFamily, check_family
from jensen.typing import Array, Float


class Mixture(AbstractFamily):
    """q(z) = Σₖ πₖ qₖ(z) of K Gaussians of one family: K logits, then the parameters of each.

    For posteriors with several modes. Samples are reparameterized implicitly, so that every gradient for
    reparameterized laws applies; the KL is sampled.

    Args:
        component: The family of the components, one of Gaussians.
        num_components: K.

    Raises:
        InputError: If the components are not Gaussian, or K is below 1.

    Example:
        >>> from jensen.families import DiagGaussian
        >>> Mixture(DiagGaussian(2), 3).num_params
        15
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.GaussianMixture
    component: AbstractFamily
    num_components: int

    def __init__(self, component: AbstractFamily, num_components: int):
        check_family("Mixture", "component", component)
        at_least("family", 1, num_components=num_components)
        if not issubclass(component.law, dist.AbstractGaussian):
            raise InputError(
                f"Mixture: components of {type(component).__name__} cannot be reparameterized together; "
                "use families.DiagGaussian, LowRankGaussian or FullGaussian"
            )
        self.component, self.num_components = component, num_components

    @property
    def latent_dim(self) -> int:
        """That of the components."""
        return self.component.latent_dim

    @property
    def num_params(self) -> int:
        """K (1 + the component's)."""
        return self.num_components * (1 + self.component.num_params)

    def __call__(self, params: Float[Array, "p"]) -> dist.GaussianMixture:
        """Split into logits and components."""
        logits, rest = jnp.split(params, (self.num_components,))
        bounded = 20.0 * jnp.tanh(logits / 20.0)  # no component is ever ruled out for good
        return dist.GaussianMixture(bounded, jax.vmap(self.component)(rest.reshape(self.num_components, -1)))

    def initial_params(self) -> Float[Array, "p"]:
        """Even odds; the means a little apart, since equal components would stay equal."""
        k, d = self.num_components, self.latent_dim
        start = jnp.tile(self.component.initial_params(), (k, 1))
        wave = 0.3 * jnp.cos(jnp.outer(jnp.arange(k), jnp.arange(d) + 1) * jnp.pi / max(k - 1, 1))
        return jnp.concatenate([jnp.zeros(k), start.at[:, :d].add(wave if k > 1 else 0.0).reshape(-1)])
