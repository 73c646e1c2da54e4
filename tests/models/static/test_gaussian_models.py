"""Every Gaussian model against dense closed forms: evidence, missing entries, posterior, simulation."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from jensen import Datum, models
from jensen.errors import InputError

KEY = jax.random.key(0)
D, K, R = 3, 2, 1
RNG = np.random.default_rng(0)
MEANS = np.array([[1000.0, 5.0, -2.0], [1002.0, 4.0, 3.0]])
WEIGHTS = np.array([0.3, 0.7])
_ROOT = RNG.normal(size=(K, D, D))
FULL = _ROOT @ _ROOT.swapaxes(1, 2) + 0.3 * np.eye(D)
LOADINGS = np.array([[2.0], [1.0], [-0.5]])
NOISE = np.array([0.5, 1.0, 2.0])

GIVEN = {
    "full": FULL,
    "tied": FULL[0],
    "diag": np.array([[0.5, 1.0, 2.0], [1.5, 0.2, 1.0]]),
    "spherical": np.array([0.5, 2.0]),
}


def _dense(covariance: str) -> np.ndarray:
    given = GIVEN[covariance]
    return {
        "full": lambda: given,
        "tied": lambda: np.stack([given] * K),
        "diag": lambda: np.stack([np.diag(v) for v in given]),
        "spherical": lambda: np.stack([v * np.eye(D) for v in given]),
    }[covariance]()


def _cases() -> dict[str, tuple[Any, np.ndarray, np.ndarray, np.ndarray]]:
    """Model, and the weights, means and dense covariances it stands for."""
    cases = {
        f"mixture-{name}": (
            models.GaussianMixture.with_parameters(WEIGHTS, MEANS, GIVEN[name], covariance=name),
            WEIGHTS,
            MEANS,
            _dense(name),
        )
        for name in GIVEN
    }
    one = np.ones(1)
    for name in ("full", "diag", "spherical"):
        model = models.Gaussian.with_parameters(MEANS[0], GIVEN[name][0], covariance=name)
        cases[f"gaussian-{name}"] = (model, one, MEANS[:1], _dense(name)[:1])
    fa = models.FactorAnalysis.with_parameters(LOADINGS, NOISE, MEANS[0])
    cases["factor-analysis"] = (fa, one, MEANS[:1], (LOADINGS @ LOADINGS.T + np.diag(NOISE))[None])
    ppca = models.ProbabilisticPCA.with_parameters(LOADINGS, 0.7, MEANS[0])
    cases["ppca"] = (ppca, one, MEANS[:1], (LOADINGS @ LOADINGS.T + 0.7 * np.eye(D))[None])
    return cases


CASES = _cases()
ROWS = (MEANS[0] + RNG.normal(size=(8, D)) * [2.0, 1.0, 3.0]).astype(np.float32)
MASKS = np.array([[bool(i >> j & 1) for j in range(D)] for i in range(8)])  # every pattern, none seen too


def _joint(case: tuple, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    _, weights, means, covariances = case
    if not seen.any():
        return np.log(weights)
    each = [
        multivariate_normal(m[seen], c[np.ix_(seen, seen)]).logpdf(x[seen])
        for m, c in zip(means, covariances, strict=True)
    ]
    return np.log(weights) + np.array(each)


@pytest.mark.parametrize("name", CASES)
def test_evidence_is_the_dense_marginal_for_every_pattern_of_missing_entries(name: str):
    case = CASES[name]
    model = case[0]
    want = np.array(
        [logsumexp(_joint(case, x, m)) for x, m in zip(ROWS.astype(np.float64), MASKS, strict=True)]
    )
    x = np.where(MASKS, ROWS, 77.0).astype(np.float32)  # hidden entries may hold anything
    got = jax.vmap(lambda row, mask: model.log_evidence(Datum(row, mask=mask)))(x, MASKS)
    np.testing.assert_allclose(got, want, atol=2e-4)
    whole = jax.vmap(lambda row: model.log_evidence(Datum(row)))(ROWS)
    everything = np.ones(D, bool)
    np.testing.assert_allclose(whole, [logsumexp(_joint(case, x, everything)) for x in ROWS], atol=2e-4)


@pytest.mark.parametrize("name", CASES)
def test_conditional_mean_is_the_dense_one(name: str):
    model, _, means, covariances = CASES[name]
    for x, seen in zip(ROWS.astype(np.float64), MASKS, strict=True):
        share = np.exp(_joint(CASES[name], x, seen))
        want = np.zeros(D)
        for r, m, c in zip(share / share.sum(), means, covariances, strict=True):
            full = m.copy()
            if seen.any():
                full = m + c[:, seen] @ np.linalg.solve(c[np.ix_(seen, seen)], x[seen] - m[seen])
            want += r * full
        got = model.conditional_mean(Datum(jnp.asarray(x, jnp.float32), mask=jnp.asarray(seen)))
        np.testing.assert_allclose(got, np.where(seen, x, want), atol=1e-3)


@pytest.mark.parametrize("name", ["mixture-full", "mixture-diag"])
def test_responsibilities(name: str):
    case = CASES[name]
    for x, seen in zip(ROWS, MASKS, strict=True):
        joint = _joint(case, x.astype(np.float64), seen)
        got = case[0].posterior(Datum(jnp.asarray(x), mask=jnp.asarray(seen))).probs
        np.testing.assert_allclose(got, np.exp(joint - logsumexp(joint)), atol=1e-4)


@pytest.mark.parametrize("masked", ["whole", "masked"])
@pytest.mark.parametrize("name", ["factor-analysis", "ppca"])
def test_linear_gaussian_posterior_and_joint(name: str, masked: str):
    model, _, means, covariances = CASES[name]
    x = jnp.asarray(ROWS[0])
    seen = np.array([True, False, True]) if masked == "masked" else np.ones(D, bool)
    datum = Datum(x, mask=jnp.asarray(seen) if masked == "masked" else None)
    q = model.posterior(datum)
    inside = covariances[0][np.ix_(seen, seen)]
    gain = LOADINGS[seen].T @ np.linalg.inv(inside)
    np.testing.assert_allclose(q.mean, gain @ (np.asarray(x, np.float64) - means[0])[seen], atol=1e-4)
    np.testing.assert_allclose(q.tril @ q.tril.T, np.eye(R) - gain @ LOADINGS[seen], atol=1e-5)
    for z in (jnp.zeros(R), jnp.ones(R)):  # log p(x) = log p(x, z) - log p(z | x) at any z
        np.testing.assert_allclose(
            model.log_joint(z, datum) - q.log_prob(z), model.log_evidence(datum), atol=2e-4
        )


def test_mixture_joint_sums_to_the_evidence():
    model, datum = CASES["mixture-full"][0], Datum(jnp.asarray(ROWS[0]))
    joint = [model.log_joint(jnp.asarray(z), datum) for z in range(K)]
    np.testing.assert_allclose(logsumexp(joint), model.log_evidence(datum), rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_simulated_rows_have_the_moments_of_the_law(name: str):
    model, weights, means, covariances = CASES[name]
    _, x = eqx.filter_vmap(lambda key: model.simulate(key=key))(jax.random.split(KEY, 20_000))
    x = np.asarray(x, np.float64)
    mean = weights @ means
    covariance = np.einsum("k,kij->ij", weights, covariances) + (weights * (means - mean).T) @ (means - mean)
    deviation = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose((x.mean(0) - mean) / deviation, 0, atol=5 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(x.T) / np.outer(deviation, deviation), covariance / np.outer(deviation, deviation), atol=0.06)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parameters_come_back_in_the_data_s_own_units(name: str):
    model, weights, means, _ = CASES[name]
    kind, _, structure = name.partition("-")
    if kind == "mixture":
        np.testing.assert_allclose(model.weights, weights, rtol=1e-6)
        np.testing.assert_allclose(model.means, means, atol=1e-6)
        np.testing.assert_allclose(model.covariances, GIVEN[structure], rtol=1e-5, atol=1e-6)
    elif kind == "gaussian":
        np.testing.assert_allclose(model.mean, means[0], atol=1e-4)  # the frame's shift is float32
        np.testing.assert_allclose(model.covariance, GIVEN[structure][0], rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_allclose(model.loadings, LOADINGS, rtol=1e-5)
        np.testing.assert_allclose(model.noise_variance, 0.7 if name == "ppca" else NOISE, rtol=1e-5)


@eqx.filter_jit
@eqx.filter_grad
def _gradient(model: Any, datum: Datum) -> Any:
    return model.log_evidence(datum)


def test_gradients_of_the_evidence_are_finite_with_missing_entries():
    datum = Datum(jnp.asarray(ROWS[0]), mask=jnp.array([True, False, True]))
    for name in ("mixture-full", "mixture-diag", "factor-analysis"):
        gradient = _gradient(CASES[name][0], datum)
        leaves = jax.tree.leaves(eqx.filter(gradient, eqx.is_inexact_array))
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in leaves), name


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: models.GaussianMixture(0, 2, key=KEY), "num_components is 0"),
        (lambda: models.GaussianMixture(2, 2, covariance="diagonal", key=KEY), "did you mean 'diag'"),
        (lambda: models.Gaussian(2, covariance="tied"), "unknown"),
        (lambda: models.Gaussian(0), "data_dim is 0"),
        (lambda: models.FactorAnalysis(2, 3, key=KEY), "exceeds data_dim=2"),
        (lambda: models.ProbabilisticPCA(2, 2, key=KEY), "leaves no noise"),
        (lambda: models.GaussianMixture.with_parameters(WEIGHTS, MEANS, FULL[0]), "have shape"),
        (lambda: models.GaussianMixture.with_parameters([1.0, 0.0], MEANS, FULL), "must be positive"),
        (lambda: models.GaussianMixture.with_parameters(WEIGHTS, MEANS, -FULL), "not positive"),
        (lambda: models.FactorAnalysis.with_parameters(LOADINGS, -NOISE, MEANS[0]), "must be positive"),
    ],
)
def test_impossible_models_are_refused(make: Any, text: str):
    with pytest.raises(InputError, match=text):
        make()
