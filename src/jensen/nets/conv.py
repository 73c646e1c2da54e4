"""Convolutional encoder and decoder of one picture, written as the row of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.errors import InputError
from jensen.nets.mlp import MLP, StartsAt
from jensen.nets.patches import ConvDown, ConvUp, PatchDown, PatchUp
from jensen.typing import Array, Float, PRNGKey


class ConvEncoder(eqx.Module):
    """From a picture, as a row, to a vector: patches, then overlapping kernels, then a perceptron.

    The first layer cuts the picture into patches of ``patch`` × ``patch`` pixels, where it is large and
    overlapping kernels are dear; each later one halves its sides with kernels of 4. Sides are padded with
    zeros to a multiple of what all layers divide by.

    Args:
        image_shape: (height, width) or (height, width, channels) of the pixels in a row.
        out_dim: Length of the output.
        channels: Channels after each layer.
        patch: Side of the first layer's patches.
        widths: Hidden widths of the perceptron at the end; none for a linear map.
        activation: Applied after each layer but the last.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a size is not positive.

    Example:
        >>> import jax
        >>> net = ConvEncoder((8, 8), 5, channels=(4, 8), key=jax.random.key(0))
        >>> net(jax.numpy.ones(64)).shape
        (5,)
    """

    layers: tuple[Any, ...]
    last: MLP
    image_shape: tuple[int, int, int]
    activation: Callable[[Array], Array]

    def __init__(
        self,
        image_shape: Sequence[int],
        out_dim: int,
        *,
        channels: Sequence[int] = (32, 64),
        patch: int = 2,
        widths: Sequence[int] = (),
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKey,
    ):
        self.image_shape = _shape("ConvEncoder", image_shape, channels, patch)
        rows, columns = _smallest(self.image_shape, len(channels), patch)
        first, *keys, to_last = jax.random.split(key, len(channels) + 1)
        pairs = zip(channels, channels[1:], keys, strict=False)
        self.layers = (
            PatchDown(self.image_shape[2], channels[0], patch, key=first),
            *(ConvDown(a, b, key=k) for a, b, k in pairs),
        )
        deep = rows * columns * channels[-1]
        self.last = MLP(deep, out_dim, widths, activation=activation, key=to_last)
        self.activation = activation

    def __call__(self, x: Float[Array, "d"]) -> Float[Array, "o"]:
        """Map one picture."""
        below = self.image_shape[:2]
        full = _smallest(self.image_shape, len(self.layers), self.layers[0].factor)
        by = self.layers[0].factor * 2 ** (len(self.layers) - 1)
        more = [(0, by * whole - side) for whole, side in zip(full, below, strict=True)]
        picture = jnp.pad(x.reshape(self.image_shape), (*more, (0, 0)))
        for layer in self.layers:
            picture = self.activation(layer(picture))
        return self.last(picture.reshape(-1))

    def quiet(self, by: float = 0.1) -> ConvEncoder:
        """Return the network with its last weights multiplied, so that outputs start near zero."""
        return eqx.tree_at(lambda net: net.last, self, self.last.quiet(by))


class ConvDecoder(StartsAt):
    """From a vector to a number for each pixel, as a row: ``ConvEncoder`` in reverse.

    Args:
        in_dim: Length of the input.
        image_shape: (height, width) or (height, width, channels) of the picture.
        channels: Channels before each layer, the deepest last, as the encoder's.
        patch: Side of the last layer's patches.
        widths: Hidden widths of the perceptron at the start; none for a linear map.
        maps: Numbers for each pixel; the output is map after map, length ``maps`` times the pixels.
        activation: Applied before each layer.
        key: Randomness of the initial weights.

    Raises:
        InputError: If a size is not positive.

    Example:
        >>> import jax
        >>> net = ConvDecoder(5, (9, 8, 3), channels=(4, 8), key=jax.random.key(0))
        >>> net(jax.numpy.ones(5)).shape
        (216,)
    """

    first: MLP
    layers: tuple[Any, ...]
    bias: Float[Array, "o"]
    image_shape: tuple[int, int, int]
    maps: int
    activation: Callable[[Array], Array]

    def __init__(
        self,
        in_dim: int,
        image_shape: Sequence[int],
        *,
        channels: Sequence[int] = (32, 64),
        patch: int = 2,
        widths: Sequence[int] = (),
        maps: int = 1,
        activation: Callable[[Array], Array] = jax.nn.relu,
        key: PRNGKey,
    ):
        self.image_shape = _shape("ConvDecoder", image_shape, channels, patch)
        if maps < 1:
            raise InputError(f"ConvDecoder: maps is {maps}; it must be at least 1")
        rows, columns = _smallest(self.image_shape, len(channels), patch)
        to_first, *keys, to_last = jax.random.split(key, len(channels) + 1)
        deep = rows * columns * channels[-1]
        self.first = MLP(in_dim, deep, widths, activation=activation, key=to_first)
        down = channels[::-1]
        self.layers = (
            *(ConvUp(a, b, key=k) for a, b, k in zip(down, down[1:], keys, strict=False)),
            PatchUp(channels[0], maps * self.image_shape[2], patch, key=to_last),
        )
        height, width, colours = self.image_shape
        self.bias = jnp.zeros(maps * height * width * colours)
        self.maps = maps
        self.activation = activation

    def __call__(self, z: Float[Array, "i"]) -> Float[Array, "o"]:
        """Map one vector."""
        (height, width, colours), last = self.image_shape, self.layers[-1]
        rows, columns = _smallest(self.image_shape, len(self.layers), last.factor)
        picture = self.first(z).reshape(rows, columns, -1)
        for layer in self.layers:
            picture = layer(self.activation(picture))
        maps = picture[:height, :width].reshape(height, width, self.maps, colours)
        return maps.transpose(2, 0, 1, 3).reshape(-1) + self.bias

    def starting_at(self, bias: Float[Array, "o"]) -> ConvDecoder:
        """Return the network with this output bias, one number for each output."""
        return eqx.tree_at(lambda net: net.bias, self, jnp.asarray(bias))


def _shape(name: str, shape: Sequence[int], channels: Sequence[int], patch: int) -> tuple[int, int, int]:
    """Return (height, width, channels) of a picture, checked with the sizes of layers on it."""
    if len(shape) not in (2, 3) or min(shape) < 1:
        wanted = "it must be (height, width) or (height, width, channels)"
        raise InputError(f"{name}: image_shape is {tuple(shape)}; {wanted}")
    if not channels or min(channels) < 1:
        raise InputError(f"{name}: channels is {tuple(channels)}; it must be one positive number a layer")
    if patch < 1:
        raise InputError(f"{name}: patch is {patch}; it must be at least 1")
    height, width, colours = (*shape, 1)[:3]
    return height, width, colours


def _smallest(shape: tuple[int, int, int], layers: int, patch: int) -> tuple[int, int]:
    """Return height and width of the deepest layer, rounded up."""
    by = patch * 2 ** (layers - 1)
    return -(-shape[0] // by), -(-shape[1] // by)
