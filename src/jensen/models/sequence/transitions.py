"""Networks from z_{t−1} (and a_{t−1}) to the mean and log-scale of z_t."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.errors import InputError
from jensen.nets import MLP, glorot
from jensen.typing import Array, Float, PRNGKey

TRANSITIONS = ("gated", "linear")


class Gated(eqx.Module):
    """Mean (1 − g) ⊙ (W z + b) + g ⊙ h(z), log-scale a function of h: a gate between linear and nonlinear.

    W starts at the identity.

    Args:
        latent_dim: Length d of z.
        cond_dim: Length of an action, joined to z.
        width: Hidden width of the gate and of h.
        key: Randomness of the initial weights.

    References:
        Krishnan, Shalit & Sontag 2017, equation 8 and below.
    """

    gate: MLP
    proposal: MLP
    linear: eqx.nn.Linear
    spread: eqx.nn.Linear

    def __init__(self, latent_dim: int, cond_dim: int, width: int, *, key: PRNGKey):
        keys, total = jax.random.split(key, 4), latent_dim + cond_dim
        self.gate = MLP(total, latent_dim, (width,), activation=jax.nn.relu, key=keys[0])
        self.proposal = MLP(total, latent_dim, (width,), activation=jax.nn.relu, key=keys[1])
        linear = glorot(total, latent_dim, key=keys[2])
        same = linear.weight.at[:, :latent_dim].set(jnp.eye(latent_dim))
        self.linear = eqx.tree_at(lambda layer: layer.weight, linear, same)
        self.spread = glorot(latent_dim, latent_dim, key=keys[3])

    def __call__(self, state: Float[Array, "s"]) -> Float[Array, "p"]:
        """Return d means, then d log-scales."""
        gate, proposal = jax.nn.sigmoid(self.gate(state)), self.proposal(state)
        loc = (1 - gate) * self.linear(state) + gate * proposal
        return jnp.concatenate([loc, self.spread(jax.nn.relu(proposal))])


class Linear(eqx.Module):
    """Mean W z + b, constant log-scale: with a linear decoder, a linear-Gaussian state-space model.

    Args:
        latent_dim: Length d of z.
        cond_dim: Length of an action, joined to z.
        key: Randomness of the initial weights.
    """

    linear: eqx.nn.Linear
    log_scale: Float[Array, "d"]

    def __init__(self, latent_dim: int, cond_dim: int, *, key: PRNGKey):
        self.linear = glorot(latent_dim + cond_dim, latent_dim, key=key)
        self.log_scale = jnp.zeros(latent_dim)

    def __call__(self, state: Float[Array, "s"]) -> Float[Array, "p"]:
        """Return d means, then d log-scales."""
        return jnp.concatenate([self.linear(state), self.log_scale])


class LocallyLinear(eqx.Module):
    """Mean A(z) z + B(z) a + o(z) with A = I + v rᵀ, all functions of z; constant log-scale.

    Args:
        latent_dim: Length d of z.
        cond_dim: Length u of an action, joined to z.
        widths: Hidden widths of the network from z to v, r, B and o.
        log_scale: Where the log-scales start.
        key: Randomness of the initial weights.

    References:
        Watter et al. 2015, section 2.3.
    """

    net: MLP
    log_scale: Float[Array, "d"]
    latent_dim: int
    cond_dim: int

    def __init__(
        self, latent_dim: int, cond_dim: int, widths: Sequence[int], *, log_scale: float = -1.0, key: PRNGKey
    ):
        out = latent_dim * (3 + cond_dim)
        # v rᵀ starts near nothing: a latent that no action moves stays where it is
        self.net = MLP(latent_dim, out, tuple(widths), activation=jax.nn.relu, key=key).quiet()
        self.log_scale = jnp.full(latent_dim, log_scale)
        self.latent_dim, self.cond_dim = latent_dim, cond_dim

    def matrices(
        self, z: Float[Array, "d"]
    ) -> tuple[Float[Array, "d d"], Float[Array, "d u"], Float[Array, "d"]]:
        """Return A(z), B(z) and o(z)."""
        v, r, o, b = self._parts(z)
        return jnp.eye(self.latent_dim) + jnp.outer(v, r), b, o

    def __call__(self, state: Float[Array, "s"]) -> Float[Array, "p"]:
        """Return d means, then d log-scales."""
        z, action = state[: self.latent_dim], state[self.latent_dim :]
        v, r, o, b = self._parts(z)
        return jnp.concatenate([z + v * (r @ z) + b @ action + o, self.log_scale])

    def _parts(self, z: Float[Array, "d"]) -> tuple[Array, Array, Array, Array]:
        d = self.latent_dim
        v, r, o, b = jnp.split(self.net(z), (d, 2 * d, 3 * d))
        return v, r, o, b.reshape(d, self.cond_dim)


def transition_net(transition: Any, latent_dim: int, cond_dim: int, width: int, *, key: PRNGKey) -> Any:
    """Return a transition by name, or the module given.

    Raises:
        InputError: If a size is not positive.
    """
    if not isinstance(transition, str):
        return transition
    if width < 1:
        raise InputError(f"transition: width is {width}; it must be at least 1")
    if transition == "linear":
        return Linear(latent_dim, cond_dim, key=key)
    return Gated(latent_dim, cond_dim, width, key=key)
