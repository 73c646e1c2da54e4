"""The ladder posterior: a deterministic pass up, then layers drawn on the way down, prior times data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jensen.core import AbstractModel, Datum, PicksLaw
from jensen.dist import AbstractDensity, AbstractRung, DiagGaussian, TopDownGaussian, split_layers
from jensen.errors import check_key, checked_sizes
from jensen.families import AbstractFamily, bounded_exp
from jensen.nets import MLP, Frame
from jensen.posteriors.layered import AbstractLayeredPosterior, layers_of
from jensen.typing import Array, Float, PRNGKey


class Messages(AbstractFamily):
    """The laws ∏ q(z_l | z_{>l}) with q(z_l | z_{>l}) ∝ p(z_l | z_{>l}) N(z_l; m_l, s_l²).

    Parameters are all means m, then all log-scales log s, the top layer first.

    Attributes:
        rungs: The prior's layers.
    """

    law: ClassVar[type[AbstractDensity]] = TopDownGaussian
    rungs: tuple[AbstractRung, ...]

    def __init__(self, rungs: tuple[AbstractRung, ...]):
        self.rungs = rungs

    @property
    def latent_dim(self) -> int:
        """Length of all layers together."""
        return sum(TopDownGaussian(self.rungs).dims)

    @property
    def num_params(self) -> int:
        """Two for each latent."""
        return 2 * self.latent_dim

    def __call__(self, params: Float[Array, "p"]) -> TopDownGaussian:
        """Attach the factors to the prior."""
        loc, raw = jnp.split(params, 2)
        dims = TopDownGaussian(self.rungs).dims
        pairs = zip(split_layers(loc, dims), split_layers(bounded_exp(raw), dims), strict=True)
        return TopDownGaussian(self.rungs, tuple(DiagGaussian(m, s) for m, s in pairs))

    def initial_params(self) -> Float[Array, "p"]:
        """Zeros: factors N(0, I)."""
        return jnp.zeros(self.num_params)


class TopDown(AbstractLayeredPosterior, PicksLaw):
    r"""q(z | x) = q(z_L | x) ∏ q(z_l | z_{>l}, x), with q(z_l | ·) ∝ p(z_l | z_{>l}) N(z_l; m_l(x), s_l²(x)).

    A deterministic network goes up, d_1 = net(x), d_{l+1} = net(d_l), and each d_l gives a Gaussian factor
    that stands for p(x | z_l); the layers are drawn on the way down, from prior times factor. Precisions add,
    at the top layer too, so a layer that x says nothing about follows the prior at no cost. The prior's
    networks are the model's own and so are trained from both sides.

    Args:
        like: The model it is for; only its sizes are read.
        widths: Hidden widths of the network from x to d_1, at least one.
        between: Hidden widths of the networks from d_l to d_{l+1}, at least one.
        activation: After every layer.
        key: Randomness of the initial weights.

    Raises:
        CombinationError: If the model has no layers.

    References:
        Sønderby et al. 2016 (ladder variational autoencoder).

    Example:
        >>> import jax
        >>> from jensen import models, posteriors
        >>> prior = models.priors.Hierarchical((2, 3), widths=(8,), key=jax.random.key(0))
        >>> model = models.Decoder(6, prior=prior, widths=(8,), key=jax.random.key(1))
        >>> q = posteriors.TopDown(like=model, widths=(8,), between=(8,), key=jax.random.key(2))
        >>> q.latent_dims
        (2, 3)
    """

    ups: tuple[MLP, ...]
    heads: tuple[MLP, ...]
    activation: Callable[[Array], Array]
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
        data_dim, dims = layers_of("TopDown", like)
        between = checked_sizes("TopDown", "between", between, "(128,)")
        sizes = [checked_sizes("TopDown", "widths", widths, "(256, 256)"), *[between] * (len(dims) - 1)]
        tops = [data_dim, *(size[-1] for size in sizes)]
        keys = jax.random.split(key, 2 * len(dims))
        self.ups = tuple(
            MLP(below, size[-1], size[:-1], activation=activation, key=k)
            for below, size, k in zip(tops, sizes, keys, strict=False)
        )
        self.heads = tuple(
            MLP(size[-1], 2 * dim, (), key=k).quiet()
            for size, dim, k in zip(sizes, reversed(dims), keys[len(dims) :], strict=True)
        )
        self.activation = activation
        self.frame = Frame.identity(data_dim)
        self.latent_dims = dims
        self.data_dim = data_dim
        self.initialized = False

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Go up, and return what each layer is told: all means, then all log-scales, the top first."""
        hidden, told = self.entered(datum), []
        for up, head in zip(self.ups, self.heads, strict=True):
            hidden = self.activation(up(hidden))
            told.append(jnp.split(head(hidden), 2))
        return jnp.concatenate([part[i] for i in (0, 1) for part in reversed(told)])

    def family_given(self, model: Any, datum: Datum) -> Messages:
        """Return the laws the network picks from, given the model's prior."""
        return Messages(model.prior_of(None).rungs)

    def __call__(self, model: Any, datum: Datum, *, key: PRNGKey) -> TopDownGaussian:
        """Build the law the network proposes."""
        return self.family_given(model, datum)(self.parameters(datum))

    def law(self, model: AbstractModel) -> type[TopDownGaussian]:
        """Layers drawn from the top down."""
        return TopDownGaussian
