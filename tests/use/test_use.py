"""What a fitted model is for, against closed forms of a linear-Gaussian decoder and a tiny discrete one."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors, use
from jensen.errors import InputError

KEY = jax.random.key(3)
D, LATENT = 5, 2


@pytest.fixture(scope="module")
def linear():
    """x = W z + b + noise with known covariance, an inference network that is somewhat wrong, and rows."""
    model = models.Decoder(D, LATENT, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Amortized(families.FullGaussian(LATENT), data_dim=D, widths=(8,), key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    weight = np.asarray(model.net.layers[0].weight, np.float64)
    noise = np.asarray(model.likelihood_family.scale, np.float64)
    covariance = weight @ weight.T + np.diag(noise**2)
    x = multivariate_normal(np.zeros(D), covariance, seed=1).rvs(40).astype(np.float32)
    return inference, weight, noise, covariance, x


def posterior_mean(weight, noise, x):
    precision = np.eye(LATENT) + weight.T @ (weight / noise[:, None] ** 2)
    return np.linalg.solve(precision, weight.T @ (x / noise**2).T).T


def test_score_reaches_the_exact_density_from_below(linear):
    inference, _, _, covariance, x = linear
    exact = multivariate_normal(np.zeros(D), covariance).logpdf(x)
    scores = use.score(inference, x, num_samples=4000)
    assert scores.shape == (40,) and scores.dtype == np.float64
    assert np.quantile(np.abs(scores - exact), 0.9) < 0.1  # the encoder is untrained: tails are heavy
    assert abs((scores - exact).mean()) < 0.03
    assert (use.score(inference, x, num_samples=1) - exact).mean() < -0.1  # one draw is the ELBO, far below


def test_per_datum_posteriors_are_optimized_afresh_on_new_rows(linear):
    inference, weight, noise, _, x = linear
    q = posteriors.PerDatum(families.FullGaussian(LATENT), num_data=3, key=KEY)
    fresh = jn.Inference(inference.model, q, objectives.ELBO(), gradients.Reparam())
    means = use.encode(fresh, x)
    np.testing.assert_allclose(means, posterior_mean(weight, noise, x), atol=0.02)
    rebuilt = use.reconstruct(fresh, x)
    expected = posterior_mean(weight, noise, x) @ weight.T
    assert np.abs(rebuilt - expected).mean() < 0.15  # 64 draws of z


def test_impute_corrects_a_poor_encoder_by_reweighting(linear):
    inference, _, _, covariance, x = linear
    hidden = x.copy()
    hidden[:, 3:] = np.nan
    filled = use.impute(inference, hidden, key=KEY, num_samples=4000)
    seen, gone = slice(0, 3), slice(3, 5)
    gain = covariance[gone, seen] @ np.linalg.inv(covariance[seen, seen])
    np.testing.assert_array_equal(filled[:, seen], x[:, seen])
    assert np.abs(filled[:, gone] - x[:, seen] @ gain.T).max() < 0.15
    assert np.isnan(hidden[:, 3:]).all()  # the caller's rows are the caller's


def test_samples_have_the_models_moments(linear):
    inference, _, _, covariance, _ = linear
    x = use.sample(inference, 20_000, key=KEY)
    assert np.abs(np.cov(x.T) - covariance).max() < 0.15


def test_encode_of_discrete_latents_is_probabilities():
    model = models.Decoder(4, prior=models.priors.OneHot(3), widths=(4,), key=KEY)
    q = posteriors.Amortized(families.OneHot(3), data_dim=4, widths=(4,), key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Enumerate())
    x = np.random.default_rng(0).integers(0, 2, (300, 4)).astype(np.float32)
    probs = use.encode(inference, x)
    assert probs.shape == (300, 3)
    np.testing.assert_allclose(probs.sum(1), 1, rtol=1e-5)
    # blocks are an implementation detail: the last, partial one is not shifted
    np.testing.assert_array_equal(probs[290:], use.encode(inference, x[290:]))


def test_categorical_reconstruction_and_imputation():
    likelihood = models.likelihoods.Categorical(4, 3)
    model = models.Decoder(4, 2, likelihood=likelihood, widths=(), key=KEY)
    model = eqx.tree_at(lambda m: m.net.layers[0].bias, model, jnp.tile(jnp.array([0.0, 0.0, 9.0]), 4))
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=4, widths=(4,), key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    x = np.array([[2.0, 2.0, 2.0, np.nan], [2.0, np.nan, 2.0, 2.0]])
    np.testing.assert_array_equal(use.impute(inference, x, key=KEY), np.full((2, 4), 2.0))
    assert use.reconstruct(inference, np.nan_to_num(x)).shape == (2, 4, 3)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda i, x: use.encode(i, x[:, :3]),
            "X has 3 features, but Decoder is expecting 5 features as input.",
        ),
        (lambda i, x: use.impute(i, x, key=KEY), "no entry is hidden"),
        (lambda i, x: use.sample(i, 0, key=KEY), "num is 0"),
        (lambda i, x: use.score(i, x, num_samples=0), "num_samples is 0"),
        (lambda i, x: use.encode("vae", x), "expected an Inference"),
    ],
)
def test_mistakes_get_one_line(linear, call, text):
    inference, *_, x = linear
    with pytest.raises(InputError, match=text) as caught:
        call(inference, x)
    assert "\n" not in str(caught.value)
