"""Linear regression against least squares in float64, and the exact Gaussian likelihood."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from jensen import diagnose, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.errors import InputError, JensenWarning

KEY = jax.random.key(0)
W, L = np.array([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]]), np.array([[0.3, 0.0], [0.2, 0.1]])


def data(num: int = 150, offset: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, 3))
    y = x @ W.T + rng.normal(size=(num, 2)) @ L.T
    return y + 5 * offset, x + offset


def least_squares(y, x, weight=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    weight = np.ones(len(y)) if weight is None else weight
    found = LinearRegression().fit(x, y, sample_weight=weight)
    left = y - found.predict(x)
    return found.coef_, found.intercept_, (weight[:, None] * left).T @ left / weight.sum()


def exactly(y, x, coef, intercept, covariance) -> np.ndarray:
    return stats.multivariate_normal(np.zeros(y.shape[1]), covariance).logpdf(y - x @ coef.T - intercept)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_em_is_least_squares_in_one_step_wherever_the_data_lies(offset):
    y, x = data(offset=offset)
    fitted = fit.em(models.LinearGaussian(2, 3), fit.Data(y, cond=x))
    coef, intercept, covariance = least_squares(y, x)
    model = fitted.model
    np.testing.assert_allclose(model.weights, coef, atol=1e-6)
    np.testing.assert_allclose(model.intercept, intercept, atol=1e-6 * (1 + 3 * offset))
    np.testing.assert_allclose(model.covariance, covariance, rtol=2e-5)
    truth = exactly(y, x, coef, intercept, covariance)
    assert fitted.stop_reason == "converged" and len(fitted.history.bound) <= 3
    assert fitted.history.bound[1] == pytest.approx(truth.mean(), abs=1e-5)
    np.testing.assert_allclose(use.score(fitted, fit.Data(y, cond=x)), truth, atol=2e-4)


def test_weights_count_as_rows():
    y, x = data(60)
    weight = np.random.default_rng(1).uniform(0.1, 3, 60)
    model = fit.em(models.LinearGaussian(2, 3), fit.Data(y, cond=x, weights=weight)).model
    coef, intercept, covariance = least_squares(y, x, weight)
    np.testing.assert_allclose(model.weights, coef, atol=1e-6)
    np.testing.assert_allclose(model.intercept, intercept, atol=1e-6)
    np.testing.assert_allclose(model.covariance, covariance, rtol=2e-5)


def test_regressors_that_nearly_agree_cost_no_digits():
    """Their second moments have a condition number of 10⁶, which float32 alone could not solve."""
    y, x = data()
    x = np.c_[x, x[:, :1] + 1e-3 * np.random.default_rng(2).normal(size=(150, 1))]
    model = fit.em(models.LinearGaussian(2, 4), fit.Data(y, cond=x)).model
    np.testing.assert_allclose(model.weights, least_squares(y, x)[0], rtol=1e-4, atol=1e-4)
    twice = fit.em(models.LinearGaussian(2, 6), fit.Data(y, cond=np.c_[x[:, :3], x[:, :3]])).model
    np.testing.assert_allclose(twice.weights[:, :3], twice.weights[:, 3:], atol=1e-5)  # they share alike


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_structures_take_their_share_of_the_covariance(kind):
    y, x = data()
    model = fit.em(models.LinearGaussian(2, 3, covariance=kind), fit.Data(y, cond=x)).model
    coef, _, covariance = least_squares(y, x)
    np.testing.assert_allclose(model.weights, coef, atol=1e-6)
    own = np.diag(covariance)
    np.testing.assert_allclose(model.covariance, own if kind == "diag" else own.mean(), rtol=2e-5)


def test_missing_entries_are_integrated_out():
    """The bound climbs to a stationary point of the observed likelihood, and hidden entries follow from it."""
    y, x = data(80)
    mask = np.random.default_rng(3).uniform(size=y.shape) < 0.7
    own = fit.Data(y, cond=x, mask=mask)
    fitted = fit.em(models.LinearGaussian(2, 3), own, steps=300, tolerance=1e-7)
    assert (np.diff(fitted.history.bound) > -1e-6).all() and len(fitted.history.bound) > 2
    m = fitted.model

    def observed(coef, intercept, covariance) -> float:
        total = 0.0
        for row, given, seen in zip(y, x, mask, strict=True):
            if seen.any():
                mean = coef @ given + intercept
                law = stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)])
                total += law.logpdf(row[seen])
        return total / len(y)

    best = observed(m.weights, m.intercept, m.covariance)
    assert fitted.history.bound[-1] == pytest.approx(best, abs=1e-5)
    for scale in (1e-2, -1e-2):
        assert observed(m.weights + scale * np.eye(2, 3), m.intercept, m.covariance) < best
        assert observed(m.weights, m.intercept + scale, m.covariance) < best
        assert observed(m.weights, m.intercept, m.covariance * (1 + 10 * scale)) < best
    row = int(np.flatnonzero(mask[:, 0] & ~mask[:, 1])[0])
    mean, cov = m.weights @ x[row] + m.intercept, m.covariance
    expected = mean[1] + cov[1, 0] / cov[0, 0] * (y[row, 0] - mean[0])
    filled = use.impute(fitted, own, key=KEY)
    assert filled[row, 1] == pytest.approx(expected, abs=1e-4) and filled[row, 0] == pytest.approx(y[row, 0])


def test_parts_can_be_held():
    y, x = data(80)
    start = models.LinearGaussian.with_parameters(W, [0.0, 0.5], np.eye(2))
    held = fit.em(start, fit.Data(y, cond=x), trainable=lambda i: i.model.components).model
    np.testing.assert_allclose(held.weights, W, atol=1e-6)
    np.testing.assert_allclose(held.intercept, (y - x @ W.T).mean(0), atol=1e-5)
    left = y - x @ W.T - held.intercept
    np.testing.assert_allclose(held.covariance, left.T @ left / len(y), rtol=1e-4)


def test_a_given_regression_has_its_density_and_draws_from_it():
    model = models.LinearGaussian.with_parameters(W, [1.0, -2.0], L @ L.T)
    y, x = np.array([1.2, 0.4]), np.array([0.3, -0.5, 0.8])
    truth = exactly(y[None], x[None], W, np.array([1.0, -2.0]), L @ L.T)
    datum = Datum(jnp.asarray(y, jnp.float32), jnp.asarray(x, jnp.float32))
    assert float(model.log_evidence(datum)) == pytest.approx(float(truth), rel=1e-5)
    assert float(model.law(datum.cond).log_prob_entries(datum.x).sum()) == pytest.approx(
        float(truth), rel=1e-5
    )
    inference = Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    drawn = use.sample(inference, 20_000, cond=x, key=KEY)
    np.testing.assert_allclose(drawn.mean(0), W @ x + [1.0, -2.0], atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), L @ L.T, atol=0.004)


def test_gradient_ascent_arrives_where_least_squares_does():
    y, x = data(100)
    # from a poor start, so that there is something to climb
    poor = models.LinearGaussian.with_parameters(0 * W, y.mean(0), np.eye(2))
    inference = Inference(poor, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    fitted = fit.gradient(inference, fit.Data(y, cond=x), key=KEY, optimizer=optax.adam(3e-2), steps=1500)
    coef, _, covariance = least_squares(y, x)
    np.testing.assert_allclose(fitted.model.weights, coef, atol=2e-3)
    np.testing.assert_allclose(fitted.model.covariance, covariance, rtol=0.02)
    gap = diagnose.gap(fitted, fit.Data(y, cond=x), key=KEY)
    assert gap.log_evidence.lower_kind == "exact" and tuple(gap.total) == (0.0, 0.0)


def test_few_rows_warn_and_one_is_refused():
    y, x = data(4)
    with pytest.warns(JensenWarning, match="4 rows for 3 regressors"):
        fit.em(models.LinearGaussian(2, 3), fit.Data(y, cond=x))
    with pytest.raises(InputError, match="at least 2"):
        fit.em(models.LinearGaussian(2, 3), fit.Data(y[:1], cond=x[:1]))
