"""Frames: exact at offsets, sane on constant columns, never trained."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jensen import gradients, objectives
from jensen.models import priors
from jensen.nets import MLP, Frame, trainable


def test_constant_columns_have_unit_scale_wherever_they_sit():
    x = np.stack([np.full(9, 1000.1), np.full(9, 0.0), np.full(9, 1e-3), np.arange(9) * 1e-60], -1)
    np.testing.assert_array_equal(Frame.standardizing(x, None, None).scale, 1.0)


def test_standardizes_observed_weighted_entries():
    rng = np.random.default_rng(0)
    x, mask, weight = 1000 + rng.normal(size=(40, 3)), rng.random((40, 3)) < 0.7, rng.random(40)
    frame = Frame.standardizing(np.where(mask, x, np.nan), mask, weight)
    y = (x - np.asarray(frame.shift, float)) / np.asarray(frame.scale, float)
    w = weight[:, None] * mask
    np.testing.assert_allclose((w * y).sum(0) / w.sum(0), 0, atol=2e-4)
    np.testing.assert_allclose((w * y**2).sum(0) / w.sum(0), 1, rtol=1e-3)
    np.testing.assert_allclose(frame.leave(frame.enter(jnp.asarray(x, jnp.float32))), x, rtol=1e-6)


def test_frames_are_not_trained():
    frame = Frame.identity(2)
    assert jax.tree.leaves(trainable(frame)) == [False, False]
    slope = jax.grad(lambda f: f.enter(jnp.ones(2)).sum() + f.leave(jnp.ones(2)).sum())(frame)
    assert not np.asarray(slope.shift).any() and not np.asarray(slope.scale).any()
    assert any(jax.tree.leaves(trainable(MLP(2, 1, key=jax.random.key(0)))))


def test_options_are_not_trained_whatever_kind_of_number_they_are():
    """β given as a NumPy scalar stays what it was; networks beside it are trained."""
    number = np.float64
    learned = gradients.Learned(3, widths=(2,), key=jax.random.key(0))
    members = [
        objectives.ELBO(beta=number(2.0)),
        objectives.ELBO(beta=objectives.Linear(number(0.0), number(1.0), 10)),
        objectives.Renyi(number(0.5), num_samples=2),
        objectives.BetaTC(number(4.0)),
        gradients.Relaxed(number(0.5)),
        gradients.REBAR(number(0.5)),
        priors.Gamma(2, number(1.0), number(1.0)),
    ]
    assert not any(any(jax.tree.leaves(trainable(member))) for member in members)
    assert any(jax.tree.leaves(trainable(learned)))
