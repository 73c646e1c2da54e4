"""The parameters with which a family gives the law of a poorer one."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jensen import dist
from jensen.errors import InputError
from jensen.families.base import LOG_SCALE_BOUND, AbstractFamily
from jensen.families.flow import CouplingFlow, InverseAutoregressiveFlow, PlanarFlow, Unshared
from jensen.families.gaussian import DiagGaussian, FullGaussian, LowRankGaussian
from jensen.families.mixture import Mixture
from jensen.nets import trainable
from jensen.typing import Array, Float


def embed(family: AbstractFamily, q: Any) -> Float[Array, "p"]:
    """Return parameters of ``family`` whose law is a given Gaussian, or as near as makes a good start.

    A rank more than q has starts small instead of at zero, and so do the distances between the components of
    a mixture: zero is a saddle of every bound.

    Args:
        family: A family that contains q: any of the Gaussian ones for a diagonal q, ``FullGaussian`` for
            every Gaussian, a ``Mixture`` of such; ``PlanarFlow`` or ``Unshared`` for a diagonal q.
        q: The law to reproduce.

    Raises:
        InputError: If the family does not contain q.

    Example:
        >>> import jax.numpy as jnp
        >>> q = dist.DiagGaussian(jnp.ones(2), 2 * jnp.ones(2))
        >>> family = FullGaussian(2)
        >>> bool(jnp.allclose(family(embed(family, q)).scale_tril, 2 * jnp.eye(2)))
        True
    """
    diagonal = isinstance(q, dist.DiagGaussian)
    if isinstance(family, Mixture) and isinstance(q, dist.AbstractGaussian):
        return _spread(family, embed(family.component, q), q)
    if isinstance(family, FullGaussian) and isinstance(q, dist.AbstractGaussian):
        tril = q.scale_tril
        scale = jnp.diagonal(tril)
        below = (tril / scale[:, None])[np.tril_indices(len(scale), -1)]
        return jnp.concatenate([q.mean, _raw(scale), below])
    if isinstance(family, LowRankGaussian) and isinstance(q, dist.DiagGaussian | dist.LowRankGaussian):
        return _with_rank(family, q)
    if isinstance(family, DiagGaussian) and diagonal:
        return jnp.concatenate([q.loc, _raw(q.scale)])
    if isinstance(family, PlanarFlow | Unshared) and diagonal:
        start = _identity(family)
        return jnp.concatenate([q.loc, _raw(q.scale), start[2 * family.latent_dim :]])
    raise InputError(
        f"{type(family).__name__} is not known to contain a {type(q).__name__}; start from a poorer family, "
        "such as families.DiagGaussian, and let a flow with weights be families.Unshared"
    )


def _raw(scale: Float[Array, "d"]) -> Float[Array, "d"]:
    """Invert ``bounded_exp``."""
    within = jnp.clip(jnp.log(scale) / LOG_SCALE_BOUND, -0.999999, 0.999999)
    return LOG_SCALE_BOUND * jnp.arctanh(within)


def _with_rank(family: LowRankGaussian, q: Any) -> Float[Array, "p"]:
    """Keep q's columns and variances; more columns than q has start small."""
    d, r = family.latent_dim, family.rank
    factor = q.factor if isinstance(q, dist.LowRankGaussian) else jnp.zeros((d, 0))
    if factor.shape[1] > r:
        raise InputError(f"LowRankGaussian of rank {r} does not contain one of rank {factor.shape[1]}")
    small = family.initial_params()[2 * d :].reshape(d, r)[:, factor.shape[1] :] * q.scale[:, None]
    scale = jnp.sqrt(q.scale**2 - (small**2).sum(-1))
    both = jnp.concatenate([factor, small], -1)
    return jnp.concatenate([q.loc, _raw(scale), both.reshape(-1)])


def _spread(family: Mixture, own: Float[Array, "p"], q: Any) -> Float[Array, "kp"]:
    """Put all components where q is, a tenth of its scale apart."""
    k, d = family.num_components, family.latent_dim
    apart = family.initial_params()[k:].reshape(k, -1)[:, :d] / 3.0
    params = jnp.tile(own, (k, 1)).at[:, :d].add(apart * jnp.sqrt(q.variance))
    return jnp.concatenate([jnp.zeros(k), params.reshape(-1)])


def _identity(family: PlanarFlow | Unshared) -> Float[Array, "p"]:
    """Return parameters with which a flow's layers do nothing."""
    if isinstance(family, PlanarFlow):
        return family.initial_params()
    flow = family.base
    if not isinstance(flow, CouplingFlow | InverseAutoregressiveFlow):
        raise InputError(f"{type(flow).__name__} is not known to contain a Gaussian; start it elsewhere")
    still = eqx.tree_at(_last_layers, flow, replace_fn=jnp.zeros_like)
    first, _ = ravel_pytree(eqx.filter(flow, trainable(flow)))
    wanted, _ = ravel_pytree(eqx.filter(still, trainable(still)))
    return jnp.concatenate([flow.initial_params(), (wanted - first) / Unshared.STEP])


def _last_layers(flow: Any) -> list[Any]:
    nets = [net if isinstance(flow, CouplingFlow) else net.net for net in flow.nets]
    return [leaf for net in nets for leaf in (net.weights[-1], net.biases[-1])]
