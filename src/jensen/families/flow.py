"""Flows: a Gaussian bent by invertible layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jensen import dist
from jensen.errors import InputError, at_least, check_key
from jensen.families.base import AbstractContextFlow, AbstractFamily, bounded_exp, check_family
from jensen.nets import Conditioner, Fixed, Masked, trainable
from jensen.typing import Array, Float, PRNGKey

_UNIT, _BOUND = 0.3, 5.0
"""Planar layers are learned in units of 0.3, so that one learning rate suits them and the Gaussian."""


class PlanarFlow(AbstractFamily):
    """z = loc + scale·f(u), f a chain of planar layers u + a tanh(wᵀu + b), all emitted for every datum.

    Parameters: d means, d log-scales, then w, a and b of each layer; zeros make the standard normal, and with
    a = 0 the law is ``DiagGaussian``'s. Both directions are cheap. One layer bends space along one direction,
    so many are wanted in many dimensions.

    Args:
        latent_dim: Length d of z.
        layers: Number of layers.

    References:
        Rezende & Mohamed 2015, Variational inference with normalizing flows.

    Example:
        >>> PlanarFlow(2, layers=3).num_params
        19
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Flow
    latent_dim: int
    layers: int = 8

    def __check_init__(self):
        at_least("family", 1, latent_dim=self.latent_dim, layers=self.layers)

    @property
    def num_params(self) -> int:
        """2d + layers·(2d + 1)."""
        return 2 * self.latent_dim + self.layers * (2 * self.latent_dim + 1)

    def __call__(self, params: Float[Array, "p"]) -> dist.Flow:
        """Split into the Gaussian and the layers."""
        d = self.latent_dim
        own, rest = params[: 2 * d], params[2 * d :].reshape(self.layers, 2 * d + 1)
        # a layer that looks nowhere learns nothing, so w = 0 in the parameters is a direction of its own
        sight = np.random.default_rng(0).normal(size=(self.layers, d)) / np.sqrt(d)
        w, a, b = jnp.split(_BOUND * jnp.tanh(_UNIT * rest / _BOUND), (d, 2 * d), axis=-1)
        planes = tuple(
            dist.Planar(w[i] + sight[i].astype(np.float32), a[i], b[i, 0]) for i in range(self.layers)
        )
        return _located(own, planes, d)

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: the standard normal."""
        return jnp.zeros(self.num_params)


class CouplingFlow(AbstractContextFlow):
    """z = loc + scale·f(u; h), f a chain of affine coupling layers (Real NVP). Both directions are cheap.

    Parameters: d means, d log-scales and a context h that the layers read. Their weights are the family's
    own: trained with the posterior that holds it and shared by all data (``Unshared`` emits them, too).
    Before training f is the identity, the law ``DiagGaussian``'s.

    Args:
        latent_dim: Length d of z, at least 2.
        layers: Number of layers, at least 2 so that every coordinate moves.
        widths: Hidden widths of each layer's network.
        context_dim: Length of h. With 0, f is the same for every datum.
        key: Randomness of the initial weights.

    References:
        Dinh, Sohl-Dickstein & Bengio 2017, Density estimation using Real NVP.

    Example:
        >>> import jax
        >>> CouplingFlow(4, context_dim=3, key=jax.random.key(0)).num_params
        11
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Flow
    nets: tuple[Conditioner, ...]
    latent_dim: int
    context_dim: int

    def __init__(
        self,
        latent_dim: int,
        *,
        layers: int = 4,
        widths: Sequence[int] = (32,),
        context_dim: int = 8,
        key: PRNGKey,
    ):
        _checked(latent_dim, layers, context_dim, key)
        keys = jax.random.split(key, layers)
        halves = [((latent_dim + 1) // 2, latent_dim // 2), (latent_dim // 2, (latent_dim + 1) // 2)]
        self.nets = tuple(
            Conditioner(halves[i % 2][0] + context_dim, 2 * halves[i % 2][1], widths, key=k)
            for i, k in enumerate(keys)
        )
        self.latent_dim, self.context_dim = latent_dim, context_dim

    def __call__(self, params: Float[Array, "p"]) -> dist.Flow:
        """Let the layers read the context."""
        own, context = jnp.split(params, (2 * self.latent_dim,))
        layers = tuple(dist.Coupling(net, context, i % 2 == 0) for i, net in enumerate(self.nets))
        return _located(own, layers, self.latent_dim)


class InverseAutoregressiveFlow(AbstractContextFlow):
    """z = loc + scale·f(u; h), each layer of f scaling and shifting uᵢ by functions of u_{<i} and h.

    A draw costs one pass a layer and knows its density. The density *elsewhere* costs d passes: annealed
    importance sampling and ``StickTheLanding`` are slow, ``Reparam`` is not. Parameters and weights are laid
    out as in ``CouplingFlow``.

    Args:
        latent_dim: Length d of z, at least 2.
        layers: Number of layers; the order of the coordinates turns around between them.
        widths: Hidden widths of each layer's masked network; d and more are best.
        context_dim: Length of h. With 0, f is the same for every datum.
        key: Randomness of the initial weights.

    References:
        Kingma et al. 2016, Improving variational inference with inverse autoregressive flow.

    Example:
        >>> import jax
        >>> InverseAutoregressiveFlow(4, context_dim=3, key=jax.random.key(0)).num_params
        11
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Flow
    nets: tuple[Masked, ...]
    latent_dim: int
    context_dim: int

    def __init__(
        self,
        latent_dim: int,
        *,
        layers: int = 4,
        widths: Sequence[int] = (64,),
        context_dim: int = 8,
        key: PRNGKey,
    ):
        _checked(latent_dim, layers, context_dim, key)
        self.nets = tuple(
            Masked(latent_dim, context_dim, widths, key=k) for k in jax.random.split(key, layers)
        )
        self.latent_dim, self.context_dim = latent_dim, context_dim

    def __call__(self, params: Float[Array, "p"]) -> dist.Flow:
        """Let the layers read the context, the order reversed between them."""
        own, context = jnp.split(params, (2 * self.latent_dim,))
        layers: list[dist.AbstractBijection] = []
        for net in self.nets:
            layers += [dist.Autoregressive(net, context), dist.Reverse()]
        return _located(own, tuple(layers), self.latent_dim)


class FlowjaxFlow(AbstractContextFlow):
    """z = loc + scale·f(u; h) with f any bijection of the package flowjax (splines, block networks, ...).

    The bijection's weights are shared by all data and trained with the posterior; where it takes a condition,
    that is the context h, emitted for every datum. A saved fit is loaded with ``like=``, as for classes of
    your own. Gradients are only as right as f is smooth: f with kinks in its derivative biases them.

    Args:
        bijection: Maps R^d to R^d, with ``transform_and_log_det`` and ``inverse_and_log_det``.

    Raises:
        InputError: If the bijection is not one of vectors.
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Flow
    bijection: Any

    def __init__(self, bijection: Any):
        shape = getattr(bijection, "shape", None)
        if not (isinstance(shape, tuple) and len(shape) == 1):
            raise InputError(
                f"FlowjaxFlow: bijection has shape {shape}; use one of vectors, of shape (latent_dim,)"
            )
        self.bijection = bijection

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return self.bijection.shape[0]

    @property
    def context_dim(self) -> int:
        """Length of the bijection's condition."""
        return int(np.prod(self.bijection.cond_shape)) if self.bijection.cond_shape is not None else 0

    def __call__(self, params: Float[Array, "p"]) -> dist.Flow:
        """Let the bijection read the context."""
        import paramax  # comes with flowjax

        own, context = jnp.split(params, (2 * self.latent_dim,))
        arrays, rest = eqx.partition(paramax.unwrap(self.bijection), eqx.is_array)
        layer = dist.Foreign(arrays, rest, context if self.context_dim else None)
        return _located(own, (layer,), self.latent_dim)


class Unshared(AbstractFamily, Fixed):
    """A flow whose weights are emitted for every datum, as the rest of its parameters are.

    No data share anything, which makes it the whole family that a flow of this shape spans: what
    ``diagnose.gap`` compares a shared one with. In a posterior its emitted weights are added to the flow's
    first ones, in units of 0.2, so that one learning rate suits means and weights alike. There are many
    of them: for ``PerDatum`` and small latents.

    Args:
        base: A flow with weights of its own.

    Raises:
        InputError: If it has none.

    Example:
        >>> import jax
        >>> flow = CouplingFlow(2, layers=2, widths=(4,), context_dim=0, key=jax.random.key(0))
        >>> flow.num_params, Unshared(flow).num_params
        (4, 40)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.Flow
    STEP: ClassVar[float] = 0.2
    base: Any

    def __init__(self, base: AbstractFamily):
        check_family("Unshared", "base", base)
        if not has_weights(base):
            raise InputError(f"Unshared: {type(base).__name__} has no weights to share; use it as it is")
        self.base = base

    @property
    def latent_dim(self) -> int:
        """That of the flow."""
        return self.base.latent_dim

    @property
    def num_params(self) -> int:
        """The flow's parameters, then its weights."""
        return self.base.num_params + sum(leaf.size for leaf in jax.tree.leaves(_weights(self.base)[0]))

    def __call__(self, params: Float[Array, "p"]) -> dist.Flow:
        """Move the flow's weights, then hand it the rest."""
        weights, rest = _weights(self.base)
        first, unravel = ravel_pytree(weights)
        own, moved = jnp.split(params, (self.base.num_params,))
        return eqx.combine(unravel(first + self.STEP * moved), rest)(own)

    def initial_params(self) -> Float[Array, "p"]:
        """The flow's own start, at its own weights."""
        start = self.base.initial_params()
        return jnp.concatenate([start, jnp.zeros(self.num_params - len(start))])


def has_weights(family: AbstractFamily) -> bool:
    """Whether a family holds numbers of its own that training moves."""
    return any(jax.tree.leaves(trainable(family)))


def _weights(family: Any) -> tuple[Any, Any]:
    return eqx.partition(family, trainable(family))


def _located(own: Float[Array, "p"], layers: tuple[dist.AbstractBijection, ...], dim: int) -> dist.Flow:
    loc, raw = jnp.split(own, 2)
    return dist.Flow(dist.Chain((*layers, dist.Affine(loc, bounded_exp(raw)))), dim)


def _checked(latent_dim: int, layers: int, context_dim: int, key: PRNGKey) -> None:
    check_key(key)
    at_least("family", 1, latent_dim=latent_dim)
    at_least("family", 2, layers=layers)
    at_least("family", 0, context_dim=context_dim)
    if latent_dim < 2:
        raise InputError(
            f"family: latent_dim is {latent_dim}; one coordinate has no other to depend on: use "
            "families.PlanarFlow"
        )
