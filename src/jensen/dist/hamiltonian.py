"""A law pushed along Hamiltonian dynamics towards a target."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.dist.protocol import AbstractDensity, AbstractDistribution, Reparameterized, draw
from jensen.typing import Array, Float, PRNGKey, Scalar

_STRETCH = 2.0


class AbstractAugmented(AbstractDistribution):
    r"""A law of z with auxiliary noise: its log q is that of the pair, less the target's of the noise.

    E[p(x, z) / exp(log q)] = p(x) still holds, so every bound is one; but log q(z) has no value at a given z.
    """

    @property
    @abstractmethod
    def start(self) -> AbstractDensity:
        """Return the density that z starts from."""


class Hamiltonian(AbstractAugmented, Reparameterized):
    r"""z₀ ~ q₀ and momentum ρ₀ = γ/√β₀, γ ~ N(0, I), carried along by leapfrog steps on −log p(x, z).

    After step k the momentum is cooled by √(β_{k−1}/β_k), from β₀ to β_K = 1. Leapfrog keeps volumes and the
    cooling's is known, so log q = log q₀(z₀) + log N(γ; 0, I) − log N(ρ_K; 0, I).

    Args:
        base: q₀, over vectors.
        model: Has ``log_joint``.
        datum: What it is called with.
        raw_step: Step size of each coordinate, as log-ratio to ``step_size``, bounded within ±2.
        raw_heat: √β₀ is its logistic function.
        num_steps: K.
        step_size: Unit of the steps.

    References:
        Caterini, Doucet & Sejdinovic 2018, Hamiltonian variational auto-encoder.
    """

    base: Any
    model: Any
    datum: Any
    raw_step: Float[Array, "*b d"]
    raw_heat: Float[Array, "*b"]
    num_steps: int = eqx.field(static=True)
    step_size: float = eqx.field(static=True)

    @property
    def start(self) -> AbstractDensity:
        """q₀."""
        return self.base

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw z₀ and the momentum, and follow them."""
        to_z, to_momentum = jax.random.split(key)
        first = draw(self.base, key=to_z)
        noise = jax.random.normal(to_momentum, first.z.shape, first.z.dtype)
        z, momentum = self.follow(first.z, noise)
        return z, first.log_q.sum() + 0.5 * jnp.sum(momentum**2 - noise**2)

    def follow(self, z: Float[Array, "d"], noise: Float[Array, "d"]) -> tuple[Array, Array]:
        """Return where a start and standard normal noise end: z_K and ρ_K."""
        step = self.step_size * jnp.exp(_STRETCH * jnp.tanh(self.raw_step / _STRETCH))
        cold = jax.nn.sigmoid(self.raw_heat)
        # √β_k rises from √β₀ to 1, its inverse falling with k²
        share = (jnp.arange(self.num_steps + 1) / self.num_steps) ** 2
        heat = (1 - 1 / cold) * share + 1 / cold
        slope = jax.grad(lambda z: self.model.log_joint(z, self.datum))

        def leap(
            carry: tuple[Array, Array, Array], cooling: Array
        ) -> tuple[tuple[Array, Array, Array], None]:
            z, momentum, force = carry
            momentum = momentum + 0.5 * step * force
            z = z + step * momentum
            force = slope(z)
            return (z, (momentum + 0.5 * step * force) * cooling, force), None

        start = (z, noise / cold, slope(z))
        (z, momentum, _), _ = jax.lax.scan(leap, start, heat[1:] / heat[:-1])
        return z, momentum
