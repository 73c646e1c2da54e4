"""Recurrent networks: padding, direction, and an independent recurrence written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.nets import GRU, Bidirectional, Merge

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (6, 3))


def written_out(gru: GRU, x: np.ndarray) -> np.ndarray:
    """The recurrence in numpy, from h = 0."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    w, b, u, c = (
        np.asarray(a, np.float64) for a in (gru.entry.weight, gru.entry.bias, gru.own.weight, gru.own.bias)
    )
    h, out = np.zeros(gru.state_dim), []
    for row in np.asarray(x, np.float64):
        enter, own = np.split(w @ row + b, 3), np.split(u @ h + c, 3)
        reset, keep = sigmoid(enter[0] + own[0]), sigmoid(enter[1] + own[1])
        h = (1 - keep) * np.tanh(enter[2] + reset * own[2]) + keep * h
        out.append(h)
    return np.array(out)


def test_gru_against_numpy():
    gru = GRU(3, 4, key=KEY)
    np.testing.assert_allclose(gru.over_time(X), written_out(gru, X), atol=1e-5)
    backwards = gru.over_time(X, reverse=True)
    np.testing.assert_allclose(backwards[::-1], written_out(gru, X[::-1]), atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
def test_padding_is_not_seen(reverse):
    gru = GRU(3, 4, key=KEY)
    short = gru.over_time(X[:4], reverse=reverse)
    rubbish = X.at[4:].set(1e3)
    np.testing.assert_allclose(gru.over_time(rubbish, 4, reverse=reverse)[:4], short, atol=1e-6)
    assert (gru.over_time(X, 0, reverse=reverse) == 0).all()


def test_bidirectional_joins_both():
    net = Bidirectional(3, 4, key=KEY)
    out = net.over_time(X, 5)
    assert out.shape == (6, 8)
    np.testing.assert_array_equal(out[:, 4:], net.backward.over_time(X, 5, reverse=True))


def test_merge_is_a_perceptron_of_both_inputs():
    net = Merge(2, 3, 4, (5,), key=KEY)
    a, b = jnp.ones(2), X[0]
    hidden = jnp.tanh(net.first.weight @ a + net.first.bias + net.second.weight @ b + net.second.bias)
    last = net.rest.layers[0]
    np.testing.assert_allclose(net(a, net.prepare(b)), last.weight @ hidden + last.bias, atol=1e-5)
