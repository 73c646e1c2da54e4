"""A posterior of several layers drawn from the data upwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jensen import families
from jensen.core import AbstractModel, Datum
from jensen.dist import AbstractLink, BottomUpGaussian, DiagGaussian
from jensen.errors import check_key
from jensen.nets import MLP, Frame
from jensen.posteriors.layered import AbstractLayeredPosterior, layers_of
from jensen.typing import Array, Float, PRNGKey


class Upward(AbstractLink):
    """q(z_{l+1} | z_l).

    Attributes:
        dim: Length of z_{l+1}.
        net: From z_l to mean and log-scale.
    """

    dim: int
    net: MLP

    def law(self, state: Float[Array, "s"]) -> DiagGaussian:
        """Return the law of the layer above."""
        return families.DiagGaussian(self.dim)(self.net(state))


class BottomUp(AbstractLayeredPosterior):
    r"""q(z | x) = q(z_1 | x) ∏ q(z_{l+1} | z_l), the mirror image of p(z_L) ∏ p(z_l | z_{l+1}) p(x | z_1).

    Layers are drawn from the data upwards, so that their KL has no closed form: the terms of a layer,
    log q(z_{l+1} | z_l) − log p(z_{l+1} | z_{l+2}), add to the joint's but are no divergences of their own.

    Args:
        like: The model it is for; only its sizes are read.
        widths: Hidden widths of the network from x to q(z_1).
        between: Hidden widths of the networks from z_l to q(z_{l+1}).
        activation: Their activation.
        key: Randomness of the initial weights.

    Raises:
        CombinationError: If the model has no layers.

    References:
        Rezende, Mohamed & Wierstra 2014; Burda, Grosse & Salakhutdinov 2016.

    Example:
        >>> import jax
        >>> from jensen import models, posteriors
        >>> prior = models.priors.Hierarchical((2, 3), widths=(8,), key=jax.random.key(0))
        >>> model = models.Decoder(6, prior=prior, widths=(8,), key=jax.random.key(1))
        >>> posteriors.BottomUp(like=model, widths=(8,), between=(8,), key=jax.random.key(2)).latent_dims
        (2, 3)
    """

    net: MLP
    links: tuple[Upward, ...]
    frame: Frame
    latent_dims: tuple[int, ...]
    data_dim: int
    initialized: bool

    def __init__(
        self,
        *,
        like: Any,
        widths: Sequence[int] = (256, 256),
        between: Sequence[int] = (128,),
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKey,
    ):
        check_key(key)
        data_dim, dims = layers_of("BottomUp", like)
        upwards = dims[::-1]
        keys = jax.random.split(key, len(dims))
        self.net = MLP(data_dim, 2 * upwards[0], widths, activation=activation, key=keys[0]).quiet()
        self.links = tuple(
            Upward(dim, MLP(below, 2 * dim, between, activation=activation, key=k).quiet())
            for below, dim, k in zip(upwards, upwards[1:], keys[1:], strict=False)
        )
        self.frame = Frame.identity(data_dim)
        self.latent_dims = dims
        self.data_dim = data_dim
        self.initialized = False

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> BottomUpGaussian:
        """Build the law the networks propose."""
        lowest = families.DiagGaussian(self.latent_dims[-1])
        return BottomUpGaussian(lowest(self.net(self.entered(datum))), self.links)

    def law(self, model: AbstractModel) -> type[BottomUpGaussian]:
        """Layers drawn from the bottom up."""
        return BottomUpGaussian
