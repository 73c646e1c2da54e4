"""A perceptron's start."""

from __future__ import annotations

import jax
import numpy as np

from jensen.nets import MLP


def test_weights_start_within_glorots_bounds_and_biases_at_zero():
    for layer, total in zip(MLP(21, 2, (8,), key=jax.random.key(0)).layers, (29, 10), strict=True):
        weight, limit = np.asarray(layer.weight), (6 / total) ** 0.5
        assert weight.shape == (layer.out_features, layer.in_features)
        assert 0.9 * limit < np.abs(weight).max() <= limit
        assert abs(weight.mean()) < 4 * limit / (3 * weight.size) ** 0.5
        assert not np.any(layer.bias) and layer.bias.shape == (layer.out_features,)
