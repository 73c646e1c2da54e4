"""Rows on their way to the device: types, support, and digits far from zero."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import InputError, JensenWarning
from jensen.fit.enter import centred, narrowed, to_device, uncentred

KEY = jax.random.key(0)


def exactly(model):
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def test_wide_integers_become_floats_and_lengths_int32():
    x = np.array([[[3_000_000_000, 1]], [[3_000_001_000, 2]]])  # two sequences of one step
    rows = to_device(fit.Data(x, cond=np.array([3, 4]), lengths=np.array([1, 1])).rows())
    assert rows.x.dtype == np.float32 and rows.steps.dtype == np.int32 and rows.cond.dtype == np.int32
    np.testing.assert_allclose(rows.x, x, rtol=1e-7)


def test_codes_beyond_int32_are_refused():
    with pytest.raises(InputError, match=r"cond holds integers of 2\^31"):
        fit.Data(np.ones((2, 1)) * [[0], [1]], cond=np.array([3_000_000_000, 1]))


def test_centring_is_undone():
    rng = np.random.default_rng(0)
    x = 1e6 + rng.normal(size=(20, 2))
    fitted = fit.em(models.Gaussian(2), x).inference
    rows = fit.Data(x, mask=rng.random((20, 2)) < 0.8).rows()
    moved, near = centred(fitted, rows)
    assert np.abs(near.x).max() < 5 and (np.asarray(moved.model.frame.shift) == 0).all()
    assert (near.x[~rows.mask] == 0).all()
    np.testing.assert_array_equal(uncentred(moved, fitted).model.frame.shift, fitted.model.frame.shift)
    # a network looks at x in coordinates of its own
    mixture = models.GaussianMixture(2, 2, key=KEY)
    q = posteriors.Amortized(families.Categorical(2), data_dim=2, widths=(), key=KEY)
    other = jn.Inference(mixture, q, objectives.ELBO(), gradients.Enumerate())
    assert centred(other, rows) == (other, rows)


def test_gradients_keep_their_digits_far_from_zero():
    rng = np.random.default_rng(1)
    truth = np.array([[1.0, 0.6], [0.6, 2.0]])
    x = multivariate_normal(np.zeros(2), truth, seed=rng).rvs(200)
    start = models.Gaussian(2)
    how = {"key": KEY, "optimizer": optax.adam(0.05), "steps": 60, "validation": x[:50]}
    near = fit.gradient(exactly(start), x, **how)
    how["validation"] = x[:50] + 1e7
    far = fit.gradient(exactly(start), x + 1e7, **how)
    # the stored shift is float32's nearest to the mean: starts differ by its rounding, ends hardly
    np.testing.assert_allclose(far.history.bound[-1], near.history.bound[-1], atol=2e-3)
    np.testing.assert_allclose(far.history.validation[-1], near.history.validation[-1], atol=5e-3)
    np.testing.assert_allclose(far.model.mean - 1e7, x.mean(0), atol=0.02)
    exact = multivariate_normal(x.mean(0), np.cov(x.T, bias=True)).logpdf(x)
    np.testing.assert_allclose(far.history.bound[-1], exact.mean(), atol=5e-3)
    each = fit.evaluate(far.inference, x + 1e7, key=KEY)
    np.testing.assert_allclose(each.mean(), far.history.bound[-1], atol=2e-3)


def blurred(x, **parts) -> list[str]:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        narrowed(Datum(np.asarray(x), **parts))
    return [str(w.message) for w in seen if issubclass(w.category, JensenWarning)]


def test_columns_that_float32_blurs_are_named():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 3))
    assert not blurred(x) and not blurred(x + np.array([0, 1e4, 0]))
    (text,) = blurred(x + np.array([0, 1e5, 0]))
    assert "column 1 lies at 1e+05" in text and "subtract an offset first" in text and "\n" not in text
    # constants have no spread to lose, and what is hidden or padding does not count
    assert not blurred(np.full((50, 3), 0.1))
    far = x + np.where(np.arange(50) < 5, 0, 1e9)[:, None]
    assert not blurred(far, mask=np.broadcast_to(np.arange(50)[:, None] < 5, x.shape))
    assert not blurred(far[None], steps=np.array([5]))
    assert blurred(np.arange(50)[:, None] + 3_000_000_000)


def test_decoders_are_warned_of_offsets():
    x = 1e6 + np.random.default_rng(3).normal(size=(16, 2))
    vae = models.Decoder(2, 1, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(), key=KEY)
    inference = jn.Inference(vae, q, objectives.ELBO(), gradients.Reparam())
    with pytest.warns(JensenWarning, match="subtract an offset first"):
        fit.gradient(inference, x, key=KEY, optimizer=optax.adam(1e-3), steps=1)
