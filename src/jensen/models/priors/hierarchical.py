"""Priors of several stochastic layers: a chain, and a ladder with a deterministic path down."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen import dist, families
from jensen.errors import InputError, at_least, check_key, checked_sizes
from jensen.models.priors.base import AbstractPrior
from jensen.nets import MLP, glorot
from jensen.typing import Array, Float, PRNGKey


class Link(dist.AbstractRung):
    """p(z_l | state) by a network, and the layer itself as the state below: the chain of Burda et al.

    Attributes:
        dim: Length of z_l.
        net: From the state to mean and log-scale; ``None`` for a standard normal.
    """

    dim: int
    net: MLP | None

    def law(self, state: Float[Array, "s"]) -> dist.DiagGaussian:
        """Return the law of z_l."""
        return gaussian_of(self.net, state, self.dim)

    def below(self, state: Float[Array, "s"], z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return z_l."""
        return z


class Step(dist.AbstractRung):
    """p(z_l | h) by a network, and a residual step h ← u + net(u), u = h + W z_l.

    Attributes:
        dim: Length of z_l.
        net: From h to mean and log-scale; ``None`` for a standard normal.
        enter: W, with a bias.
        mix: The residual network.
    """

    dim: int
    net: MLP | None
    enter: eqx.nn.Linear
    mix: MLP

    def law(self, state: Float[Array, "s"]) -> dist.DiagGaussian:
        """Return the law of z_l."""
        return gaussian_of(self.net, state, self.dim)

    def below(self, state: Float[Array, "s"], z: Float[Array, "d"]) -> Float[Array, "h"]:
        """Return h after the layer."""
        u = self.enter(z)
        u = u if self.net is None else u + state
        return u + self.mix(u)


class AbstractHierarchy(AbstractPrior):
    """p(z) = p(z_L) ∏ p(z_l | z_{>l}), with z = (z_L, …, z_1) one vector and every layer a latent group.

    Attributes:
        rungs: The layers, the top first.
        out_dim: Length of what the decoder's network reads.
    """

    rungs: eqx.AbstractVar[tuple[Any, ...]]

    @property
    @abstractmethod
    def out_dim(self) -> int:
        """Length of what the decoder's network reads."""

    @property
    def latent_dims(self) -> tuple[int, ...]:
        """Lengths of the layers, the top first."""
        return tuple(rung.dim for rung in self.rungs)

    @property
    def latent_dim(self) -> int:
        """Length of all layers together."""
        return sum(self.latent_dims)

    def __call__(self, cond: Any) -> dist.TopDownGaussian:
        """Return the law of all layers."""
        return dist.TopDownGaussian(self.rungs)

    def features(self, z: Float[Array, "d"]) -> Float[Array, "r"]:
        """Return what the decoder's network reads, length ``out_dim``."""
        return dist.TopDownGaussian(self.rungs).bottom(z)


class Hierarchical(AbstractHierarchy):
    r"""p(z) = N(z_L; 0, I) ∏ N(z_l; μ_l(z_{l+1}), diag σ_l²(z_{l+1})); the decoder reads z_1 alone.

    Args:
        latent_dims: Lengths of the layers, the top first, in the order they are drawn: (50, 100) is 100 next
            to the data.
        widths: Hidden widths of the networks between layers.
        activation: Their activation.
        key: Randomness of the initial weights.

    Raises:
        InputError: If there are fewer than two layers, or one is empty.

    References:
        Rezende, Mohamed & Wierstra 2014; Burda, Grosse & Salakhutdinov 2016.

    Example:
        >>> import jax
        >>> from jensen import models
        >>> prior = Hierarchical((2, 3), widths=(8,), key=jax.random.key(0))
        >>> model = models.Decoder(6, prior=prior, widths=(8,), key=jax.random.key(1))
        >>> model.latent_dim, prior.out_dim
        (5, 3)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.TopDownGaussian
    rungs: tuple[Link, ...]

    def __init__(
        self,
        latent_dims: Sequence[int],
        *,
        widths: Sequence[int] = (128, 128),
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKey,
    ):
        check_key(key)
        dims = checked_dims("Hierarchical", latent_dims)
        keys = jax.random.split(key, len(dims))
        nets = (
            MLP(above, 2 * dim, widths, activation=activation, key=k).quiet()  # near the standard normal
            for above, dim, k in zip(dims, dims[1:], keys, strict=False)
        )
        self.rungs = (Link(dims[0], None), *(Link(dim, net) for dim, net in zip(dims[1:], nets, strict=True)))

    @property
    def out_dim(self) -> int:
        """Length of z_1."""
        return self.rungs[-1].dim


class Ladder(AbstractHierarchy):
    r"""p(z) = N(z_L; 0, I) ∏ N(z_l; μ_l(h_l), diag σ_l²(h_l)), h a deterministic path down in residual steps.

    Every layer enters h, and the decoder reads the h below the last: each layer has a short way to the data,
    and no layer must pass on what those above it know.

    Args:
        latent_dims: Lengths of the layers, the top first.
        width: Length of h and of the hidden layers along the path.
        activation: Their activation.
        key: Randomness of the initial weights.

    Raises:
        InputError: If there are fewer than two layers, or one or h is empty.

    References:
        Sønderby et al. 2016; Kingma et al. 2016; Vahdat & Kautz 2020.

    Example:
        >>> import jax
        >>> prior = Ladder((2, 3, 4), width=8, key=jax.random.key(0))
        >>> prior.latent_dim, prior.out_dim
        (9, 8)
    """

    law: ClassVar[type[dist.AbstractDensity]] = dist.TopDownGaussian
    rungs: tuple[Step, ...]
    width: int

    def __init__(
        self,
        latent_dims: Sequence[int],
        *,
        width: int = 128,
        activation: Callable[[Array], Array] = jax.nn.silu,
        key: PRNGKey,
    ):
        check_key(key)
        at_least("prior", 1, width=width)
        dims = checked_dims("Ladder", latent_dims)
        self.rungs = tuple(
            _step(dim, width, activation, i == 0, key=k)
            for i, (dim, k) in enumerate(zip(dims, jax.random.split(key, len(dims)), strict=True))
        )
        self.width = width

    @property
    def out_dim(self) -> int:
        """Length of h."""
        return self.width


def features_dim(prior: AbstractPrior) -> int:
    """Return the length of what a decoder's network reads of the latents."""
    return prior.out_dim if isinstance(prior, AbstractHierarchy) else prior.latent_dim


def gaussian_of(net: MLP | None, state: Float[Array, "s"], dim: int) -> dist.DiagGaussian:
    """Return the Gaussian a network makes of a state, the standard normal without one."""
    if net is None:
        return dist.DiagGaussian(jnp.zeros(dim), jnp.ones(dim))
    return families.DiagGaussian(dim)(net(state))


def checked_dims(name: str, latent_dims: Sequence[int]) -> tuple[int, ...]:
    """Return the lengths of the layers.

    Raises:
        InputError: If there are fewer than two, or one is not positive.
    """
    dims = checked_sizes(name, "latent_dims", latent_dims, "(2, 5), the top first")
    if len(dims) < 2:
        raise InputError(f"{name}: latent_dims has {len(dims)} layer; give two or more, or StandardNormal")
    return dims


def _step(dim: int, width: int, activation: Callable[[Array], Array], top: bool, *, key: PRNGKey) -> Step:
    to_net, to_enter, to_mix = jax.random.split(key, 3)
    net = None if top else MLP(width, 2 * dim, (width,), activation=activation, key=to_net).quiet()
    enter = glorot(dim, width, key=to_enter)
    mix = MLP(width, width, (width,), activation=activation, key=to_mix).quiet(0.5)
    return Step(dim, net, enter, mix)
