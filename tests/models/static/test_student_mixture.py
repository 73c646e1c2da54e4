"""The t mixture against SciPy, its EM against the stationary point of the exact gradient, and outliers."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jensen as jn
from jensen import fit, gradients, models, objectives, posteriors, use

KEY = jax.random.key(0)
WEIGHTS, DF = np.array([0.4, 0.6]), np.array([3.0, 8.0])
MEANS = np.array([[0.0, 0.0], [6.0, 1.0]])
SCALES = np.array([[[1.0, 0.5], [0.5, 2.0]], [[0.5, 0.0], [0.0, 0.3]]])
LAWS = [scipy.stats.multivariate_t(m, s, v, seed=0) for m, s, v in zip(MEANS, SCALES, DF, strict=True)]
TRUTH = models.StudentMixture.with_parameters(WEIGHTS, MEANS, SCALES, DF)


def inference(model: models.StudentMixture) -> jn.Inference:
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.concatenate([LAWS[0].rvs(800), LAWS[1].rvs(1200)])


@pytest.fixture(scope="module")
def fitted(x: np.ndarray) -> fit.Fitted:
    return fit.em(models.StudentMixture(2, 2, key=KEY), x, key=KEY, steps=300, tolerance=1e-7)


def test_densities_are_those_of_scipy_however_far(x: np.ndarray):
    far = np.concatenate([x, [[1e4, -1e4], [1e6, 3.0]]])
    each = np.stack([np.log(w) + law.logpdf(far) for w, law in zip(WEIGHTS, LAWS, strict=True)])
    np.testing.assert_allclose(use.score(inference(TRUTH), far), np.logaddexp(*each), atol=2e-5)


def test_missing_entries_are_integrated_out():
    x = np.array([[1.5, -2.0], [6.5, 50.0]])
    rows = fit.Data(np.where([[True, False]] * 2, x, 0.0), mask=np.array([[True, False]] * 2))
    laws = [scipy.stats.t(v, m[0], s[0, 0] ** 0.5) for m, s, v in zip(MEANS, SCALES, DF, strict=True)]
    each = np.stack([np.log(w) + law.logpdf(x[:, 0]) for w, law in zip(WEIGHTS, laws, strict=True)])
    np.testing.assert_allclose(use.score(inference(TRUTH), rows), np.logaddexp(*each), atol=1e-5)


def test_em_climbs_to_a_stationary_point_near_the_truth(x: np.ndarray, fitted: fit.Fitted):
    assert (np.diff(fitted.history.bound) > -1e-6).all()
    assert fitted.history.bound[-1] > use.score(inference(TRUTH), x).mean()
    order = np.argsort(fitted.model.weights)
    np.testing.assert_allclose(fitted.model.means[order], MEANS, atol=0.2)
    np.testing.assert_allclose(fitted.model.scale_matrices[order], SCALES, atol=0.3)
    assert (fitted.model.df[order] / DF < 1.5).all() and (DF / fitted.model.df[order] < 1.5).all()
    rows = jnp.asarray(x, jnp.float32)

    def evidence(parameters):  # exact, in every parameter EM chooses
        model = eqx.tree_at(lambda m: (m.logits, m.components), fitted.model, parameters)
        return jax.vmap(lambda row: model.log_evidence(jn.Datum(row)))(rows).mean()

    slopes = jax.jit(jax.grad(evidence))((fitted.model.logits, fitted.model.components))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slopes)) < 2e-3


def test_missing_entries_in_em_do_not_lower_the_bound(x: np.ndarray):
    mask = np.random.default_rng(0).random(x.shape) > 0.2
    mask[mask.sum(1) == 0] = True
    found = fit.em(
        models.StudentMixture(2, 2, key=KEY), fit.Data(np.where(mask, x, 0.0), mask=mask), key=KEY, steps=60
    )
    assert (np.diff(found.history.bound) > -3e-6).all()
    order = np.argsort(found.model.weights)
    np.testing.assert_allclose(found.model.means[order], MEANS, atol=0.3)


def test_far_rows_do_not_bend_it(x: np.ndarray):
    spoilt = np.concatenate([x, np.random.default_rng(0).normal(0.0, 300.0, (40, 2))])
    heavy = fit.em(models.StudentMixture(2, 2, key=KEY), spoilt, key=KEY, steps=100).model
    plain = fit.em(models.GaussianMixture(2, 2, key=KEY), spoilt, key=KEY, steps=100).model
    assert np.abs(heavy.means[np.argsort(heavy.weights)] - MEANS).max() < 0.3
    assert np.asarray(plain.covariances).max() > 1e3 > 10 * heavy.scale_matrices.max()


def test_held_degrees_of_freedom_keep_their_bits_and_the_rest_climbs(x: np.ndarray):
    model = models.StudentMixture(2, 2, covariance="tied", df=4.0, key=KEY)
    held = fit.em(model, x, key=KEY, steps=30, trainable=lambda i: (i.model.logits, i.model.components.means))
    np.testing.assert_array_equal(held.model.components.log_df, model.components.log_df)
    assert (np.diff(held.history.bound) > -1e-6).all()


def test_draws_have_its_tails():
    one = models.StudentMixture.with_parameters([1.0], MEANS[:1], SCALES[:1], 3.0)
    away = use.sample(inference(one), 4000, key=KEY) - MEANS[0]
    distance = np.einsum("ni,ij,nj->n", away, np.linalg.inv(SCALES[0]), away)
    assert scipy.stats.kstest(distance / 2, scipy.stats.f(2, 3.0).cdf).pvalue > 1e-3
    assert scipy.stats.kstest(distance / 2, scipy.stats.f(2, 4.0).cdf).pvalue < 1e-3  # it can tell


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: models.StudentMixture(0, 2, key=KEY), "num_components is 0"),
        (lambda: models.StudentMixture(2, 2, df=0.1, key=KEY), r"df is 0.1; it must lie in \[0.5, 200\]"),
        (lambda: models.StudentMixture.with_parameters([1.0], [[0.0]], [[[1.0]]], 500.0), "give one or"),
        (lambda: models.StudentMixture.with_parameters([1.0], [[0.0], [1.0]], [[[1.0]]], 5.0), r"\(K, D\)"),
    ],
)
def test_refusals(make, words: str):
    with pytest.raises(jn.errors.InputError, match=words):
        make()
