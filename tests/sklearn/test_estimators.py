"""scikit-learn's checks of every estimator: none is expected to fail, and how many ran is known."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from jensen.sklearn import VAE, BernoulliMixture, FactorAnalysis, GaussianMixture, MixtureDensityRegressor

ESTIMATORS = [
    GaussianMixture(max_iter=5),
    BernoulliMixture(max_iter=5),
    FactorAnalysis(1, max_iter=9),
    VAE(1, hidden_layer_sizes=(3,), max_iter=2, n_draws=2),
    MixtureDensityRegressor(1, hidden_layer_sizes=(8,), max_iter=60, learning_rate_init=0.03),
]
LEAST = {"GaussianMixture": 40}
PASSED: Counter[str] = Counter()


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks_pass(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else one check is skipped
    check(estimator)
    PASSED[type(estimator).__name__] += 1
