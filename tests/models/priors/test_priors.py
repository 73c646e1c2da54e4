"""Mixture, flow and posterior-made priors: their densities, their starts, what uses them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import multivariate_normal

from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)
ROWS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32) + 5
PRIORS = {
    "mixture": lambda: models.priors.MixtureOfGaussians(2, 3, key=KEY),
    "vamp": lambda: models.priors.VampPrior(2, 3, 4, key=KEY),
    "flow": lambda: models.priors.Learned(
        families.CouplingFlow(2, layers=2, widths=(4,), context_dim=0, key=KEY)
    ),
}


def inference(prior, posterior=None, objective=None):
    model = models.Decoder(3, likelihood="gaussian", widths=(), prior=prior, key=KEY)
    q = posterior or posteriors.Amortized(families.DiagGaussian(2), data_dim=3, widths=(), key=KEY)
    return Inference(model, q, objective or objectives.ELBO(), gradients.Reparam())


@pytest.fixture(scope="module", params=PRIORS)
def fitted(request):
    return fit.gradient(
        inference(PRIORS[request.param]()), ROWS, key=KEY, optimizer=optax.adam(1e-2), steps=4, batch_size=8
    )


def test_a_mixture_is_the_sum_of_its_components():
    prior = models.priors.MixtureOfGaussians(2, 3, key=KEY)
    law = prior(None)
    z = np.random.default_rng(1).normal(size=(5, 2))
    loc, raw = np.split(np.asarray(prior.params, np.float64), 2, axis=1)
    each = [multivariate_normal(m, np.diag(np.exp(2 * s))).pdf(z) for m, s in zip(loc, raw, strict=True)]
    ours = jax.vmap(law.log_prob)(jnp.asarray(z, jnp.float32))
    np.testing.assert_allclose(ours, np.log(np.mean(each, 0)), rtol=2e-3)  # bounded_exp is not exp, quite
    draws, log_prob = jax.vmap(lambda key: law.sample_and_log_prob(key=key))(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(draws.mean(0), loc.mean(0), atol=0.03)
    second = (np.exp(2 * raw) + loc**2).mean(0) - loc.mean(0) ** 2
    np.testing.assert_allclose(draws.var(0), second, rtol=0.05)
    np.testing.assert_allclose(log_prob, jax.vmap(law.log_prob)(draws), rtol=1e-5)


def test_vamp_is_the_mean_of_what_the_encoder_says_of_its_pseudo_inputs():
    made = inference(models.priors.VampPrior(2, 3, 4, key=KEY))
    z, inputs = jnp.array([0.3, -0.8]), made.model.prior.frame.leave(made.model.prior.pseudo)
    each = [made.q(Datum(u), key=KEY).log_prob(z) for u in inputs]
    ours = made.bound_model().prior_of(None).log_prob(z)
    np.testing.assert_allclose(ours, jax.nn.logsumexp(jnp.stack(each)) - np.log(4), rtol=1e-5)


def test_pseudo_inputs_start_at_rows():
    rows = Datum(ROWS, mask=np.ones_like(ROWS, bool))
    rows.mask[:, 0] = [True] * 4 + [False] * 4
    prior = models.priors.VampPrior(2, 3, 8, key=KEY).initialize_from(rows, key=KEY)
    inputs = np.asarray(prior.frame.leave(prior.pseudo))
    filled = np.where(rows.mask, ROWS, ROWS[:4].mean(0))
    nearest = np.abs(inputs[:, None] - filled).max(-1)
    assert nearest.min(1).max() < 0.1 and sorted(nearest.argmin(1)) == list(range(8))
    weighted = Datum(ROWS, weight=np.array([8.0] + [0.0] * 7))
    prior = models.priors.VampPrior(2, 3, 20, key=KEY).initialize_from(weighted, key=KEY)
    np.testing.assert_allclose(prior.frame.leave(prior.pseudo), np.tile(ROWS[0], (20, 1)), atol=0.1)


def test_the_prior_is_trained_saved_and_sampled(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    loaded = fit.load(tmp_path / "run")
    np.testing.assert_array_equal(*(use.sample(run, 6, key=jax.random.key(1)) for run in (fitted, loaded)))
    scores = use.score(loaded, ROWS, key=KEY, num_samples=8)
    assert np.isfinite(scores).all()


@pytest.mark.slow
def test_the_gap_of_learned_priors(fitted):
    gap = diagnose.gap(fitted.inference, ROWS, key=KEY)
    assert gap.log_evidence.lower <= gap.log_evidence.upper + 0.05
    assert gap.elbo.value <= gap.log_evidence.value + 0.05
    assert gap.simulated.lower <= gap.simulated.upper


def test_what_cannot_make_a_vamp_prior_is_refused():
    with pytest.raises(CombinationError, match=r"posteriors\.Amortized"):
        inference(
            models.priors.VampPrior(2, 3, 4, key=KEY),
            posteriors.PerDatum(families.DiagGaussian(2), num_data=8, key=KEY),
        )
    conditional = models.ConditionalDecoder(
        3, 2, prior=models.priors.VampPrior(2, 3, 4, key=KEY), widths=(), key=KEY
    )
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=3, cond_dim=2, widths=(), key=KEY)
    with pytest.raises(CombinationError, match="without the condition"):
        Inference(conditional, q, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match="pseudo-inputs have 3 columns"):
        models.Decoder(4, prior=models.priors.VampPrior(2, 3, 4, key=KEY), key=KEY)
    with pytest.raises(InputError, match="bound_model"):
        inference(models.priors.VampPrior(2, 3, 4, key=KEY)).model.simulate(key=KEY)
    with pytest.raises(InputError, match=r"priors\.OneHot"):
        models.priors.Learned(families.OneHot(3))
