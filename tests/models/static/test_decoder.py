"""The decoder: masks, starts, refusals, and what it draws."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.errors import InputError

KEY = jax.random.key(0)
SEEN = np.array([True, False, True, True])
KEPT = np.array([0, 2, 3])


def made(likelihood, dim=4):
    return models.Decoder(dim, 2, likelihood=likelihood, widths=(5,), key=KEY)


LIKELIHOODS = {
    "bernoulli": ("bernoulli", [1.0, 0.0, 1.0, 1.0]),
    "gaussian": ("gaussian", [0.3, 2.0, -1.0, 0.5]),
    "categorical": (models.likelihoods.Categorical(4, 3), [2.0, 1.0, 0.0, 1.0]),
    "student_t": ("student_t", [0.3, 2.0, -1.0, 50.0]),
    "negative_binomial": ("negative_binomial", [0.0, 2.0, 9.0, 1e4]),
    "beta_binomial": ("beta_binomial", [0.0, 2.0, 255.0, 99.0]),
    "discretized_logistic": ("discretized_logistic", [0.0, 2.0, 255.0, 99.0]),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_unobserved_entries_drop_out(name):
    likelihood, x = LIKELIHOODS[name]
    model, z = made(likelihood), jnp.array([0.3, -0.8])
    x = jnp.array(x)
    law = jax.tree.map(lambda a: a[KEPT], model.likelihood(z, None))
    masked = model.log_likelihood(z, Datum(x, mask=jnp.asarray(SEEN)))
    np.testing.assert_allclose(masked, law.log_prob_entries(x[KEPT]).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_nan_under_a_false_mask_reaches_no_gradient(name):
    likelihood, x = LIKELIHOODS[name]
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=4, widths=(5,), key=KEY)
    inference = Inference(made(likelihood), q, objectives.ELBO(2), gradients.Reparam())
    mask = jnp.asarray(SEEN)

    def gradient(x):
        def loss(inference):
            datum = Datum(x, mask=mask)
            return inference.gradient(
                inference, datum, key=KEY, step=jnp.asarray(0), num_data=1, state=None
            ).surrogate

        return jax.tree.leaves(eqx.filter(eqx.filter_grad(loss)(inference), eqx.is_inexact_array))

    x = jnp.array(x)
    poisoned, clean = gradient(x.at[1].set(jnp.nan)), gradient(x.at[1].set(0.0))
    for a, b in zip(poisoned, clean, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_starts_at_the_column_means():
    rng = np.random.default_rng(0)
    x = 5 + 3 * rng.normal(size=(50, 4))
    mask = rng.random(x.shape) < 0.8
    weight = rng.random(50)
    poisoned = np.where(mask, x, np.nan)
    model = made("gaussian").initialize_from(Datum(poisoned, mask=mask, weight=weight), key=KEY)
    assert model.initialized
    mean = np.average(np.where(mask, x, 0), axis=0, weights=weight) / np.average(mask, axis=0, weights=weight)
    at_zero = model.likelihood(jnp.zeros(2), None)
    np.testing.assert_allclose(at_zero.mean, mean, rtol=1e-5)
    bits = (rng.random((50, 4)) < [0.2, 0.5, 0.9, 0.0]).astype(float)
    binary = made("bernoulli").initialize_from(Datum(bits), key=KEY).likelihood(jnp.zeros(2), None)
    np.testing.assert_allclose(binary.mean, np.clip(bits.mean(0), 0.01, 0.99), rtol=1e-4)


@pytest.mark.parametrize("prior", ["StandardNormal", "LearnedGaussian", "OneHot", "Categorical", "Bernoulli"])
def test_joint_is_prior_plus_likelihood(prior):
    model = models.Decoder(4, widths=(5,), prior=getattr(models.priors, prior)(3), key=KEY)
    z, x = model.simulate(key=KEY)
    expected = model.prior(None).log_prob(z).sum() + model.likelihood(z, None).log_prob_entries(x).sum()
    np.testing.assert_allclose(model.log_joint(z, Datum(x)), expected, rtol=1e-6)
    assert model.latent_dim == 3 and x.shape == (4,)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: models.Decoder(0, 2, key=KEY), "data_dim is 0"),
        (lambda: models.Decoder(3, key=KEY), "latent_dim is None"),
        (lambda: models.Decoder(3, 2, likelihood="gausian", key=KEY), "did you mean 'gaussian'"),
        (lambda: models.Decoder(3, 2, likelihood="categorical", key=KEY), "number of classes"),
        (lambda: models.Decoder(3, 2, prior=models.priors.OneHot(3), key=KEY), "leave latent_dim out"),
        (lambda: models.Decoder(3, 2, likelihood=models.likelihoods.Bernoulli(4), key=KEY), "4 columns"),
        (lambda: models.priors.LearnedGaussian(0), "must be at least 1"),
        (lambda: models.priors.StandardNormal(0), "must be at least 1"),
    ],
)
def test_wrong_sizes_are_said(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize(
    ("likelihood", "x", "text"),
    [
        ("bernoulli", [[0.5, 0, 1, 1]], "strictly between 0 and 1"),
        ("bernoulli", [[255.0, 0, 1, 1]], "divide by 255"),
        ("bernoulli", [[-3.0, 0, 0, 0]], "likelihood='gaussian'"),
        ("gaussian", [[1e30, 0, 1, 1]], "beyond 1e18"),
        (models.likelihoods.Categorical(4, 3), [[3.0, 0, 1, 1]], "num_classes=4"),
        (models.likelihoods.Categorical(4, 3), [[0.5, 0, 1, 1]], "fractions"),
    ],
)
def test_rows_outside_the_support_are_refused(likelihood, x, text):
    with pytest.raises(InputError, match=text):
        made(likelihood).check_data(Datum(np.array(x)))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_block_without_one_observed_entry_is_fine(name):
    nothing = Datum(np.full((2, 4), np.nan), mask=np.zeros((2, 4), bool))
    made(LIKELIHOODS[name][0]).check_data(nothing)
