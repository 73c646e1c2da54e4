"""Parameters a user gives are the parameters the model has."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jensen import Inference, fit, gradients, models, objectives, posteriors, use
from jensen.errors import InputError


def test_components_far_apart_keep_their_variances_and_their_density():
    mixture = models.GaussianMixture.with_parameters([0.5, 0.5], [[0.0], [1e4]], np.ones((2, 1, 1)))
    np.testing.assert_allclose(mixture.covariances, 1.0, rtol=1e-5)
    x = np.array([[0.3], [1e4 - 2.0]])
    expected = np.log(0.5) - 0.5 * np.log(2 * np.pi) - np.array([0.045, 2.0])
    inference = Inference(mixture, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    np.testing.assert_allclose(use.score(inference, x, key=jax.random.key(0)), expected, atol=5e-3)


@pytest.mark.parametrize("covariance", ["full", "diag", "tied", "spherical"])
def test_em_of_clusters_far_apart_is_not_held_up_by_a_floor(covariance: str):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)) + np.repeat([[0.0, 0.0], [1e4, 1e4]], 100, axis=0)
    fitted = fit.em(models.GaussianMixture(2, 2, covariance=covariance, key=jax.random.key(0)), x)
    halves = [x[:100], x[100:]]
    if covariance == "full":
        laws = [multivariate_normal(h.mean(0), np.cov(h.T, bias=True)) for h in halves]
        best = np.log(0.5) + np.mean([law.logpdf(h) for law, h in zip(laws, halves, strict=True)])
        assert fitted.history.bound[-1] == pytest.approx(best, abs=2e-3)
    np.testing.assert_allclose(np.ravel(fitted.model.covariances).max(), 1.0, atol=0.4)
    assert not fitted.history.events


def test_tight_noise_and_correlations_are_kept():
    loadings = np.ones((3, 1))
    analysis = models.FactorAnalysis.with_parameters(loadings, np.full(3, 1e-8), np.zeros(3))
    np.testing.assert_allclose(analysis.noise_variance, 1e-8, rtol=1e-4)
    principal = models.ProbabilisticPCA.with_parameters(loadings, 1e-8, np.zeros(3))
    assert principal.noise_variance == pytest.approx(1e-8, rel=1e-4)
    r = 1 - 1e-8
    gaussian = models.Gaussian.with_parameters(np.zeros(2), np.array([[1.0, r], [r, 1.0]]))
    tril = np.asarray(gaussian.components.covariance.tril[0], np.float64)
    assert tril[1, 1] ** 2 == pytest.approx(1 - r**2, rel=1e-3)


def test_what_cannot_be_held_is_refused():
    with pytest.raises(InputError, match="cannot be held"):
        models.Gaussian.with_parameters(np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0 + 1e-11]]))
