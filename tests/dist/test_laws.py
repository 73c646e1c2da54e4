"""Laws against scipy, sums, and their own samples."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from jensen import dist

RNG = np.random.default_rng(0)
LOC = jnp.array([0.3, -1.0, 2.0])
SCALE = jnp.array([0.5, 1.5, 0.8])
TRIL = jnp.array([[0.7, 0, 0], [0.4, 1.2, 0], [-0.6, 0.3, 0.5]])
FACTOR = jnp.array([[1.0, 0.2], [-0.5, 0.7], [0.3, -1.1]])
INF = jnp.inf

GAUSSIANS = {
    "diag": (dist.DiagGaussian(LOC, SCALE), np.diag(np.asarray(SCALE) ** 2)),
    "full": (dist.FullGaussian(LOC, TRIL), np.asarray(TRIL @ TRIL.T)),
    "low-rank": (
        dist.LowRankGaussian(LOC, FACTOR, SCALE),
        np.asarray(FACTOR @ FACTOR.T) + np.diag(np.asarray(SCALE) ** 2),
    ),
}
DISCRETE = {
    "categorical": dist.Categorical(jnp.array([0.2, -1.0, 1.3])),
    "one-hot": dist.OneHot(jnp.array([[0.2, -1.0, 1.3], [0.5, 0.0, -0.4]])),
    "bernoulli": dist.Bernoulli(jnp.array([0.4, -1.2])),
}


@pytest.mark.parametrize("name", GAUSSIANS)
def test_gaussian_density_and_moments(name):
    law, covariance = GAUSSIANS[name]
    for z in RNG.normal(size=(5, 3)).astype(np.float32):
        expected = st.multivariate_normal(np.asarray(LOC), covariance).logpdf(z)
        np.testing.assert_allclose(law.log_prob(jnp.asarray(z)), expected, rtol=2e-5)
    np.testing.assert_allclose(law.scale_tril @ law.scale_tril.T, covariance, atol=1e-5)
    np.testing.assert_allclose(law.variance, np.diag(covariance), rtol=1e-5)
    z, log_q = jax.vmap(lambda k: law.sample_and_log_prob(key=k))(jax.random.split(jax.random.key(0), 40_000))
    np.testing.assert_allclose(z.mean(0), law.mean, atol=0.04)
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.06)
    np.testing.assert_allclose(log_q[:5], jax.vmap(law.log_prob)(z[:5]), rtol=1e-5)


@pytest.mark.parametrize(("q", "p"), list(itertools.product(GAUSSIANS, GAUSSIANS)))
def test_gaussian_kl(q, p):
    (law_q, cov_q), (law_p, cov_p) = GAUSSIANS[q], GAUSSIANS[p]
    law_p = jax.tree.map(lambda a: a * 1.3, law_p)
    cov_p, shift = cov_p * 1.69, 0.3 * np.asarray(LOC)
    inverse = np.linalg.inv(cov_p)
    logdets = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    expected = 0.5 * (np.trace(inverse @ cov_q) + shift @ inverse @ shift - 3 + logdets)
    np.testing.assert_allclose(dist.kl_divergence(law_q, law_p, None), [expected], rtol=2e-5)
    np.testing.assert_allclose(dist.kl_divergence(law_q, law_q, None), [0.0], atol=2e-6)


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_laws_sum_and_sample(name):
    q = DISCRETE[name]
    p = jax.tree.map(lambda a: 0.3 - a, q)
    support = q.support()
    log_q = jax.vmap(lambda z: q.log_prob(z).sum())(support)
    log_p = jax.vmap(lambda z: p.log_prob(z).sum())(support)
    assert len(support) == q.support_size
    np.testing.assert_allclose(jnp.exp(log_q).sum(), 1.0, rtol=1e-5)
    np.testing.assert_allclose(
        dist.kl_divergence(q, p, None).sum(), (jnp.exp(log_q) * (log_q - log_p)).sum(), rtol=1e-5
    )
    z, of_draw = jax.vmap(lambda k: q.sample_and_log_prob(key=k))(jax.random.split(jax.random.key(0), 40_000))
    frequency = [(np.asarray(z).reshape(len(z), -1) == np.ravel(s)).all(1).mean() for s in support]
    np.testing.assert_allclose(frequency, jnp.exp(log_q), atol=0.01)
    np.testing.assert_allclose(of_draw[0], q.log_prob(z[0]), rtol=1e-5)


IMPOSSIBLE = {
    "categorical": (dist.Categorical, jnp.array([0.0, -INF, 1.0]), jnp.array([0.3, -INF, 0.1])),
    "one-hot": (dist.OneHot, jnp.array([[0.0, -INF, 1.0]]), jnp.array([[0.3, -INF, 0.1]])),
    "bernoulli": (dist.Bernoulli, jnp.array([-INF, 0.4, INF]), jnp.array([-INF, 0.1, INF])),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_values_cost_nothing_and_poison_no_gradient(name):
    law, q_logits, p_logits = IMPOSSIBLE[name]

    def total(a, b):
        q = law(a)
        z, log_q = q.sample_and_log_prob(key=jax.random.key(0))
        return dist.kl_divergence(q, law(b), z).sum() + log_q.sum()

    value, slopes = jax.value_and_grad(total, (0, 1))(q_logits, p_logits)
    assert np.isfinite(value) and all(np.isfinite(s).all() for s in slopes)
    possible = dist.kl_divergence(law(jnp.full_like(q_logits, 0.1)), law(p_logits), None).sum()
    assert possible == INF


def test_impossible_values_have_no_mass():
    assert dist.Categorical(jnp.array([0.0, -INF])).log_prob(jnp.asarray(1)) == -INF
    assert dist.OneHot(jnp.array([[0.0, -INF]])).log_prob(jnp.array([0.0, 1.0]))[0] == -INF
    assert dist.Bernoulli(jnp.array([-INF])).log_prob(jnp.array([1.0])) == -INF


def test_steep_low_rank_covariance_keeps_its_density():
    factor, scale = jnp.array([[300.0, 1.0], [300.0, -1.0], [300.0, 0.5]]), jnp.full(3, 0.01)
    law = dist.LowRankGaussian(LOC, factor, scale)
    covariance = np.asarray(factor, float) @ np.asarray(factor, float).T + 1e-4 * np.eye(3)
    z, log_q = law.sample_and_log_prob(key=jax.random.key(0))
    expected = st.multivariate_normal(np.asarray(LOC, float), covariance, allow_singular=True).logpdf(z)
    np.testing.assert_allclose(log_q, expected, atol=0.1)
    assert np.isfinite(law.scale_tril).all()
    np.testing.assert_allclose(law.log_det_scale, 0.5 * np.linalg.slogdet(covariance)[1], rtol=1e-4)


@pytest.mark.parametrize(
    ("law", "bad"),
    [
        (dist.GaussianRow(LOC, SCALE), jnp.nan),
        (dist.BernoulliRow(LOC), jnp.nan),
        (dist.CategoricalRow(jnp.stack([LOC, SCALE], -1)), jnp.nan),
    ],
)
def test_unobserved_entries_drop_out(law, bad):
    x, mask = jnp.array([1.0, bad, 0.0]), jnp.array([True, False, True])
    kept = jax.tree.map(lambda a: a[np.array([0, 2])], law)
    value, slope = jax.value_and_grad(lambda law: dist.log_prob_observed(law, x, mask))(law)
    np.testing.assert_allclose(value, kept.log_prob_entries(x[np.array([0, 2])]).sum(), rtol=1e-6)
    assert all(np.isfinite(s).all() for s in jax.tree.leaves(slope))


@pytest.mark.parametrize(
    ("law", "x", "expected"),
    [
        (dist.GaussianRow(LOC, SCALE), [0.1, 0.2, 0.3], st.norm(np.asarray(LOC), np.asarray(SCALE)).logpdf),
        (dist.BernoulliRow(LOC), [1.0, 0.0, 1.0], st.bernoulli(1 / (1 + np.exp(-np.asarray(LOC)))).logpmf),
    ],
)
def test_rows_against_scipy(law, x, expected):
    np.testing.assert_allclose(law.log_prob_entries(jnp.array(x)), expected(np.array(x)), rtol=1e-5)
