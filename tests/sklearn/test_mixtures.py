"""The mixtures against scikit-learn, closed forms and steps taken by hand."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.mixture
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris

from jensen.errors import JensenWarning
from jensen.sklearn import BernoulliMixture, GaussianMixture

X = load_iris().data
KINDS = ("full", "tied", "diag", "spherical")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_")


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[GaussianMixture, sklearn.mixture.GaussianMixture]:
    """Ours and theirs, of one structure and one seed, with a ridge that matters."""
    options = {"n_components": 3, "covariance_type": request.param, "random_state": 0, "reg_covar": 1e-2}
    return GaussianMixture(**options).fit(X), sklearn.mixture.GaussianMixture(**options).fit(X)


def test_gaussian_mixture_is_scikit_learns(pair: tuple[GaussianMixture, sklearn.mixture.GaussianMixture]):
    ours, theirs = pair
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-8, err_msg=name)
    assert (ours.n_iter_, ours.converged_) == (theirs.n_iter_, theirs.converged_)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose([ours.bic(X), ours.aic(X)], [theirs.bic(X), theirs.aic(X)], rtol=1e-10)


def test_samples_have_the_mixtures_moments(pair: tuple[GaussianMixture, sklearn.mixture.GaussianMixture]):
    ours, theirs = pair
    drawn, label = ours.sample(20_000)
    np.testing.assert_allclose(np.bincount(label) / len(label), ours.weights_, atol=0.015)
    np.testing.assert_allclose(drawn.mean(0), ours.weights_ @ ours.means_, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(theirs.sample(20_000)[0].T), atol=0.08)


def test_far_and_wide_data_lose_nothing():
    base = {"n_components": 3, "covariance_type": "diag", "random_state": 0}
    far = GaussianMixture(**base, reg_covar=1e-6 * 1e8).fit(1e4 * X + 1e7)
    near = GaussianMixture(**base).fit(X)
    np.testing.assert_allclose(far.means_, 1e4 * near.means_ + 1e7, rtol=1e-9)
    np.testing.assert_allclose(far.covariances_, 1e8 * near.covariances_, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_component_too_narrow_to_be_held_is_said_or_refused():
    wide = np.where(np.arange(150)[:, None] < 75, 1e-4 * X, 1e4 * X + 1e5)
    options = {"n_components": 3, "covariance_type": "diag", "init_params": "random", "random_state": 0}
    with pytest.warns(JensenWarning, match="as narrow as can be held"):
        GaussianMixture(**options).fit(wide)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        GaussianMixture(**options, reg_covar=0).fit(wide)


def test_single_precision_stays_single_and_close():
    options = {"n_components": 3, "covariance_type": "diag", "random_state": 0}
    ours, theirs = (
        m(**options).fit(X.astype(np.float32)) for m in (GaussianMixture, sklearn.mixture.GaussianMixture)
    )
    assert ours.means_.dtype == ours.score_samples(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-4)


def test_missing_entries_are_integrated_out():
    rows = X[:60].copy()
    rows[::3, 1], rows[1::4, 3] = np.nan, np.nan
    mixture = GaussianMixture(1, tol=1e-9, max_iter=500, reg_covar=0).fit(rows)
    assert (np.diff(mixture.lower_bounds_) > -1e-12).all()
    seen = ~np.isnan(rows)
    law = [multivariate_normal(mixture.means_[0][s], mixture.covariances_[0][np.ix_(s, s)]) for s in seen]
    expected = [p.logpdf(row[s]) for p, row, s in zip(law, rows, seen, strict=True)]
    np.testing.assert_allclose(mixture.score_samples(rows), expected, rtol=1e-9)


def test_a_column_never_observed_is_refused():
    rows = X.copy()
    rows[:, 2] = np.nan
    with pytest.raises(ValueError, match="column 2 is NaN in every row"):
        GaussianMixture().fit(rows)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bernoulli_steps_are_those_taken_by_hand():
    rng = np.random.default_rng(0)
    rows = (rng.random((50, 4)) < rng.random((50, 1))).astype(float)
    rows[::5, 2] = np.nan
    weights, probs = np.array([0.4, 0.6]), rng.uniform(0.2, 0.8, (2, 4))
    options = {"weights_init": weights, "probs_init": probs, "binarize": None, "max_iter": 3, "tol": 0.0}
    mixture, bounds, seen = BernoulliMixture(2, **options).fit(rows), [], ~np.isnan(rows)
    ones = np.where(seen, rows, 0.0)
    for _ in range(3):
        joint = np.log(weights) + ones @ np.log(probs).T + (seen - ones) @ np.log(1 - probs).T
        bounds.append(logsumexp(joint, 1).mean())
        r = np.exp(joint - logsumexp(joint, 1)[:, None])
        weights, probs = r.mean(0), np.clip((r.T @ ones) / (r.T @ seen), 1e-3, 1 - 1e-3)
    np.testing.assert_allclose(mixture.lower_bounds_, bounds, rtol=1e-10)
    np.testing.assert_allclose(mixture.weights_, weights, rtol=1e-9)
    np.testing.assert_allclose(mixture.probs_, probs, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_sure_columns_stay_below_one_in_the_rows_own_precision(kind):
    """1 − 1e-9 is 1 in float32, and 1 − 1e-20 in either."""
    rows = np.array([[1, 1, 0], [0, 0, 1]] * 10, kind)
    given = {"weights_init": [0.5, 0.5], "probs_init": [[1 - 1e-9, 0.7, 1e-60], [1e-9, 0.3, 0.8]]}
    for options in ({"max_iter": 3}, {"max_iter": 0}):
        mixture = BernoulliMixture(2, min_prob=1e-20, random_state=0, **given, **options).fit(rows)
        assert mixture.probs_.dtype == kind and ((mixture.probs_ > 0) & (mixture.probs_ < 1)).all()
        np.testing.assert_array_equal(mixture.predict(rows), [0, 1] * 10)
        assert np.isfinite(mixture.score_samples(1 - rows)).all()


def test_bernoulli_refuses_grey_rows_unless_it_binarizes_them():
    with pytest.raises(ValueError, match="entries 0 and 1 only; set binarize"):
        BernoulliMixture(binarize=None).fit(X)
    assert BernoulliMixture(2, binarize=3.0, random_state=0).fit(X).sample(5)[0].max() <= 1
