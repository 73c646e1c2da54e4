"""Laws of counts, codes and heavy tails: against scipy in float64, sums, samples, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special as sp
import scipy.stats as st

from jensen import dist

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)


def single(values):
    return np.asarray(values, np.float32).astype(np.float64)


def crossed(*axes):
    return [single(a.ravel()) for a in np.meshgrid(*axes, indexing="ij")]


def counts():
    """Counts near and far from their means; the means of all sizes."""
    mean = 10.0 ** RNG.uniform(-3, 6, 2000)
    near = RNG.poisson(mean)
    far = np.floor(10.0 ** RNG.uniform(-1, 6, 2000))
    x = np.where(RNG.random(2000) < 0.6, near, far)
    return single(x), single(np.log(mean)), single(RNG.uniform(np.log(1e-3), np.log(1e6), 2000))


def test_poisson_has_its_digits():
    x, log_rate, _ = counts()
    got = dist.PoissonRow(jnp.asarray(log_rate)).log_prob_entries(jnp.asarray(x))
    np.testing.assert_allclose(got, st.poisson.logpmf(x, np.exp(log_rate)), rtol=1e-5, atol=3e-6)
    tiny = dist.PoissonRow(jnp.array([-60.0, -60.0])).log_prob_entries(jnp.array([0.0, 3.0]))
    np.testing.assert_allclose(tiny, [-np.exp(-60.0), -180 - np.log(6)], rtol=1e-5)


def test_negative_binomial_has_its_digits():
    x, log_mean, log_r = counts()
    got = dist.negative_binomial_log_prob(*(jnp.asarray(a) for a in (x, log_mean, log_r)))
    mean, r = np.exp(log_mean), np.exp(log_r)
    expected = st.nbinom.logpmf(x, r, r / (r + mean))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    tiny = dist.NegativeBinomialRow(jnp.array([-60.0, -60.0]), jnp.zeros(2))
    np.testing.assert_allclose(
        tiny.log_prob_entries(jnp.array([0.0, 3.0])), [-np.exp(-60.0), -180], rtol=1e-5
    )


def test_negative_binomial_becomes_poisson():
    x = jnp.array([0.0, 3.0, 900.0, 1100.0])
    rate = jnp.log(jnp.array([2.0, 2.0, 1000.0, 1000.0]))
    wide = dist.NegativeBinomialRow(rate, jnp.full(4, 25.0)).log_prob_entries(x)
    np.testing.assert_allclose(wide, dist.PoissonRow(rate).log_prob_entries(x), rtol=2e-5)


@pytest.mark.parametrize("levels", [2, 17, 256, 4096])
def test_beta_binomial_has_its_digits(levels):
    n = levels - 1
    logit, log_total, x = crossed(
        [-14.0, -3.3, -0.2, 0.9, 7.0],
        [-5.0, 0.3, 2.9, 8.0, 13.0],
        np.unique(np.linspace(0, n, 9).round()),
    )
    law = dist.BetaBinomialRow(jnp.asarray(logit), jnp.asarray(log_total), levels)
    total = np.exp(log_total)
    expected = st.betabinom.logpmf(x, n, total * sp.expit(logit), total * sp.expit(-logit))
    np.testing.assert_allclose(law.log_prob_entries(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)


def test_student_has_its_digits():
    df, y = crossed([0.5, 1.0, 2.7, 5.9, 6.1, 30, 1e3, 1e6], [-1e6, -50, -3.0, -0.01, 0.0, 0.7, 50.0])
    law = dist.StudentTRow(jnp.full(df.shape, 0.25), jnp.full(df.shape, 2.0), jnp.asarray(df))
    x = single(0.25 + 2 * y)
    expected = st.t.logpdf(x, df, 0.25, 2.0)
    np.testing.assert_allclose(law.log_prob_entries(jnp.asarray(x)), expected, rtol=1e-5, atol=2e-6)


def test_student_integrates_to_one():
    log_prob = jax.jit(
        lambda x: dist.StudentTRow(jnp.array([1.0]), jnp.array([0.3]), jnp.array([2.5])).log_prob_entries(x)
    )
    total = scipy.integrate.quad(lambda x: np.exp(float(log_prob(jnp.array([x]))[0])), -300, 300, limit=400)
    assert total[0] == pytest.approx(1, abs=1e-4)


def logistic_bins(x, loc, scale, levels):
    """In float64, from whichever tail is the smaller."""
    low = np.where(x > 0, (x - 0.5 - loc) / scale, -np.inf)
    high = np.where(x < levels - 1, (x + 0.5 - loc) / scale, np.inf)
    flip = low + high > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    with np.errstate(divide="ignore"):
        log_a, log_b = -np.logaddexp(0, -a), -np.logaddexp(0, -b)
        return log_b + np.log1p(-np.exp(log_a - log_b))


def test_discretized_logistic_has_its_digits_in_bins_and_tails():
    loc, scale, x = crossed([-900.0, 0.0, 3.3, 128.0, 255.4, 2000.0], [0.02, 1.0, 30, 1e4], [0, 1, 128, 255])
    law = dist.DiscretizedLogisticRow(jnp.asarray(loc), jnp.asarray(scale), 256)
    got = law.log_prob_entries(jnp.asarray(x))
    np.testing.assert_allclose(got, logistic_bins(x, loc, scale, 256), rtol=1e-5, atol=2e-6)
    assert (got <= 0).all() and got.min() < -1e4


LOGITS = jnp.array([-9.0, -1.0, 0.3, 6.0])
CODED = {
    "beta_binomial": lambda levels: dist.BetaBinomialRow(LOGITS, jnp.array([0.5, 3.0, -2.0, 9.0]), levels),
    "discretized_logistic": lambda levels: dist.DiscretizedLogisticRow(
        jnp.array([-40.0, 0.4, 8.2, 300.0]), jnp.array([20.0, 1.0, 5.0, 0.1]), levels
    ),
}


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("name", CODED)
def test_codes_sum_to_one_with_their_mean_and_mode(name, levels):
    law = CODED[name](levels)
    codes = jnp.arange(levels, dtype=jnp.float32)
    table = np.asarray(jax.vmap(lambda k: law.log_prob_entries(jnp.full(4, k)))(codes), np.float64)
    np.testing.assert_allclose(np.exp(table).sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(law.mean, np.asarray(codes) @ np.exp(table), rtol=1e-4, atol=1e-5)
    at_mode = np.asarray(law.log_prob_entries(law.mode))
    np.testing.assert_allclose(at_mode, table.max(0), atol=1e-5)


def test_negative_binomial_sums_to_one_with_its_mean_and_mode():
    law = dist.NegativeBinomialRow(jnp.log(jnp.array([0.3, 4.0, 9.0])), jnp.log(jnp.array([0.4, 5.0, 300.0])))
    codes = np.arange(400.0)
    table = jax.vmap(lambda k: law.log_prob_entries(jnp.full(3, k)))(jnp.asarray(codes))
    probs = np.exp(np.asarray(table, np.float64))
    np.testing.assert_allclose(probs.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(law.mean, codes @ probs, rtol=1e-4)
    np.testing.assert_allclose(law.mode, probs.argmax(0))


SAMPLED = {
    "poisson": dist.PoissonRow(jnp.log(jnp.array([0.2, 3.0, 40.0]))),
    "negative_binomial": dist.NegativeBinomialRow(
        jnp.log(jnp.array([0.3, 4.0, 9.0])), jnp.log(jnp.array([0.05, 5.0, 300.0]))
    ),
    "beta_binomial": dist.BetaBinomialRow(jnp.array([-3.0, 0.2, 1.0]), jnp.array([0.1, 3.0, 6.0]), 17),
    "discretized_logistic": dist.DiscretizedLogisticRow(
        jnp.array([-1.0, 7.7, 15.0]), jnp.array([2.0, 0.4, 3.0]), 17
    ),
}


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_follow_the_masses(name):
    law, n = SAMPLED[name], 20_000
    x = np.asarray(jax.jit(jax.vmap(lambda k: law.sample(key=k)))(jax.random.split(KEY, n)))
    codes = np.arange(120 if name in ("poisson", "negative_binomial") else 17)
    probs = np.exp(
        jax.vmap(lambda k: law.log_prob_entries(jnp.full(3, k)))(jnp.asarray(codes, jnp.float32))
    ).astype(np.float64)
    for column, p in zip(x.T, probs.T, strict=True):
        expected = n * p
        common = expected >= 8
        seen = np.array(
            [(column == k).sum() for k in codes[common]] + [(~np.isin(column, codes[common])).sum()]
        )
        wanted = np.append(expected[common], n - expected[common].sum())
        chi = ((seen - wanted) ** 2 / np.maximum(wanted, 1)).sum()
        assert st.chi2.sf(chi, len(seen) - 1) > 1e-3, (name, chi, len(seen))


def test_student_samples():
    law = dist.StudentTRow(jnp.array([1.0, -2.0]), jnp.array([0.5, 2.0]), jnp.array([1.5, 8.0]))
    x = np.asarray(jax.vmap(lambda k: law.sample(key=k))(jax.random.split(KEY, 5000)))
    for j, frozen in enumerate([st.t(1.5, 1.0, 0.5), st.t(8.0, -2.0, 2.0)]):
        assert st.kstest(x[:, j], frozen.cdf).pvalue > 1e-3
    np.testing.assert_allclose(law.mean, [1.0, -2.0])
    np.testing.assert_allclose(law.mode, [1.0, -2.0])


def sloped():
    """Laws at awkward places, and rows for them."""
    edge = jnp.array([0.0, 255.0, 0.0, 255.0, 100.0])
    ends = jnp.array([-15.0, 15.0, 15.0, -15.0, 0.0])
    big = jnp.array([0.0, 0.0, 1e6, 1e6, 1.0])
    logs = jnp.array([-60.0, 14.0, -30.0, 13.8, 0.0])
    return {
        "poisson": (dist.PoissonRow(logs), big),
        "negative_binomial": (dist.NegativeBinomialRow(logs, jnp.array([9.0, -9.0, 0.0, 20.0, -9.0])), big),
        "beta_binomial": (dist.BetaBinomialRow(ends, jnp.array([-9.0, 0.0, 9.0, 3.0, 12.0]), 256), edge),
        "discretized_logistic": (dist.DiscretizedLogisticRow(1e4 * ends, jnp.full(5, 1e-2), 256), edge),
        "student_t": (dist.StudentTRow(ends, jnp.full(5, 1e-3), jnp.array([0.1, 1e5, 2, 6.0, 1.0])), big),
    }


@pytest.mark.parametrize("name", sloped())
def test_slopes_are_finite_and_hidden_entries_drop_out(name):
    law, x = sloped()[name]
    mask = jnp.array([True, True, True, True, False])
    value, slope = jax.value_and_grad(lambda law: dist.log_prob_observed(law, x.at[4].set(jnp.nan), mask))(
        law
    )
    assert np.isfinite(value)
    for leaf in jax.tree.leaves(slope):
        assert np.isfinite(leaf).all() and leaf[4] == 0
    np.testing.assert_allclose(value, law.log_prob_entries(x)[:4].sum(), rtol=1e-6)
    assert np.isfinite(jax.grad(lambda x: law.log_prob_entries(x).sum())(x)).all()


def test_slopes_of_the_negative_binomial_are_right():
    x, log_mean, log_r = (a[:200] for a in counts())
    keep = (log_r < 8) & (log_mean < 8) & (x < 5e3)
    x, log_mean, log_r = x[keep], log_mean[keep], log_r[keep]
    got = jax.grad(lambda a, b: dist.negative_binomial_log_prob(jnp.asarray(x), a, b).sum(), (0, 1))(
        jnp.asarray(log_mean), jnp.asarray(log_r)
    )
    mean, r = np.exp(log_mean), np.exp(log_r)
    by_mean = r * (x - mean) / (r + mean)
    by_r = r * (sp.digamma(x + r) - sp.digamma(r) + np.log(r / (r + mean)) + 1 - (x + r) / (r + mean))
    scale = 1 + np.sqrt(mean)
    assert (np.abs(got[0] - by_mean) / (scale + np.abs(by_mean))).max() < 1e-4
    assert (np.abs(got[1] - by_r) / (scale + np.abs(by_r))).max() < 1e-4
