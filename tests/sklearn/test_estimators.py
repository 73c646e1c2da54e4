"""scikit-learn's checks of every estimator: none is expected to fail, and how many ran is known."""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import jensen.sklearn
from jensen.sklearn import VAE, BernoulliMixture, FactorAnalysis, GaussianMixture, MixtureDensityRegressor

ESTIMATORS = [
    GaussianMixture(max_iter=5),
    BernoulliMixture(max_iter=5),
    FactorAnalysis(1, max_iter=9),
    VAE(1, hidden_layer_sizes=(3,), max_iter=2, n_draws=2),
    MixtureDensityRegressor(1, hidden_layer_sizes=(8,), max_iter=60, learning_rate_init=0.03),
]
PASSED: Counter[str] = Counter()
X, LABEL = load_iris(return_X_y=True)


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks_pass(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)
    PASSED[type(estimator).__name__] += 1


def test_every_check_ran(request: pytest.FixtureRequest):
    """None was skipped, none expected to fail; of the mixture there are 40 at least."""
    per_name = {type(e).__name__: sum(1 for _ in estimator_checks_generator(e)) for e in ESTIMATORS}
    assert set(per_name) == set(jensen.sklearn.__all__)
    assert min(per_name.values()) >= 40
    mine = [item for item in request.session.items if item.name.startswith("test_scikit_learn_checks_pass")]
    if len(mine) < sum(per_name.values()):
        pytest.skip("only some of the checks were asked for")
    assert dict(PASSED) == per_name


def fitted() -> list[Any]:
    rows, target = X[:20], X[:20, :2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            clone(e).set_params(random_state=0).fit(rows, target if hasattr(e, "log_density") else None)
            for e in ESTIMATORS
        ]


@pytest.fixture(scope="module")
def all_fitted() -> list[Any]:
    """One of each."""
    return fitted()


def plain(value: Any) -> bool:
    """Say whether pickling this needs nothing of jensen's or JAX's."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and plain(part) for name, part in value.items())
    if isinstance(value, list | tuple):
        return all(plain(part) for part in value)
    return value is None or isinstance(value, np.ndarray | np.generic | int | float | str)


def test_state_is_arrays_and_numbers_and_survives_pickling(all_fitted: list[Any]):
    for estimator in all_fitted:
        state = estimator.__getstate__()
        assert plain(state), [name for name, value in state.items() if not plain(value)]
        again = pickle.loads(pickle.dumps(estimator))
        ask = "predict" if hasattr(estimator, "predict") else "transform"
        np.testing.assert_array_equal(getattr(again, ask)(X[:9]), getattr(estimator, ask)(X[:9]))


def test_clones_are_unfitted_and_fit_to_the_same_bits(all_fitted: list[Any]):
    for before, after in zip(all_fitted, fitted(), strict=True):
        assert not [name for name in vars(clone(before)) if name.endswith("_")]
        ask = "predict" if hasattr(before, "predict") else "transform"
        np.testing.assert_array_equal(getattr(after, ask)(X[:9]), getattr(before, ask)(X[:9]))


def test_grid_search_finds_three_species():
    grid = {"n_components": [1, 2, 3]}
    search = GridSearchCV(GaussianMixture(covariance_type="tied", random_state=0), grid, cv=3, n_jobs=1)
    rows = np.random.default_rng(0).permutation(X)
    assert search.fit(rows).best_params_ == {"n_components": 3}
    assert search.score(rows) == pytest.approx(search.best_estimator_.score(rows))


@pytest.mark.filterwarnings("ignore")
def test_latents_feed_a_classifier_in_a_pipeline():
    vae = VAE(
        2, hidden_layer_sizes=(16,), max_iter=60, learning_rate_init=0.01, batch_size=50, random_state=0
    )
    pipeline = make_pipeline(StandardScaler(), vae, LogisticRegression())
    assert cross_val_score(pipeline, X, LABEL, cv=2).min() > 0.8
    names = pipeline.fit(X, LABEL)[:-1].get_feature_names_out()
    assert names.tolist() == ["vae0", "vae1"]
