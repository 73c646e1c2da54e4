"""Statistics of behaviour against numbers worked out by hand or by other means."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import trim_mean
from statsmodels.stats.proportion import proportion_confint

from jensen.control import bootstrap, divergence, entropy, interquartile_mean, wilson
from jensen.errors import InputError


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (1, 10), (8, 10), (50, 100), (100, 100)])
def test_wilson_as_statsmodels(hits: int, trials: int):
    got = wilson(hits, trials)
    np.testing.assert_allclose(got[1:], proportion_confint(hits, trials, method="wilson"), atol=1e-12)
    assert got.lower <= got.value <= got.upper


def test_entropy_by_hand():
    assert entropy({"a": 3, "b": 1}) == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert (
        entropy({"a": 7, "b": 0}) == 0 and entropy([]) == 0 and entropy([1, 1, 1]) == pytest.approx(np.log(3))
    )


def test_divergence_by_hand():
    # behaviour (9.5, 0.5) / 10 after smoothing
    want = 0.5 * np.log(0.5 / 0.95) + 0.5 * np.log(0.5 / 0.05)
    assert divergence({"l": 0.5, "r": 0.5}, {"l": 9}) == pytest.approx(want)
    assert divergence({"l": 1, "r": 3}, {"l": 25, "r": 75}, smoothing=0.0) == pytest.approx(0.0)
    assert divergence({"l": 1.0}, {"r": 5}, smoothing=0.0) == np.inf
    with pytest.raises(InputError, match="no mode has a share"):
        divergence({}, {"l": 1})


def test_interquartile_mean():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(8, 3))
    assert interquartile_mean(scores) == pytest.approx(trim_mean(scores, 0.25, axis=None))
    assert interquartile_mean([5.0]) == 5.0
    assert interquartile_mean(range(1, 11)) == pytest.approx(np.mean([3, 4, 5, 6, 7, 8]))


def test_bootstrap():
    rng = np.random.default_rng(0)
    runs = rng.normal(size=100)
    got = bootstrap(runs, lambda s: float(np.mean(s)))
    half = 1.96 * runs.std() / 10
    assert got.value == runs.mean()
    assert abs(got.upper - runs.mean() - half) < 0.03 and abs(runs.mean() - got.lower - half) < 0.03
    # tasks far apart but exact within: drawn again task by task, nothing varies
    assert bootstrap([[0.0, 0.0], [9.0, 9.0, 9.0]], lambda s: float(np.mean(s)))[1:] == (5.4, 5.4)
    table = np.tile([0.0, 9.0], (5, 1))
    assert bootstrap(table, lambda s: float(np.mean(s)))[1:] == (4.5, 4.5)
    assert bootstrap(runs, seed=1) == bootstrap(runs, seed=1)


def test_refused():
    with pytest.raises(InputError, match="0 successes of 0 trials"):
        wilson(0, 0)
    with pytest.raises(InputError, match="3 successes of 2"):
        wilson(3, 2)
    with pytest.raises(InputError, match="no scores"):
        bootstrap(np.zeros((0, 2)))
    for name, statistic in (("bootstrap", bootstrap), ("interquartile_mean", interquartile_mean)):
        with pytest.raises(InputError, match=f"{name}: the score of run 1 is NaN"):
            statistic([1.0, np.nan, 3.0])
        with pytest.raises(InputError, match=f"{name}: no scores"):
            statistic([])
    with pytest.raises(InputError, match="the score of run 0 is NaN"):
        bootstrap([[1.0, 2.0], [np.nan]])
