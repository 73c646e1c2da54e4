"""The Bernoulli mixture against sums over its components and counts by hand."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import fit, gradients, models, objectives, posteriors, use

KEY = jax.random.key(0)
TRUTH = models.BernoulliMixture.with_parameters([0.3, 0.7], [[0.9, 0.8, 0.1, 0.2], [0.2, 0.1, 0.7, 0.9]])


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """Rows drawn from the truth."""
    return use.sample(inference(TRUTH), 400, key=KEY)


def inference(model: models.BernoulliMixture) -> jn.Inference:
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def test_probabilities_of_all_rows_sum_to_one_and_missing_ones_are_summed_over():
    rows = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    p = np.exp(use.score(inference(TRUTH), rows))
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    mask = np.ones((1, 4), bool)
    mask[0, 1] = False
    hidden = use.score(inference(TRUTH), fit.Data(np.array([[1.0, 0.0, 0.0, 1.0]]), mask=mask))
    same = (rows[:, [0, 2, 3]] == [1.0, 0.0, 1.0]).all(1)
    assert np.exp(hidden[0]) == pytest.approx(p[same].sum(), rel=1e-5)
    filled = use.impute(inference(TRUTH), np.array([[1.0, np.nan, 0.0, 1.0]]), key=KEY)
    assert filled[0, 1] == pytest.approx(p[same & (rows[:, 1] == 1)].sum() / p[same].sum(), rel=1e-5)


def test_one_component_is_the_column_means(x: np.ndarray):
    fitted = fit.em(models.BernoulliMixture(1, 4, key=KEY), x)
    np.testing.assert_allclose(fitted.model.probs[0], x.mean(0), atol=1e-5)


def test_em_climbs_to_a_stationary_point_above_the_truth(x: np.ndarray):
    fitted = fit.em(models.BernoulliMixture(2, 4, key=KEY), x, steps=500, tolerance=1e-7, key=KEY)
    assert (np.diff(fitted.history.bound) > -1e-6).all()
    assert fitted.history.bound[-1] > use.score(inference(TRUTH), x).mean()
    order = np.argsort(fitted.model.weights)
    np.testing.assert_allclose(fitted.model.probs[order], TRUTH.probs, atol=0.15)
    climbed = fit.gradient(inference(fitted.model), x, key=KEY, optimizer=optax.adam(1e-3), steps=20)
    assert climbed.history.bound[-1] == pytest.approx(fitted.history.bound[-1], abs=1e-4)


def test_probabilities_stay_within_their_bounds_and_held_ones_keep_their_bits():
    rows = np.array([[1.0, 0.0]] * 9 + [[0.0, 1.0]] * 9)
    model = models.BernoulliMixture(2, 2, min_prob=0.01, key=KEY)
    fitted = fit.em(model, rows, key=KEY).model
    assert np.isclose(np.sort(fitted.probs, 0), [[0.01, 0.01], [0.99, 0.99]]).all()
    held = fit.em(fitted, rows[:12], trainable=lambda i: i.model.logits).model
    np.testing.assert_array_equal(held.log_odds, fitted.log_odds)
    assert held.weights.max() > 0.6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: models.BernoulliMixture(0, 2, key=KEY), "num_components is 0"),
        (lambda: models.BernoulliMixture(2, 2, min_prob=0.5, key=KEY), "between 0 and 1/2"),
        (lambda: models.BernoulliMixture.with_parameters([1.0], [[0.0]]), "strictly between 0 and 1"),
        (lambda: models.BernoulliMixture.with_parameters([1.0], [[0.5], [0.5]]), r"give \(K,\) and \(K, D\)"),
        (lambda: fit.em(models.BernoulliMixture(1, 1, key=KEY), [[0.5], [1.0]]), "strictly between 0 and 1"),
    ],
)
def test_refusals(make, words: str):
    with pytest.raises(jn.errors.InputError, match=words):
        make()
