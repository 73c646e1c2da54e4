"""Objectives with a term across data: their parts against closed forms, exact sums and brute force."""

from __future__ import annotations

from itertools import combinations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import norm

from jensen import dist, families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError
from jensen.nets import trainable
from jensen.objectives.beta_tc import log_aggregate
from jensen.objectives.info_vae import squared_mmd

KEY = jax.random.key(0)
ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


def inference(objective, *, prior=None, family=None, gradient=None):
    prior = models.priors.MixtureOfGaussians(2, 2, key=KEY) if prior is None else prior
    model = models.Decoder(3, likelihood="gaussian", widths=(), prior=prior, key=KEY)
    q = posteriors.Amortized(
        families.DiagGaussian(2) if family is None else family, data_dim=3, widths=(), key=KEY
    )
    params, static = eqx.partition(q, trainable(q))
    q = eqx.combine(
        jax.tree.map(lambda a: a + 0.3 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), params), static
    )
    return Inference(model, q, objective, gradient or gradients.Reparam())


def batch(inference, step=0, num_data=len(ROWS)):
    """Draw once for every row: terms, posteriors, the loss of the batch and the mean bound."""
    step = jnp.asarray(step)
    keys = jax.random.split(KEY, len(ROWS))
    one = lambda x, key: inference.gradient(  # noqa: E731
        inference, Datum(x), key=key, step=step, num_data=num_data, state=None
    )
    each = jax.vmap(one)(ROWS, keys)
    term = inference.objective.batch_term(each.terms, each.q, step, num_data)
    return each.terms, each.q, each.surrogate.mean() + term, each.value.mean()


def aggregate(q, z, weights):
    """log q(z) and Σⱼ log q(zⱼ), by loops in float64; ``weights[i, n]`` of datum n at the draws of i."""
    loc, scale = np.asarray(q.loc, np.float64), np.asarray(q.scale, np.float64)
    each = norm.pdf(np.asarray(z, np.float64)[:, :, None], loc, scale)  # (b, k, n, d)
    joint = np.log(np.einsum("bn,bkn->bk", weights, each.prod(-1)))
    return joint, np.log(np.einsum("bn,bknd->bkd", weights, each)).sum(-1)


def test_beta_tc_is_its_three_parts():
    """With all data in the batch the aggregate is exact; the KL to a mixture is of the sample, as the parts."""
    terms, q, loss, bound = batch(inference(objectives.BetaTC(5.0, alpha=0.5, gamma=2.0, num_samples=3)))
    n = len(ROWS)
    joint, product = aggregate(q, terms.z, np.full((n, n), 1 / n))
    log_q, log_prior = terms.log_q.sum(-1), terms.log_prior.sum(-1)
    information, correlation = (log_q - joint).mean(), (joint - product).mean()
    marginal = (product - log_prior).mean()
    np.testing.assert_allclose(information + correlation + marginal, (log_q - log_prior).mean(), rtol=1e-5)
    expected = -terms.log_likelihood.mean() + 0.5 * information + 5 * correlation + 2 * marginal
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(bound, (terms.log_likelihood + log_prior - log_q).mean(), rtol=1e-5)


def test_beta_tc_of_equal_weights_is_the_elbo():
    prior = models.priors.StandardNormal(2)
    ours = inference(objectives.BetaTC(1.0, num_samples=2), prior=prior)
    theirs = inference(objectives.ELBO(2), prior=prior)
    assert ours.check() == theirs.check() and not ours.objective.couples_data and ours.objective.plain
    np.testing.assert_allclose(batch(ours)[2], batch(theirs)[2], rtol=1e-6)


def test_two_far_data_have_one_bit_of_total_correlation():
    """z₁ and z₂ both say which of two data it was: TC = log 2."""
    far = jnp.array([[-9.0, -9.0], [9.0, 9.0]])
    joint, product = log_aggregate(dist.DiagGaussian(far, jnp.ones((2, 2))), far[:, None], 2)
    np.testing.assert_allclose(joint - product, np.log(2), rtol=1e-5)


def test_the_aggregate_of_a_batch_is_unbiased():
    """Over all batches of 3 of 5 that hold the datum, the mean of the estimate is q(z) exactly."""
    rng = np.random.default_rng(1)
    loc, scale = jnp.asarray(rng.normal(size=(5, 2)), jnp.float32), jnp.ones((5, 2))
    z = jnp.asarray(rng.normal(size=(1, 1, 2)), jnp.float32)
    seen = []
    for others in combinations(range(1, 5), 2):
        rows = np.array([0, *others])
        q, draws = dist.DiagGaussian(loc[rows], scale[rows]), jnp.tile(z, (3, 1, 1))
        seen.append(np.exp(log_aggregate(q, draws, 5)[0][0, 0]))
    exact = norm.pdf(np.asarray(z[0, 0]), np.asarray(loc)).prod(-1).mean()
    np.testing.assert_allclose(np.mean(seen), exact, rtol=1e-5)


@pytest.mark.parametrize("draws", [1, 4])
def test_mmd_against_its_closed_form(draws):
    """Gaussians a distance apart under the Gaussian kernel; draws of one datum are alike and must not count."""
    shift, dim, size = 0.7, 3, 200
    keys = jax.random.split(KEY, 300)

    @jax.vmap
    def estimate(key):
        to_z, to_u = jax.random.split(key)
        z = jnp.repeat(shift + jax.random.normal(to_z, (size // draws, 1, dim)), draws, axis=1)
        return squared_mmd(z, jax.random.normal(to_u, z.shape), "rbf")

    seen = np.asarray(jax.jit(estimate)(keys))
    width = 2 * dim
    exact = 2 * (width / (width + 4)) ** (dim / 2) * (1 - np.exp(-dim * shift**2 / (width + 4)))
    assert abs(seen.mean() - exact) < 4 * seen.std() / np.sqrt(len(seen))
    assert seen.std() / np.sqrt(len(seen)) < 0.02 * exact


def mixture():
    """A learned mixture whose draws carry a gradient."""
    return models.priors.Learned(families.Mixture(families.DiagGaussian(2), 2))


def test_without_the_kl_the_prior_is_trained_by_the_discrepancy_or_refused():
    wae = objectives.InfoVAE(alpha=1.0, strength=10.0)
    learned = inference(wae, prior=mixture())
    assert "gradient" not in learned.check().reason
    slope = eqx.filter_grad(
        lambda params: batch(eqx.tree_at(lambda i: i.model.prior.params, learned, params))[2]
    )
    assert np.abs(slope(learned.model.prior.params)).max() > 0
    vamp = models.priors.VampPrior(2, 3, 2, key=KEY)
    for prior in (None, vamp):
        with pytest.raises(CombinationError, match=r"use priors\.Learned\(families\.Mixture"):
            inference(wae, prior=prior)
        with_kl = inference(objectives.InfoVAE(alpha=0.5, strength=10.0), prior=prior)
        assert "the KL alone trains it" in with_kl.check().reason


def test_info_vae_weighs_the_kl_and_the_discrepancy():
    for alpha, prior in ((0.0, None), (0.5, None), (1.0, mixture())):
        made = inference(objectives.InfoVAE(alpha=alpha, strength=10.0, num_samples=2), prior=prior)
        terms, _, loss, bound = batch(made)
        kl = terms.log_ratio.sum(-1).mean()
        discrepancy = squared_mmd(terms.z, terms.carry, "imq")
        expected = -terms.log_likelihood.mean() + (1 - alpha) * kl + 10 * discrepancy
        np.testing.assert_allclose(loss, expected, rtol=1e-5)
        np.testing.assert_allclose(bound, terms.log_likelihood.mean() - kl, rtol=1e-5)


@pytest.mark.parametrize("over", ["batch", "datum"])
def test_capacity_holds_the_kl(over):
    nats = objectives.Linear(0.0, 2.0, 10)
    for step, held in ((0, 0.0), (5, 1.0), (99, 2.0)):
        terms, _, loss, _ = batch(inference(objectives.Capacity(nats, strength=7.0, over=over)), step)
        kl = terms.log_ratio.sum(-1).mean(1)
        off = abs(kl.mean() - held) if over == "batch" else abs(kl - held).mean()
        np.testing.assert_allclose(loss, -terms.log_likelihood.mean() + 7 * off, rtol=1e-5)


def test_capacity_of_a_datum_is_a_mean_over_draws():
    """Two draws with sampled KLs on either side of C: each is off by itself, their mean may not be."""
    terms, *_ = batch(inference(objectives.Capacity(0.0, over="datum", num_samples=2)))
    kl = terms.log_ratio.sum(-1)[0]
    own = objectives.Capacity(float(kl.mean()), strength=7.0, over="datum", num_samples=2)
    loss = own.losses(jax.tree.map(lambda a: a[0], terms), jnp.asarray(0)).model
    off = float(abs(kl[0] - kl[1])) / 2
    assert off > 0.01
    np.testing.assert_allclose(loss, -terms.log_likelihood[0].mean() + 7 * off, rtol=1e-5)


def test_factor_vae_learns_the_total_correlation_and_saves_its_discriminator(tmp_path):
    """On held correlated latents the mean logit nears TC = −½ log(1 − ρ²)."""
    rho, size = 0.9, 512
    objective = objectives.FactorVAE(1.0, latent_dim=2, widths=(32,), key=KEY)
    noise = jax.random.normal(KEY, (size, 2))
    z = jnp.stack([noise[:, 0], rho * noise[:, 0] + np.sqrt(1 - rho**2) * noise[:, 1]], 1)[:, None]
    made = inference(objective)
    terms = eqx.tree_at(lambda t: t.z, batch(made)[0], z)

    @eqx.filter_jit
    def learn(objective):
        params, static = eqx.partition(objective, eqx.is_inexact_array)
        adam = optax.adam(1e-2)

        def step(carry, i):
            params, state = carry
            of = lambda p: eqx.combine(p, static).batch_term(terms, None, i, size)  # noqa: E731
            updates, state = adam.update(jax.grad(of)(params), state)
            return (optax.apply_updates(params, updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, adam.init(params)), jnp.arange(300))
        return eqx.combine(params, static)

    logits = jax.vmap(learn(objective).discriminator)(z[:, 0])
    np.testing.assert_allclose(logits.mean(), -0.5 * np.log(1 - rho**2), atol=0.15)

    def posterior_gradient(gamma):
        own = eqx.tree_at(lambda o: o.gamma, objective, gamma)
        return jax.grad(
            lambda z: own.batch_term(eqx.tree_at(lambda t: t.z, terms, z), None, jnp.asarray(0), size)
        )(z)

    assert not np.any(posterior_gradient(0.0)) and np.any(posterior_gradient(1.0))
    fitted = fit.gradient(made, ROWS, key=KEY, optimizer=optax.adam(1e-2), steps=3, batch_size=5)
    weight = lambda i: i.objective.discriminator.layers[0].weight  # noqa: E731
    assert not np.allclose(weight(fitted.inference), weight(made))
    fitted.save(tmp_path / "run")
    loaded = fit.load(tmp_path / "run")
    np.testing.assert_array_equal(weight(loaded.inference), weight(fitted.inference))


def test_what_does_not_fit_is_refused():
    tc = objectives.BetaTC(4.0)
    with pytest.raises(CombinationError, match=r"families\.DiagGaussian"):
        inference(tc, family=families.FullGaussian(2))
    with pytest.raises(CombinationError, match=r"latent_dim=2"):
        inference(objectives.FactorVAE(4.0, latent_dim=3, key=KEY))
    with pytest.raises(CombinationError, match="no aggregate"):
        model = models.Decoder(3, 2, widths=(), key=KEY)
        Inference(model, posteriors.Global(families.DiagGaussian(2), key=KEY), tc, gradients.Reparam())
    with pytest.raises(CombinationError, match="batch"):
        inference(objectives.InfoVAE(alpha=0.5, strength=1.0), gradient=gradients.ScoreFunction())
    for wrong in (
        lambda: objectives.BetaTC(-1.0),
        lambda: objectives.InfoVAE(alpha=2.0, strength=1.0),
        lambda: objectives.InfoVAE(alpha=1.0, strength=1.0, bandwidth=0.0),
        lambda: objectives.Capacity(-1.0),
    ):
        with pytest.raises(InputError):
            wrong()
