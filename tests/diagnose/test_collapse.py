from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, families, gradients, models, objectives, posteriors
from jensen.errors import InputError

KEY = jax.random.key(5)


def _gaussian(weight, bias):
    model = models.Decoder(3, 3, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(3), data_dim=3, widths=(), key=KEY)
    q = eqx.tree_at(
        lambda q: (q.net.layers[0].weight, q.net.layers[0].bias), q, (jnp.asarray(weight), jnp.asarray(bias))
    )
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def test_used_and_unused_units_are_told_apart():
    """q₁ = N(x₁, 0.1²), q₂ = N(0.05 x₂, 1), q₃ = the prior; closed forms for each."""
    weight = np.zeros((6, 3), np.float32)
    weight[0, 0], weight[1, 1] = 1.0, 0.05
    raw = 10 * np.arctanh(np.log(0.1) / 10)
    inference = _gaussian(weight, np.array([0, 0, 0, raw, 0, 0], np.float32))
    x = np.random.default_rng(0).normal(size=(800, 3)).astype(np.float32)
    out = diagnose.collapse(inference, x, key=KEY, rows=None)
    expected = [
        0.5 * (0.01 + (x[:, 0] ** 2).mean() - 1 - np.log(0.01)),
        0.5 * 0.0025 * (x[:, 1] ** 2).mean(),
        0,
    ]
    np.testing.assert_allclose(out.kl_per_dimension, expected, atol=1e-4)
    assert out.active.tolist() == [True, False, False] and out.num_active == 1
    assert out.kl.value == pytest.approx(sum(expected), abs=1e-3)
    # z₁ = x₁ + 0.1 ε has I = ½ log(1 + 1/0.01) when x₁ is standard normal
    assert out.information.value == pytest.approx(0.5 * np.log(101), abs=0.15)
    assert out.information.value < out.ceiling == pytest.approx(np.log(800))
    assert "1 of 3 units active" in str(out) and out.to_json()["num_active"] == 1


def test_information_stops_at_its_ceiling():
    weight = np.zeros((6, 3), np.float32)
    weight[:3] = np.eye(3)
    inference = _gaussian(weight, np.full(6, -9.0, np.float32))
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    out = diagnose.collapse(inference, x, key=KEY)
    assert out.information.value == pytest.approx(np.log(20), abs=1e-3) and out.kl.value > 5


def test_discrete_latents_are_measured_by_group_and_a_collapsed_q_knows_nothing():
    model = models.Decoder(4, prior=models.priors.OneHot(3, 2), widths=(), key=KEY)
    q = posteriors.Amortized(families.OneHot(3, 2), data_dim=4, widths=(), key=KEY)
    q = eqx.tree_at(lambda q: q.net.layers[0].weight, q, replace_fn=jnp.zeros_like)
    out = diagnose.collapse(
        jn.Inference(model, q, objectives.ELBO(), gradients.Enumerate()), np.eye(4, dtype=np.float32), key=KEY
    )
    np.testing.assert_allclose(out.kl_per_dimension, [0, 0], atol=1e-6)
    assert abs(out.information.value) < 1e-5 and out.num_active == 0


def test_a_shared_latent_is_refused():
    model = models.Decoder(2, 1, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Global(families.DiagGaussian(1), key=KEY)
    with pytest.raises(InputError, match="one z is behind all data"):
        diagnose.collapse(jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()), np.eye(2), key=KEY)


def test_rows_without_weight_tell_nothing():
    """Two clusters, one of weight nearly zero: z says nothing about which row it came from."""
    weight = np.zeros((6, 3), np.float32)
    weight[:3] = np.eye(3)
    inference = _gaussian(weight, np.full(6, -9.0, np.float32))
    x = np.repeat([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]], 4, axis=0).astype(np.float32)
    weights = np.repeat([1.0, 1e-6], 4)
    out = diagnose.collapse(inference, jn.fit.Data(x, weights=weights), key=KEY)
    assert out.information.value == pytest.approx(0.0, abs=1e-3)
    assert out.ceiling == pytest.approx(np.log(4), abs=1e-3)
