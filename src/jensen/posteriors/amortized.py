"""An inference network: one forward pass per datum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractInference,
    AbstractModel,
    Datum,
    HasFamily,
    InitializesFromData,
    Verdict,
)
from jensen.dist import AbstractDistribution
from jensen.errors import InputError, check_key
from jensen.families import AbstractFamily
from jensen.nets import MLP, Frame, column_means
from jensen.posteriors.rules import family_matches_prior, no_paths
from jensen.typing import Array, Float, PRNGKey


class Amortized(HasFamily, InitializesFromData):
    """q_φ(z | x, c) = family(net_φ(x)), fast on new data at the price of the amortization gap.

    The input is centred by the training data's column means and divided by one common scale, chosen at
    the first fit. Unobserved entries enter as the column mean.

    Args:
        family: Which laws q may be.
        data_dim: Length of x.
        widths: Hidden widths of the default perceptron.
        activation: Its activation.
        net: Any equinox module from x (and c joined to it) to the family's parameters, instead of it.
        cond_dim: Length of the condition joined to x; 0 for none.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a dimension is not positive.

    Example:
        >>> import jax
        >>> from jensen import families
        >>> q = Amortized(families.DiagGaussian(2), data_dim=5, widths=(16,), key=jax.random.key(0))
        >>> q.family.num_params
        4
    """

    family: AbstractFamily
    net: Any
    frame: Frame
    data_dim: int
    initialized: bool

    def __init__(
        self,
        family: AbstractFamily,
        *,
        data_dim: int,
        key: PRNGKey,
        widths: Sequence[int] = (256, 256),
        activation: Callable[[Array], Array] = jnp.tanh,
        net: Any = None,
        cond_dim: int = 0,
    ):
        check_key(key)
        if data_dim < 1:
            raise InputError(f"Amortized: data_dim is {data_dim}; it must be the number of columns of x")
        self.family = family
        if net is None:
            net = MLP(data_dim + cond_dim, family.num_params, widths, activation=activation, key=key)
            net = _start_small(net)
        self.net = net
        self.frame = Frame.identity(data_dim)
        self.data_dim = data_dim
        self.initialized = False

    def parameters(self, datum: Datum) -> Float[Array, "p"]:
        """Run the network on one datum."""
        x = self.frame.enter(datum.x)
        if datum.mask is not None:
            x = jnp.where(datum.mask, x, 0.0)
        if datum.cond is not None:
            x = jnp.concatenate([x, datum.cond])
        return self.net(x)

    def __call__(self, model: AbstractModel, datum: Datum, *, key: PRNGKey) -> AbstractDistribution:
        """Build the law the network proposes."""
        return self.family(self.parameters(datum))

    def law(self, model: AbstractModel) -> type[AbstractDistribution]:
        """Return the family's law."""
        return self.family.law

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse a family that lives on another space than the prior."""
        refusal = no_paths(self.family, "Amortized: posteriors.Smoothing infers paths by a network")
        return refusal or family_matches_prior(self.family, inference.model)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Amortized:
        """Take the input's centre and scale from the training rows."""
        x = np.asarray(rows.x)
        mean = column_means(x, rows.mask, rows.weight)
        seen = x if rows.mask is None else x[np.asarray(rows.mask)]
        pixels = seen.size == 0 or (seen.min() >= 0 and seen.max() <= 1)
        variance = 1.0 if pixels else column_means(x, rows.mask, rows.weight, about=mean).mean()
        # one scale for all columns: a per-column one would blow up the rarely lit pixels of an image
        scale = np.sqrt(variance) if variance > 0 else 1.0
        frame = Frame(jnp.asarray(mean, jnp.float32), jnp.full(len(mean), scale, jnp.float32))
        return eqx.tree_at(lambda q: (q.frame, q.initialized), self, (frame, True))


def _start_small(net: MLP) -> MLP:
    """Shrink the last layer so that q starts near the family's initial law."""
    last = net.layers[-1]
    small = eqx.tree_at(lambda layer: layer.weight, last, last.weight * 0.1)
    return eqx.tree_at(lambda n: n.layers, net, (*net.layers[:-1], small))
