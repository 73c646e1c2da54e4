"""What enters use.* and diagnose.*: wide integers, values outside the support, offsets; one z behind all data."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.errors import InputError, JensenWarning

KEY = jax.random.key(0)


def exactly(model):
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def decoder(likelihood, columns):
    model = models.Decoder(columns, 1, likelihood=likelihood, widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=columns, widths=(), key=KEY)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


# ------------------------------------------------------------------------------------------ wide integers


def test_wide_integers_are_no_int32():
    x = np.array([[3_000_000_000 + 1000 * i, i % 7] for i in range(50)])
    fitted = fit.em(models.Gaussian(2), x)
    bound = fitted.history.bound[-1]
    assert use.score(fitted, x).mean() == pytest.approx(bound, abs=1e-4)
    assert diagnose.evidence(fitted.inference, x, key=KEY).value == pytest.approx(bound, abs=1e-4)
    assert use.score(fitted, x[:1])[0] == pytest.approx(use.score(fitted, x)[0], abs=1e-4)  # one row will do
    # without a frame to centre them they are rounded, but never wrapped
    _, rows = diagnose.rows.look(decoder("gaussian", 2), x, None, key=KEY)
    assert rows.x.dtype == np.float32 and rows.x[0, 0] == 3e9


# ------------------------------------------------------------------------------------------ the support


@pytest.mark.parametrize(
    ("likelihood", "bad", "text"),
    [
        ("bernoulli", [[255.0, 1.0, 0.0]], "ranges over 0..255"),
        ("bernoulli", [[0.5, 1.0, 0.0]], "strictly between 0 and 1"),
        (models.likelihoods.Categorical(3, 4), [[0.0, 1.0, 7.0]], "categor"),
        (models.likelihoods.Categorical(3, 4), [[0.0, 1.0, -1.0]], "categor"),
        (models.likelihoods.Categorical(3, 4), [[0.5, 1.0, 2.0]], "categor"),
    ],
)
def test_rows_outside_the_support_are_refused(likelihood, bad, text):
    inference, bad = decoder(likelihood, 3), np.array(bad)
    calls = {
        "score": lambda: use.score(inference, bad),
        "encode": lambda: use.encode(inference, bad),
        "reconstruct": lambda: use.reconstruct(inference, bad),
        "impute": lambda: use.impute(inference, bad, mask=np.array([[True, False, True]]), key=KEY),
        "evidence": lambda: diagnose.evidence(inference, bad, key=KEY),
        "gap": lambda: diagnose.gap(inference, bad, key=KEY),
        "collapse": lambda: diagnose.collapse(inference, bad, key=KEY),
        "gradient_noise": lambda: diagnose.gradient_noise(
            inference, np.repeat(bad, 2, 0), key=KEY, batch_size=1
        ),
    }
    for name, call in calls.items():
        with pytest.raises(InputError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value), name


def test_what_is_hidden_need_not_be_in_the_support():
    inference = decoder("bernoulli", 3)
    x, seen = np.array([[1.0, 0.0, 255.0]]), np.array([[True, True, False]])
    assert 0 <= use.impute(inference, x, mask=seen, key=KEY)[0, 2] <= 1
    assert np.isfinite(use.score(inference, fit.Data(x, mask=seen))).all()


# ------------------------------------------------------------------------------------------ offsets

W, NOISE = np.array([[1.0, 0.2], [-0.5, 0.8], [0.3, 0.3], [0.0, -1.0]]), 0.6
COVARIANCE = W @ W.T + NOISE**2 * np.eye(4)


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "factor analysis"])
@pytest.mark.parametrize("offset", [1e6, 1e8])
def test_framed_models_keep_their_digits_far_from_zero(kind, offset):
    model = {
        "gaussian": lambda: models.Gaussian.with_parameters(np.full(4, offset), COVARIANCE),
        "mixture": lambda: models.GaussianMixture.with_parameters(
            [1.0], np.full((1, 4), offset), COVARIANCE[None]
        ),
        "factor analysis": lambda: models.FactorAnalysis.with_parameters(
            W, np.full(4, NOISE**2), np.full(4, offset)
        ),
    }[kind]()
    inference = exactly(model)
    centre = np.full(4, offset)
    x = multivariate_normal(np.zeros(4), COVARIANCE, seed=0).rvs(30)
    exact = multivariate_normal(np.zeros(4), COVARIANCE).logpdf(x)
    far = x + centre
    rounding = 1e-4 + offset * 2.0**-52 * 100  # that of the caller's float64
    np.testing.assert_allclose(use.score(inference, far), exact, atol=rounding)
    each = diagnose.evidence(inference, far, key=KEY).per_datum["log_evidence"]
    np.testing.assert_allclose(np.sort(each), np.sort(exact), atol=rounding)
    hidden = far.copy()
    hidden[:, 3] = np.nan
    gain = COVARIANCE[3, :3] @ np.linalg.inv(COVARIANCE[:3, :3])
    filled = use.impute(inference, hidden, key=KEY)
    np.testing.assert_allclose(filled[:, 3] - offset, x[:, :3] @ gain, atol=rounding)
    if kind == "factor analysis":
        precision = np.eye(2) + W.T @ W / NOISE**2
        mean = np.linalg.solve(precision, W.T @ x.T / NOISE**2).T
        np.testing.assert_allclose(use.encode(inference, far), mean, atol=rounding)
        rebuilt = use.reconstruct(inference, far) - offset
        spread = np.sqrt(np.diag(W @ np.linalg.inv(precision) @ W.T) / 64)
        assert (np.abs(rebuilt - mean @ W.T) < 5 * spread).all()


def test_the_gap_keeps_its_digits_far_from_zero():
    rows = multivariate_normal(np.full(4, 1e8), COVARIANCE, seed=0).rvs(5)
    model = models.FactorAnalysis.with_parameters(W, np.full(4, NOISE**2), np.full(4, 1e8))
    gap = diagnose.gap(exactly(model), rows, rows=None, key=KEY)
    exact = multivariate_normal(np.full(4, 1e8), COVARIANCE).logpdf(rows)
    np.testing.assert_allclose(gap.per_datum["log_evidence"], exact, atol=1e-3)
    assert abs(gap.total.value) < 1e-3


def test_decoders_are_warned_of_offsets_they_cannot_resolve():
    x = 1e6 + np.random.default_rng(0).normal(size=(20, 3))
    inference = decoder("gaussian", 3)
    for call in (
        lambda: use.encode(inference, x),
        lambda: diagnose.collapse(inference, x, key=KEY),
    ):
        with pytest.warns(JensenWarning, match=r"column \d lies at 1e\+06 .* subtract an offset first"):
            call()


def test_a_gaussian_likelihood_is_computed_about_its_origin():
    family = models.likelihoods.Gaussian(1)
    x = 1e6 + np.arange(8.0)[:, None] / 8  # exact in float32
    family, _ = family.start(x, None, None)
    unit, shift = float(family.frame.scale[0]), float(family.frame.shift[0])
    centres = jnp.linspace(-1, 1, 9)
    got = jax.vmap(lambda c: family(c[None]).log_prob_entries(jnp.asarray(x[3], jnp.float32))[0])(centres)
    scale = float(family.scale[0])
    standard = (x[3, 0] - shift - unit * np.asarray(centres, np.float64)) / scale
    exact = -0.5 * standard**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(got, exact, atol=1e-4)  # a mean rounded to 1/16 would be off by tenths


# ------------------------------------------------------------------------------------------ one z for all


def shared(kind, x, offset):
    """An inference whose q is the exact posterior of the one z behind x, and its moments."""
    precision = np.eye(2) + len(x) * W.T @ W / NOISE**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ W.T @ (x - offset).sum(0) / NOISE**2
    tril = np.linalg.cholesky(covariance)
    raw = 10 * np.arctanh(np.log(np.diag(tril)) / 10)
    params = np.r_[mean, raw, tril[1, 0] / tril[1, 1]]
    q = posteriors.Global(families.FullGaussian(2), key=KEY)
    q = eqx.tree_at(lambda q: q.params, q, jnp.asarray(params, jnp.float32))
    if kind == "factor analysis":
        model = models.FactorAnalysis.with_parameters(W, np.full(4, NOISE**2), np.full(4, offset))
    else:
        model = models.Decoder(4, 2, likelihood="gaussian", widths=(), key=KEY)
        scale = 10 * np.arctanh(np.log(NOISE - np.exp(-6.0)) / 10)
        model = eqx.tree_at(
            lambda m: (m.net.layers[0].weight, m.net.layers[0].bias, m.likelihood_family.log_scale),
            model,
            (jnp.asarray(W, jnp.float32), jnp.full(4, offset), jnp.full(4, scale, jnp.float32)),
        )
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()), mean, covariance


@pytest.mark.parametrize(("kind", "offset"), [("decoder", 0.0), ("factor analysis", 1e6)])
def test_one_z_behind_all_data_gives_the_posterior_predictive(kind, offset):
    rng = np.random.default_rng(4)
    z = np.array([2.0, -1.5])
    old, new = (z @ W.T + NOISE * rng.normal(size=(n, 4)) + offset for n in (40, 6))
    inference, mean, covariance = shared(kind, old, offset)
    predictive = multivariate_normal(W @ mean, W @ covariance @ W.T + NOISE**2 * np.eye(4))
    prior = multivariate_normal(np.zeros(4), COVARIANCE)
    exact = predictive.logpdf(new - offset)
    assert np.abs(exact - prior.logpdf(new - offset)).max() > 0.5  # the test could see a second prior
    np.testing.assert_allclose(use.score(inference, new, num_samples=4000), exact, atol=0.03)
    hidden = new.copy()
    hidden[:, 1:] = np.nan
    filled = use.impute(inference, hidden, key=KEY, num_samples=4000)[:, 1:] - offset
    error = 5 * np.sqrt(np.diag(W @ covariance @ W.T)[1:] / 4000) + 1e-3
    assert (np.abs(filled - (W @ mean)[1:]) < error).all()
