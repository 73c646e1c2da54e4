from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jensen.algorithms.psis import fit_generalized_pareto, pareto_k, psis, rounding, tail_length


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.7, 1.2])
def test_fit_recovers_simulated_generalized_pareto(shape):
    n, sigma = 4000, 2.5
    x = scipy.stats.genpareto.rvs(shape, scale=sigma, size=n, random_state=3)
    k, scale = fit_generalized_pareto(jnp.sort(jnp.asarray(x, jnp.float32)))
    # asymptotic sd of the maximum-likelihood shape is (1+k)/√n ≤ 0.035
    assert abs(float(k) - shape) < 4.5 * (1 + max(shape, 0)) / np.sqrt(n) + 0.005
    assert abs(float(scale) / sigma - 1) < 0.12


def test_fit_agrees_with_scipy_maximum_likelihood():
    x = np.sort(scipy.stats.genpareto.rvs(0.4, size=2000, random_state=5))
    k_ml, _, scale_ml = scipy.stats.genpareto.fit(x, floc=0)
    k, scale = fit_generalized_pareto(jnp.asarray(x, jnp.float32))
    assert abs(float(k) - k_ml) < 0.01 and abs(float(scale) / scale_ml - 1) < 0.02


def test_shape_of_gaussian_weights_with_too_narrow_a_proposal():
    # q = N(0, s²) for p = N(0, 1): w has tail index k = 1 − s² when s < 1.
    z = 0.5 * jax.random.normal(jax.random.key(0), (50_000,))
    log_w = -0.5 * z**2 + 0.5 * (z / 0.5) ** 2
    assert abs(float(pareto_k(log_w)) - 0.75) < 0.15  # the limit is approached slowly (a log correction)
    wide = 2.0 * jax.random.normal(jax.random.key(0), (10_000,))
    assert float(pareto_k(-0.5 * wide**2 + 0.5 * (wide / 2.0) ** 2)) < 0.1  # bounded weights


def test_smoothing_keeps_order_body_and_normalization():
    log_w = 2.0 * jax.random.normal(jax.random.key(2), (1000,))
    smoothed, k = jax.jit(psis)(log_w)
    assert abs(float(jnp.sum(jnp.exp(smoothed))) - 1) < 1e-5
    order = np.argsort(np.asarray(log_w))
    assert (np.diff(np.asarray(smoothed)[order]) >= -1e-5).all()
    body = order[: 1000 - tail_length(1000)]
    shift = np.asarray(smoothed - log_w)[body]
    assert np.ptp(shift) < 1e-4
    assert float(jnp.max(smoothed) - smoothed[body[-1]]) <= float(jnp.max(log_w) - log_w[body[-1]]) + 1e-5
    np.testing.assert_allclose(psis(log_w + 300.0)[1], k, atol=1e-3)


@pytest.mark.parametrize(
    ("log_w", "expected"),
    [
        (jnp.zeros(100), -1.0),
        (jnp.full(100, -jnp.inf), jnp.inf),
        (jnp.zeros(10), jnp.inf),
        (jnp.zeros(100).at[3].set(jnp.nan), jnp.inf),
    ],
)
def test_degenerate_weights(log_w, expected):
    assert float(pareto_k(log_w)) == expected


def test_rounding_alone_is_no_tail():
    log_p = -4000.0 - jnp.arange(1000.0) % 7
    last_place = 2.0**-12
    log_w = last_place * (jax.random.uniform(jax.random.key(0), (1000,)) < 0.05)
    assert float(pareto_k(log_w)) > 0.7  # an equal proposal, falsely blamed
    assert float(pareto_k(log_w, resolution=rounding(log_p))) == -1.0
    heavy = jax.random.exponential(jax.random.key(1), (1000,))
    assert float(pareto_k(heavy, resolution=rounding(log_p))) == float(pareto_k(heavy)) > 0.7
    assert float(rounding(log_p * 1e9)) == 1.0 and float(rounding(jnp.zeros(3))) > 1e-6


def test_zero_weights_mixed_in_are_no_harm():
    log_w = jnp.where(jnp.arange(1000) % 10 < 9, -jnp.inf, jax.random.normal(jax.random.key(1), (1000,)))
    smoothed, k = psis(log_w)
    assert jnp.isfinite(k) and abs(float(jnp.sum(jnp.exp(smoothed))) - 1) < 1e-5


@pytest.mark.slow
def test_agrees_with_arviz():
    arviz = pytest.importorskip("arviz", reason="an independent implementation; optional")
    for seed, size in enumerate([200, 1000, 5000]):
        log_w = np.random.default_rng(seed).normal(size=size) * (1 + seed)
        theirs, k = arviz.psislw(log_w)
        ours, k_ours = psis(jnp.asarray(log_w, jnp.float32))
        assert abs(float(k) - float(k_ours)) < 0.02
        np.testing.assert_allclose(ours, np.asarray(theirs), atol=2e-2)
