"""A multilayer perceptron on one example."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import checked_sizes
from jensen.typing import Array, Float, PRNGKey


class StartsAt(eqx.Module):
    """A network whose output starts at a place chosen from the data, through its last bias."""

    @abstractmethod
    def starting_at(self, bias: Float[Array, "o"]) -> StartsAt:
        """Return the network with this output bias, one number for each output."""


class MLP(StartsAt):
    """Linear layers with an activation between them, none after the last.

    Args:
        in_dim: Length of the input.
        out_dim: Length of the output.
        widths: Widths of the hidden layers; empty for a linear map.
        activation: Applied between layers.
        key: Randomness of the initial weights.

    Example:
        >>> import jax
        >>> net = MLP(3, 2, (8, 8), key=jax.random.key(0))
        >>> net(jax.numpy.ones(3)).shape
        (2,)
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable[[Array], Array]

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        widths: Sequence[int] = (),
        *,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKey,
    ):
        sizes = [in_dim, *checked_sizes("MLP", "widths", widths, "(64, 64)"), out_dim]
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = tuple(glorot(a, b, key=k) for a, b, k in zip(sizes, sizes[1:], keys, strict=False))
        self.activation = activation

    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        """Map one input to one output."""
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)

    def quiet(self, by: float = 0.1) -> MLP:
        """Return the network with its last weights multiplied, so that outputs start near their bias."""
        last = self.layers[-1]
        return eqx.tree_at(lambda net: net.layers[-1].weight, self, by * last.weight)

    def starting_at(self, bias: Float[Array, "o"]) -> MLP:
        """Return the network with this output bias, one number for each output."""
        return eqx.tree_at(lambda net: net.layers[-1].bias, self, jnp.asarray(bias))


def glorot(in_dim: int, out_dim: int, *, key: PRNGKey) -> eqx.nn.Linear:
    """Return a layer with weights uniform in ±√(6/(in + out)) and bias zero (Glorot & Bengio 2010)."""
    limit = (6.0 / (in_dim + out_dim)) ** 0.5
    weight = jax.random.uniform(key, (out_dim, in_dim), minval=-limit, maxval=limit)
    bias = jnp.asarray(np.zeros(out_dim, weight.dtype))
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), _undrawn(in_dim, out_dim), (weight, bias))


@functools.cache
def _undrawn(in_dim: int, out_dim: int) -> eqx.nn.Linear:
    """Return a layer's shapes alone: equinox's own start, drawn to be dropped, is two programs a shape."""
    return eqx.filter_eval_shape(eqx.nn.Linear, in_dim, out_dim, key=jax.random.key(0))
