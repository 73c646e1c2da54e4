"""Laplace and Pathfinder against closed forms, and as starts of a shared posterior."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.algorithms import newton
from jensen.errors import InputError

KEY = jax.random.key(0)
NOTHING = jn.Datum(jnp.zeros(0))
MEAN = np.array([50.0, -0.3, 1e-3])
ROOT = np.array([[14.0, 0, 0], [-0.13, 0.02, 0], [2e-4, 1e-4, 1e-4]])
COVARIANCE = ROOT @ ROOT.T
"""Scales from 14 to 1e-4 and correlations up to 0.99, as regressions on raw columns have."""


def gaussian(z):
    white = jax.scipy.linalg.solve_triangular(
        jnp.asarray(ROOT, jnp.float32), z - MEAN.astype(np.float32), lower=True
    )
    return -0.5 * jnp.sum(white**2)


def funnel(p):
    """A hierarchy without data: the mode runs off to −∞ in τ, and no mass is there."""
    return -0.5 * (p["s"] / 3) ** 2 - 0.5 * jnp.sum((p["z"] * jnp.exp(-p["s"] / 2)) ** 2) - 1.5 * p["s"]


def inference(model, posterior, objective=None):
    return jn.Inference(model, posterior, objective or objectives.ELBO(), gradients.Reparam())


@pytest.fixture(scope="module")
def model():
    return models.LogDensity(gaussian, 3)


@pytest.mark.parametrize(
    "posterior", [posteriors.Laplace(starts=2), posteriors.Pathfinder(starts=2, draws=4)]
)
def test_a_gaussian_is_found_in_float32(model, posterior):
    q = jax.jit(lambda key: posterior(model, NOTHING, key=key))(KEY)
    np.testing.assert_allclose(
        (q.mean - MEAN) / np.sqrt(np.diag(COVARIANCE)), 0, atol=0.05
    )  # Pathfinder's best may be seen from afar
    np.testing.assert_allclose(q.variance / np.diag(COVARIANCE), 1, rtol=1e-2)
    correlation = lambda c: c / np.sqrt(np.outer(np.diag(c), np.diag(c)))  # noqa: E731
    found = np.asarray(q.tril, np.float64) @ np.asarray(q.tril, np.float64).T
    np.testing.assert_allclose(correlation(found), correlation(COVARIANCE), atol=2e-3)
    assert inference(model, posterior).check().kind == "unbiased"


def test_newton_leaves_saddles_and_says_how_far_it_went():
    path = newton.descend(lambda z: z[0] ** 4 - z[0] ** 2 + z[1] ** 2, jnp.array([1e-3, 1.0]), steps=30)
    assert float(abs(path.at[path.last][0])) == pytest.approx(np.sqrt(0.5), abs=1e-3)
    assert np.isinf(path.value).any() and float(path.value[path.last]) == pytest.approx(-0.25, abs=1e-5)
    lost = newton.descend(lambda z: jnp.sum(jnp.log(z)), -jnp.ones(2), steps=5)
    assert not np.isfinite(lost.value).any()


def test_pathfinder_stops_where_the_mass_is():
    model = models.LogDensity(funnel, {"s": (), "z": (3,)})
    bounds = {}
    for name in ("Laplace", "Pathfinder"):
        four = inference(model, getattr(posteriors, name)(starts=3, steps=15))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jn.errors.JensenWarning)  # k̂
            bounds[name] = use.draws(four, key=KEY, num_draws=500).elbo.value
    assert bounds["Pathfinder"] > bounds["Laplace"] + 1


@pytest.mark.parametrize("name", ["DiagGaussian", "LowRankGaussian", "FullGaussian", "PlanarFlow"])
def test_a_start_is_the_law_as_nearly_as_the_family_can(model, name):
    family = getattr(families, name)(3, *((1,) if name == "LowRankGaussian" else ()))
    q = posteriors.Global(family, start=posteriors.Laplace(starts=1), key=KEY)
    assert not q.initialized
    rows = fit.Data.of(None).rows()
    begun = inference(model, q).initialize_from(rows, key=KEY).posterior
    assert begun.initialized
    law = begun(model, NOTHING, key=KEY)
    z = jax.vmap(lambda key: law.sample_and_log_prob(key=key)[0])(jax.random.split(KEY, 4_000))
    scale = np.sqrt(np.diag(COVARIANCE))
    wanted = (
        scale if name in ("FullGaussian", "PlanarFlow") else 1 / np.sqrt(np.diag(np.linalg.inv(COVARIANCE)))
    )
    np.testing.assert_allclose((z.mean(0) - MEAN) / scale, 0, atol=0.08)
    np.testing.assert_allclose(z.std(0) / wanted, 1, atol=0.08)
    density = jax.vmap(law.log_prob)(z)
    np.testing.assert_allclose(
        jax.vmap(lambda k: law.sample_and_log_prob(key=k)[1])(jax.random.split(KEY, 4_000)),
        density,
        atol=0.02,
    )


def test_a_latent_that_rows_share_starts_at_their_posterior_and_has_their_evidence():
    """x_i = W z + μ + noise with one z: everything is Gaussian."""
    model = models.FactorAnalysis(3, 2, key=KEY)
    x = np.random.default_rng(0).normal(size=(6, 3))
    q = posteriors.Global(families.FullGaussian(2), start=posteriors.Laplace(starts=1), key=KEY)
    begun = inference(model, q).initialize_from(fit.Data(x).rows(), key=KEY)
    model = begun.model
    w, noise = np.asarray(model.loadings, np.float64), np.asarray(model.noise_variances, np.float64)
    precision = np.eye(2) + 6 * w.T @ (w / noise[:, None])
    mean = np.linalg.solve(precision, w.T @ ((x - np.asarray(model.mean)) / noise).sum(0))
    law = begun.posterior(model, NOTHING, key=KEY)
    np.testing.assert_allclose(law.mean, mean, atol=1e-3)
    np.testing.assert_allclose(law.tril @ law.tril.T, np.linalg.inv(precision), atol=1e-4)
    found = use.draws(begun, x, key=KEY, num_draws=50)
    covariance = np.kron(np.ones((6, 6)), w @ w.T) + np.kron(np.eye(6), np.diag(noise))
    off = (x - np.asarray(model.mean)).reshape(-1)
    truth = -0.5 * (off @ np.linalg.solve(covariance, off) + np.linalg.slogdet(2 * np.pi * covariance)[1])
    assert found.log_evidence.value == pytest.approx(truth, abs=2e-3)


def test_a_placed_family_keeps_its_axes_and_is_named_by_its_base():
    turned = jnp.array([[1.0, 0.0], [0.5, 1.0]])
    for base in (families.DiagGaussian(2), families.LowRankGaussian(2, 1)):
        with pytest.raises(InputError, match=r"axes of its own; use families\.Placed\.near"):
            families.Placed(base, jnp.zeros(2), turned)
        assert families.Placed.near(base, jnp.zeros(2), turned).base is base
    families.Placed(families.FullGaussian(2), jnp.zeros(2), turned)
    jax.eval_shape(lambda tril: families.Placed(families.DiagGaussian(2), None, tril).origin.tril, turned)
    q = posteriors.Global(families.DiagGaussian(3), start=posteriors.Laplace(starts=1), key=KEY)
    with pytest.raises(jn.errors.CombinationError, match=r"use families\.DiagGaussian\(model\.latent_dim\)"):
        inference(models.LogDensity(lambda z: -jnp.sum(z**2), 2), q)
    with pytest.raises(jn.errors.CombinationError, match=r"use families\.DiagGaussian of the model's length"):
        inference(models.FactorAnalysis(3, 2, key=KEY), q)


def test_what_cannot_be():
    with pytest.raises(InputError, match="starts is 0; it must be at least 1"):
        posteriors.Laplace(starts=0)
    with pytest.raises(InputError, match=r"neither Gaussian nor a flow; use families.FullGaussian"):
        posteriors.Global(families.Bernoulli(2), start=posteriors.Laplace(), key=KEY)
    with pytest.raises(jn.errors.CombinationError, match=r"no one real vector z; use posteriors.Amortized"):
        inference(models.HMM(2, 1, key=KEY), posteriors.Laplace())
    vae = models.Decoder(2, 1, widths=(), key=KEY)
    assert inference(vae, posteriors.Laplace()).check().kind == "biased"
    nowhere = models.LogDensity(lambda z: jnp.sum(jnp.log(-jnp.exp(z))), 1)
    q = posteriors.Global(families.DiagGaussian(1), start=posteriors.Laplace(), key=KEY)
    with pytest.raises(InputError, match="Laplace found no finite law; check the model's log-density"):
        inference(nowhere, q).initialize_from(fit.Data.of(None).rows(), key=KEY)
