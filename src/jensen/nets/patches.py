"""Layers on pictures (H, W, C) as matrix products of patches: convolutions in a form that CPUs are quick at.

XLA's transposed convolutions are several times slower on a CPU; ``bench/conv.py`` measures the forms.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.typing import Array, Float, PRNGKey

_HALVES = (slice(None, -1), slice(1, None))


class PatchDown(eqx.Module):
    """Every block of ``factor`` × ``factor`` pixels becomes one: a convolution with its kernel as stride.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        factor: Side of a block; height and width must be multiples of it.
        key: Randomness of the initial weights.

    Example:
        >>> import jax
        >>> layer = PatchDown(3, 8, 4, key=jax.random.key(0))
        >>> layer(jax.numpy.ones((8, 4, 3))).shape
        (2, 1, 8)
    """

    weight: Float[Array, "f f i o"]
    bias: Float[Array, "o"]
    factor: int

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, key: PRNGKey):
        shape = (factor, factor, in_channels, out_channels)
        self.weight = _he(shape, factor**2 * in_channels, key=key)
        self.bias = jnp.zeros(out_channels)
        self.factor = factor

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        """Map one picture to a smaller one."""
        flat = self.weight.reshape(-1, self.weight.shape[-1])
        return space_to_depth(x, self.factor) @ flat + self.bias


class PatchUp(eqx.Module):
    """Every pixel becomes a block of ``factor`` × ``factor``: the transpose of ``PatchDown``.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        factor: Side of a block.
        key: Randomness of the initial weights.
    """

    weight: Float[Array, "f f i o"]
    bias: Float[Array, "o"]
    factor: int

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, key: PRNGKey):
        self.weight = _he((factor, factor, in_channels, out_channels), in_channels, key=key)
        self.bias = jnp.zeros(out_channels)
        self.factor = factor

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        """Map one picture to a larger one."""
        flat = self.weight.transpose(2, 0, 1, 3).reshape(x.shape[-1], -1)
        return depth_to_space(x @ flat, self.factor) + self.bias


class ConvDown(eqx.Module):
    """Halve height and width with overlapping kernels: a convolution of kernel 4, stride 2, padding 1.

    Each 4 × 4 window is four 2 × 2 blocks of the padded picture, so it is one matrix product.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        key: Randomness of the initial weights.
    """

    weight: Float[Array, "4 4 i o"]
    bias: Float[Array, "o"]

    def __init__(self, in_channels: int, out_channels: int, *, key: PRNGKey):
        self.weight = _he((4, 4, in_channels, out_channels), 16 * in_channels, key=key)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        """Map one picture to a smaller one."""
        i, o = self.weight.shape[2:]
        by_block = self.weight.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5)
        return _windows(space_to_depth(_padded(x), 2)) @ by_block.reshape(-1, o) + self.bias


class ConvUp(eqx.Module):
    """Double height and width with overlapping kernels: ``ConvDown`` transposed, its kernel turned around.

    Split by the parity of an output's row and column: each of the four reads one 2 × 2 window of the input,
    so that no product is with a zero put between pixels.

    Args:
        in_channels: Channels read.
        out_channels: Channels made.
        key: Randomness of the initial weights.
    """

    weight: Float[Array, "4 4 i o"]
    bias: Float[Array, "o"]

    def __init__(self, in_channels: int, out_channels: int, *, key: PRNGKey):
        self.weight = _he((4, 4, in_channels, out_channels), 4 * in_channels, key=key)
        self.bias = jnp.zeros(out_channels)

    def __call__(self, x: Float[Array, "h w i"]) -> Float[Array, "h2 w2 o"]:
        """Map one picture to a larger one."""
        (h, w, _), o = x.shape, self.weight.shape[-1]
        windows = _windows(_padded(x))
        rows = [
            jnp.stack(
                [windows[_HALVES[a], _HALVES[b]] @ self.weight[a::2, b::2].reshape(-1, o) for b in (0, 1)], 2
            )
            for a in (0, 1)
        ]
        return jnp.stack(rows, 1).reshape(2 * h, 2 * w, o) + self.bias


def space_to_depth(x: Float[Array, "h w c"], factor: int) -> Float[Array, "h2 w2 fc"]:
    """Turn blocks of ``factor`` × ``factor`` pixels into channels."""
    h, w, c = x.shape
    blocks = x.reshape(h // factor, factor, w // factor, factor, c).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(h // factor, w // factor, factor**2 * c)


def depth_to_space(x: Float[Array, "h w fc"], factor: int) -> Float[Array, "h2 w2 c"]:
    """Turn channels back into blocks of pixels: the inverse of ``space_to_depth``."""
    h, w, c = x.shape
    blocks = x.reshape(h, w, factor, factor, c // factor**2).transpose(0, 2, 1, 3, 4)
    return blocks.reshape(h * factor, w * factor, c // factor**2)


def _padded(x: Float[Array, "h w c"]) -> Float[Array, "h2 w2 c"]:
    return jnp.pad(x, ((1, 1), (1, 1), (0, 0)))


def _windows(x: Float[Array, "h w c"]) -> Float[Array, "h1 w1 fc"]:
    """Join each pixel with its neighbours to the right and below."""
    return jnp.concatenate([x[rows, columns] for rows in _HALVES for columns in _HALVES], -1)


def _he(shape: tuple[int, ...], fan_in: int, *, key: PRNGKey) -> Float[Array, "..."]:
    """Draw weights of variance 2/fan-in, which relu layers keep the scale with (He et al. 2015)."""
    return (2.0 / fan_in) ** 0.5 * jax.random.normal(key, shape)
