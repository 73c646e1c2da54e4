"""Patches and kernels are convolutions; pictures of any size go in and come out."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.errors import InputError
from jensen.nets import ConvDecoder, ConvEncoder
from jensen.nets.patches import ConvDown, ConvUp, PatchDown, PatchUp, depth_to_space, space_to_depth

KEY = jax.random.key(0)
PICTURE = jax.random.normal(jax.random.key(1), (6, 4, 3))
LAYOUT = ("NHWC", "HWIO", "NHWC")


def strided(x, weight, stride, padding):
    padding = ((padding, padding),) * 2
    return jax.lax.conv_general_dilated(x[None], weight, (stride, stride), padding, dimension_numbers=LAYOUT)[
        0
    ]


def transposed(x, weight, stride, padding):
    padding = ((padding, padding),) * 2
    return jax.lax.conv_transpose(x[None], weight, (stride, stride), padding, dimension_numbers=LAYOUT)[0]


def with_bias(layer):
    return eqx.tree_at(lambda one: one.bias, layer, 0.1 * jnp.arange(5.0))


def test_layers_equal_lax_convolutions_values_and_gradients():
    cases = [
        (PatchDown(3, 5, 2, key=KEY), lambda w, x: strided(x, w, 2, 0)),
        (ConvDown(3, 5, key=KEY), lambda w, x: strided(x, w, 2, 1)),
        (ConvUp(3, 5, key=KEY), lambda w, x: transposed(x, w, 2, 2)),
        # a transposed convolution of lax reads its kernel turned around
        (PatchUp(3, 5, 3, key=KEY), lambda w, x: transposed(x, w[::-1, ::-1], 3, 2)),
    ]
    for layer, by_lax in cases:
        layer = with_bias(layer)

        def ours(weight, x, layer=layer):
            return eqx.tree_at(lambda has: has.weight, layer, weight)(x)

        def theirs(weight, x, layer=layer, by_lax=by_lax):
            return by_lax(weight, x) + layer.bias

        one, pull_one = jax.vjp(ours, layer.weight, PICTURE)
        other, pull_other = jax.vjp(theirs, layer.weight, PICTURE)
        np.testing.assert_allclose(one, other, atol=1e-5, err_msg=type(layer).__name__)
        probe = jnp.sin(jnp.arange(one.size)).reshape(one.shape)
        for a, b in zip(pull_one(probe), pull_other(probe), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=type(layer).__name__)


def test_depth_and_space():
    deep = space_to_depth(PICTURE, 2)
    assert deep.shape == (3, 2, 12)
    np.testing.assert_array_equal(deep[1, 0], PICTURE[2:4, 0:2].reshape(-1))
    np.testing.assert_array_equal(depth_to_space(deep, 2), PICTURE)


@pytest.mark.parametrize("shape", [(8, 8), (7, 10, 3)])
def test_pictures_of_any_size(shape):
    pixels = int(np.prod(shape))
    encoder = ConvEncoder(shape, 4, channels=(3, 5, 6), key=KEY)
    assert encoder(jnp.ones(pixels)).shape == (4,)
    decoder = ConvDecoder(2, shape, channels=(3, 5, 6), maps=2, key=KEY)
    started = decoder.starting_at(jnp.arange(2.0 * pixels))
    np.testing.assert_allclose(started(jnp.ones(2)) - decoder(jnp.ones(2)), np.arange(2 * pixels), rtol=1e-4)


def test_every_pixel_is_read_and_written_in_its_place():
    """A pixel of the last, padded block counts; an output's map and place are those of the row."""
    encoder = ConvEncoder((5, 5), 3, channels=(4, 4), key=KEY)
    reads = jax.jacobian(encoder)(jnp.ones(25))
    assert (np.abs(reads).max(0) > 0).all()
    decoder = ConvDecoder(2, (4, 4, 2), channels=(3,), patch=4, maps=2, key=KEY)
    weight = jnp.zeros_like(
        decoder.layers[0].weight
    )  # one map of one colour at one pixel: [row, column, in, map·2 + colour]
    weight = weight.at[1, 3, :, 1 * 2 + 0].set(1.0)
    lit = eqx.tree_at(lambda net: net.layers[0].weight, decoder, weight)(jnp.array([1.0, -2.0]))
    assert np.flatnonzero(lit).tolist() == [1 * 32 + (1 * 4 + 3) * 2 + 0]


def test_sizes_are_checked():
    with pytest.raises(InputError, match=r"image_shape is \(8,\); it must be"):
        ConvEncoder((8,), 4, key=KEY)
    with pytest.raises(InputError, match="channels"):
        ConvDecoder(2, (8, 8), channels=(), key=KEY)
    with pytest.raises(InputError, match="patch is 0"):
        ConvEncoder((8, 8), 4, patch=0, key=KEY)
    with pytest.raises(InputError, match="maps is 0"):
        ConvDecoder(2, (8, 8), maps=0, key=KEY)
