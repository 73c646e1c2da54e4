"""Factor analysis against scikit-learn and the Gaussian it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.decomposition
from scipy.stats import multivariate_normal
from sklearn.exceptions import ConvergenceWarning

from jensen.sklearn import FactorAnalysis

RNG = np.random.default_rng(0)
LOADINGS = np.array([[2.0, 1.5, 1.0, 0.0, 0.3, -1.0], [0.0, 0.5, -1.0, 2.0, -1.5, 0.5]])
X = RNG.normal(size=(180, 2)) @ LOADINGS + RNG.normal(size=(180, 6)) * [0.5, 0.7, 1.0, 0.6, 0.8, 0.9] + 10.0


@pytest.fixture(scope="module")
def ours() -> FactorAnalysis:
    """Two factors, at the maximum."""
    return FactorAnalysis(2, tol=1e-10, max_iter=5_000).fit(X)


@pytest.mark.parametrize("rotation", [None, "varimax", "quartimax"])
def test_agrees_with_scikit_learn(ours: FactorAnalysis, rotation: str | None):
    theirs = sklearn.decomposition.FactorAnalysis(
        2, tol=1e-12, max_iter=20_000, svd_method="lapack", rotation=rotation
    ).fit(X)
    if rotation is not None:
        ours = FactorAnalysis(2, tol=1e-10, max_iter=5_000, rotation=rotation).fit(X)
    np.testing.assert_allclose(ours.loglike_[-1], theirs.loglike_[-1], rtol=1e-9)
    np.testing.assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-4)
    near = 1e-4 if rotation is None else 2e-3  # their rotation stops at a relative gain of 1e-6
    np.testing.assert_allclose(np.abs(ours.components_), np.abs(theirs.components_), atol=near)
    np.testing.assert_allclose(np.abs(ours.transform(X)), np.abs(theirs.transform(X)), atol=near)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), atol=1e-4)
    np.testing.assert_allclose(ours.get_covariance(), theirs.get_covariance(), rtol=1e-4, atol=1e-4)


def test_precision_and_inverse_transform(ours: FactorAnalysis):
    np.testing.assert_allclose(ours.get_precision() @ ours.get_covariance(), np.eye(6), atol=1e-8)
    np.testing.assert_allclose(ours.inverse_transform(np.zeros((1, 2)))[0], ours.mean_)
    drawn = FactorAnalysis(2).fit(X).sample(50_000)
    error = np.abs(np.cov(drawn.T) - ours.get_covariance()) / np.sqrt(np.outer(X.var(0), X.var(0)))
    assert error.max() < 0.05


def test_missing_entries_are_integrated_out():
    rows = X.copy()
    rows[::3, 1], rows[1::4, 3] = np.nan, np.nan
    factors = FactorAnalysis(1).fit(rows)
    covariance, seen = factors.get_covariance(), ~np.isnan(rows)
    for row, s, score, z in zip(
        rows[:6], seen, factors.score_samples(rows), factors.transform(rows), strict=False
    ):
        inner = covariance[np.ix_(s, s)]
        assert score == pytest.approx(multivariate_normal(factors.mean_[s], inner).logpdf(row[s]), rel=1e-8)
        expected = factors.components_[:, s] @ np.linalg.solve(inner, row[s] - factors.mean_[s])
        np.testing.assert_allclose(z, expected, rtol=1e-7)


def test_single_precision_stays_single(ours: FactorAnalysis):
    single = FactorAnalysis(2).fit(X.astype(np.float32))
    assert single.components_.dtype == single.transform(X.astype(np.float32)).dtype == np.float32
    assert single.score(X.astype(np.float32)) == pytest.approx(ours.score(X), abs=1e-3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_components": 7}, "n_components=7 must be at most n_features=6"),
        ({"noise_variance_init": [1.0]}, "noise_variance_init has shape"),
    ],
)
def test_refusals(options: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        FactorAnalysis(**options).fit(X)


def test_few_steps_warn_and_better_noise_starts_higher():
    with pytest.warns(ConvergenceWarning, match="increase the number of iterations"):
        FactorAnalysis(2, max_iter=1, tol=1e-12).fit(X)
    noise = FactorAnalysis(2).fit(X).noise_variance_
    warm, cold = (FactorAnalysis(2, noise_variance_init=v).fit(X).n_iter_ for v in (noise, None))
    assert warm < cold
