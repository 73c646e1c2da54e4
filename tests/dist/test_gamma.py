"""Gamma latents: density, divergence and implicit gradient, against SciPy, sums and the score function."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from scipy.special import digamma, gammaln

from jensen import dist, families, fit, gradients, models, objectives, posteriors, testing
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(3)
SHAPES = np.array([0.2, 0.9, 1.0, 7.5, 3000.0])


def test_density_is_scipys_also_where_it_is_narrow():
    z = SHAPES / 2.0 * np.array([0.01, 0.5, 1.7, 1.1, 1.01])
    law = dist.Gamma(jnp.asarray(SHAPES, jnp.float32), jnp.full(5, 2.0))
    each = [
        dist.Gamma(law.concentration[i : i + 1], law.rate[:1]).log_prob(jnp.asarray(z[i : i + 1]))
        for i in range(5)
    ]
    np.testing.assert_allclose(each, stats.gamma.logpdf(z, SHAPES, scale=0.5), rtol=2e-5, atol=2e-4)
    assert law.log_prob(-jnp.ones(5)) == -jnp.inf
    slope = jax.grad(lambda a: dist.Gamma(a, law.rate).log_prob(-jnp.ones(5)))(law.concentration)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize(
    ("a", "b", "c", "d"), [(0.4, 2.0, 1.0, 1.0), (5.0, 1.0, 0.3, 0.1), (3000.0, 1500.0, 2990.0, 1495.0)]
)
def test_divergence_is_the_textbooks_and_keeps_its_digits(a, b, c, d):
    law = lambda a, b: dist.Gamma(jnp.array([a]), jnp.array([b]))  # noqa: E731
    found = float(dist.kl_divergence(law(a, b), law(c, d), None)[0])
    known = (a - c) * digamma(a) - gammaln(a) + gammaln(c) + c * (np.log(b) - np.log(d)) + a * (d - b) / b
    assert found == pytest.approx(known, rel=1e-3, abs=1e-5)


def pair(dim):
    model = models.Decoder(3, prior=models.priors.Gamma(dim, concentration=2.0), widths=(), key=KEY)
    q = posteriors.Amortized(families.Gamma(dim), data_dim=3, widths=(), key=KEY)
    return model, q


def test_the_contract_holds_with_the_gradient_through_the_draw():
    report = testing.check_posterior(pair(2)[1], pair(2)[0], Datum(jnp.array([1.0, 0.0, 1.0])), key=KEY)
    assert {"density of the draws", "closed-form KL", "gradient through the draw"} <= set(report.passed)


def test_a_gradient_that_is_not_implicit_is_flagged(monkeypatch):
    right = jax.random.loggamma
    monkeypatch.setattr(jax.random, "loggamma", lambda key, a: right(key, jax.lax.stop_gradient(a)))
    with pytest.raises(AssertionError, match="gradient through the draw fails"):
        testing.check_posterior(pair(2)[1], pair(2)[0], Datum(jnp.array([1.0, 1.0, 0.0])), key=KEY)


@pytest.mark.slow
def test_reparameterized_agrees_with_the_score_function():
    inference = Inference(*pair(1), objectives.ELBO(2), gradients.ScoreFunction(gradients.LeaveOneOut()))
    report = testing.check_gradient(inference, Datum(jnp.array([1.0, 0.0, 1.0])), key=KEY, draws=20_000)
    assert "gradient" in report.passed


class Counts(eqx.Module):
    """The identity: the latent is the rate; the likelihood takes its logarithm."""

    def __call__(self, z):
        return jnp.log(z)


def test_a_fit_finds_the_posterior_of_a_rate():
    """Poisson counts at the latent times the column's mean m: the posterior is Gamma(2 + x, 1 + m)."""
    x = np.array([[0.0, 1.0], [3.0, 6.0]])
    prior = models.priors.Gamma(2, concentration=2.0)
    model = models.Decoder(2, likelihood="poisson", prior=prior, net=Counts(), key=KEY)
    q = posteriors.PerDatum(families.Gamma(2), num_data=2, key=KEY)
    inference = Inference(model, q, objectives.ELBO(4), gradients.Reparam())
    schedule = optax.exponential_decay(0.05, 400, 0.05)
    fitted = fit.gradient(
        inference, x, key=KEY, optimizer=optax.adam(schedule), steps=800, trainable=lambda i: i.posterior
    )
    for row in range(2):
        law = fitted.inference.posterior(model, Datum(x[row], index=jnp.asarray(row)), key=KEY)
        np.testing.assert_allclose(law.concentration, 2 + x[row], rtol=0.1)
        np.testing.assert_allclose(law.mean, (2 + x[row]) / (1 + x.mean(0)), rtol=0.05)


def test_what_does_not_fit_is_refused():
    gaussian = posteriors.Amortized(families.DiagGaussian(2), data_dim=3, widths=(), key=KEY)
    with pytest.raises(CombinationError, match=r"families\.Gamma"):
        Inference(pair(2)[0], gaussian, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match=r"at least 0\.2"):
        models.priors.Gamma(2, concentration=0.1)
