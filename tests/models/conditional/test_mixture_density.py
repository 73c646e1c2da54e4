"""Mixture densities: they integrate to one, marginalize, stay finite, and contain linear regression."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jensen import diagnose, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.models.conditional.heads import Heads
from jensen.nets import trainable

KEY = jax.random.key(0)


def inference(model) -> Inference:
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def climbed(model, data, steps, rate=1e-2):
    return fit.gradient(inference(model), data, key=KEY, optimizer=optax.adam(rate), steps=steps)


def mcycle(num: int = 133, seed: int = 0) -> fit.Data:
    """As many rows as the motorcycle data, as uneven a noise, and times that repeat."""
    rng = np.random.default_rng(seed)
    t = np.round(rng.uniform(2, 57, num), 1)
    y = -80 * np.exp(-(((t - 20) / 6) ** 2)) + 40 * np.exp(-(((t - 33) / 5) ** 2))
    return fit.Data((y + np.where(t < 12, 1, 20) * rng.normal(size=num))[:, None], cond=t[:, None])


# ---- densities ---------------------------------------------------------------------------------------------


@eqx.filter_jit
def densities(key, shape: tuple, conds, grid):
    """Density of 100 random networks at one condition each, on a grid."""

    def one(key, cond):
        dim, covariance, gate = shape
        model = models.MixtureDensity(dim, 2, 3, covariance=covariance, gate=gate, widths=(6,), key=key)
        params, static = eqx.partition(model, trainable(model))
        noise = jax.random.split(key, len(jax.tree.leaves(params)))
        leaves, tree = jax.tree.flatten(params)
        leaves = [a + 0.2 * jax.random.normal(k, a.shape) for a, k in zip(leaves, noise, strict=True)]
        model = eqx.combine(jax.tree.unflatten(tree, leaves), static)
        return jax.vmap(lambda y: jnp.exp(model.log_evidence(Datum(y, cond))))(grid)

    return jax.vmap(one)(jax.random.split(key, 100), conds)


@pytest.mark.parametrize("gate", ["input", "shared"])
def test_densities_of_one_column_integrate_to_one(gate):
    grid = np.linspace(-60, 60, 24_001, dtype=np.float32)
    conds = jax.random.normal(KEY, (100, 2))
    p = np.asarray(densities(KEY, (1, "diag", gate), conds, grid[:, None]), np.float64)
    np.testing.assert_allclose(p.sum(1) * (120 / 24_000), 1, atol=2e-3)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_densities_of_two_columns_integrate_to_one(covariance):
    side = np.linspace(-25, 25, 351, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    conds = jax.random.normal(KEY, (100, 2))
    p = np.asarray(densities(KEY, (2, covariance, "input"), conds, grid), np.float64)
    np.testing.assert_allclose(p.sum(1) * (50 / 350) ** 2, 1, atol=3e-3)


def heads(k=3, d=4, full=True) -> Heads:
    size = 2 * d + (d * (d - 1) // 2 if full else 0)
    return Heads.of(jax.random.normal(KEY, (k, size)), jnp.full(d, 0.01))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("mask", [None, [True] * 4, [False, True, False, True], [True, False, True, False]])
def test_components_agree_with_scipy_whatever_is_hidden(full, mask):
    own, y = heads(full=full), np.array([0.3, -1.0, 2.0, 0.4], np.float32)
    seen = np.ones(4, bool) if mask is None else np.array(mask)
    poisoned = jnp.where(seen, y, jnp.nan)
    got = own.log_prob(poisoned, None if mask is None else jnp.asarray(mask))
    tril = np.asarray(own.tril, np.float64)
    for k in range(3):
        mean, cov = np.asarray(own.means[k], np.float64), tril[k] @ tril[k].T
        law = stats.multivariate_normal(mean[seen], cov[np.ix_(seen, seen)])
        assert float(got[k]) == pytest.approx(float(law.logpdf(y[seen])), rel=1e-5, abs=1e-4)
        if mask is not None:
            expected = y.astype(np.float64)
            gain = cov[np.ix_(~seen, seen)] @ np.linalg.inv(cov[np.ix_(seen, seen)])
            expected[~seen] = mean[~seen] + gain @ (y[seen] - mean[seen])
            means = own.conditional_means(poisoned, jnp.asarray(mask))
            np.testing.assert_allclose(means[k], expected, atol=1e-4)


@pytest.mark.parametrize("mask", [[1] * 8, [1] * 5 + [0] * 3, [1, 0, 1, 0, 0, 1, 1, 0]])
def test_entries_that_almost_determine_each_other_lose_no_digits(mask):
    d, tight = 8, 0.0025
    steps = np.full(d, tight)
    steps[0] = 1.0
    walk = np.eye(d, k=-1)
    own = Heads(
        jnp.zeros((1, d)), jnp.asarray(steps, jnp.float32)[None], jnp.asarray(walk, jnp.float32)[None]
    )
    factor = np.linalg.inv(np.eye(d) - walk) * np.float64(np.float32(steps))
    seen = np.array(mask, bool)
    for seed in range(5):
        y = np.float32(factor @ np.random.default_rng(seed).normal(size=d))
        inner = np.linalg.cholesky((factor @ factor.T)[np.ix_(seen, seen)])
        left = np.linalg.solve(inner, np.float64(y[seen]))
        truth = -0.5 * left @ left - np.log(np.diag(inner)).sum() - 0.5 * seen.sum() * np.log(2 * np.pi)
        assert np.isclose(own.log_prob(jnp.asarray(y), jnp.asarray(seen))[0], truth, atol=1e-4)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_hidden_entries_are_integrated_out_exactly(covariance):
    """Against a sum over a grid of what is hidden; and the exact conditional mean of it."""
    model = models.MixtureDensity(2, 1, 3, covariance=covariance, widths=(), key=KEY)
    model = eqx.tree_at(lambda m: m.net.layers[-1].weight, model, replace_fn=lambda w: 0.7 * w)
    cond, grid = jnp.array([0.4]), np.linspace(-15, 15, 6001, dtype=np.float32)
    rows = jnp.stack([jnp.full(len(grid), 0.8), jnp.asarray(grid)], -1)
    joint = np.exp(np.asarray(jax.vmap(lambda y: model.log_evidence(Datum(y, cond)))(rows), np.float64))
    hidden = Datum(jnp.array([0.8, jnp.nan]), cond, mask=jnp.array([True, False]))
    assert float(jnp.exp(model.log_evidence(hidden))) == pytest.approx(joint.sum() * 0.005, rel=1e-3)
    expected = (joint * grid).sum() / joint.sum()
    filled = model.conditional_mean(hidden)
    assert float(filled[1]) == pytest.approx(expected, abs=1e-3) and float(filled[0]) == pytest.approx(0.8)


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_prior_likelihood_posterior_and_evidence_are_one_joint(covariance):
    model = models.MixtureDensity(2, 3, 4, covariance=covariance, widths=(5,), key=KEY)
    datum = Datum(jnp.array([0.5, -1.0]), jnp.array([0.1, 2.0, -0.4]))
    prior, q = model.prior_of(datum.cond), model.posterior(datum)
    joint = []
    for z in range(4):
        z = jnp.asarray(z)
        joint.append(float(model.log_joint(z, datum)))
        law = float(model.likelihood(z, datum.cond).log_prob_entries(datum.x).sum())
        assert joint[-1] == pytest.approx(float(prior.log_prob(z)) + law, abs=1e-4)
        assert float(model.log_likelihood(z, datum)) == pytest.approx(law, abs=1e-4)
    assert float(model.log_evidence(datum)) == pytest.approx(np.logaddexp.reduce(joint), abs=1e-4)
    np.testing.assert_allclose(q.probs, np.exp(joint - np.logaddexp.reduce(joint)), atol=1e-5)


# ---- fits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("covariance", ["diag", "full"])
def test_64_components_on_133_rows_stay_finite(covariance):
    data = mcycle()
    if covariance == "full":
        data = fit.Data(np.c_[data.x, data.x**2 / 100], cond=data.cond)
    model = models.MixtureDensity(data.data_dim, 1, 64, covariance=covariance, key=KEY)
    fitted = climbed(model, data, 300)
    assert np.isfinite(fitted.history.bound).all() and not fitted.history.events
    assert np.isfinite(use.score(fitted, data)).all()
    assert fitted.history.bound[-1] > fitted.history.bound[0]
    least = fitted.model.floor.value
    scales = jax.vmap(lambda c: fitted.model.heads(c)[1].scale)(jnp.asarray(data.cond, jnp.float32))
    assert (np.asarray(scales) >= np.asarray(least)).all() and float(least.min()) > 1e-3


def test_the_start_is_spread_over_y_and_even():
    data = mcycle()
    model = models.MixtureDensity(1, 1, 8, key=KEY).initialize_from(data.rows(), key=KEY)
    logits, own = model.heads(jnp.array([20.0]))
    means = np.sort(np.asarray(model.frame.leave(own.means)).ravel())
    assert np.ptp(means) > 0.6 * np.ptp(data.x) and (np.diff(means) > 0.5).all()
    assert float(jnp.abs(jax.nn.softmax(logits) - 1 / 8).max()) < 0.05


def test_both_branches_of_a_fork_are_found_and_told_apart():
    """y = ±(1 + x): a single Gaussian would predict 0."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 2, (300, 1))
    side = np.where(rng.random((300, 1)) < 0.25, -1.0, 1.0)
    data = fit.Data(side * (1 + x) + 0.1 * rng.normal(size=(300, 1)), cond=x)
    fitted = climbed(models.MixtureDensity(1, 1, 2, widths=(16,), gate="shared", key=KEY), data, 500)
    truth = np.mean(np.log(np.where(side > 0, 0.75, 0.25))) - 0.5 * np.log(2 * np.pi * 0.01 * np.e)
    assert fitted.history.bound[-1] == pytest.approx(truth, abs=0.1)
    drawn = use.sample(fitted, 2000, cond=np.array([1.0]), key=KEY)
    assert np.mean(drawn > 0) == pytest.approx(0.75, abs=0.06) and np.mean(np.abs(drawn) < 1) < 0.01
    weights = use.encode(fitted, data)
    assert ((weights.argmax(1) == weights[0].argmax()) == (side[:, 0] == side[0, 0])).all()
    report = diagnose.gap(fitted, data, key=KEY)
    assert report.log_evidence.lower_kind == "exact" and tuple(report.total) == (0.0, 0.0)


def test_one_component_and_a_linear_net_are_linear_regression():
    """Where residuals are spread alike at every x, the scales' own slopes are zero at the maximum."""
    rng = np.random.default_rng(0)
    residual = rng.normal(size=(6, 2)) @ np.array([[0.4, 0.1], [0.0, 0.2]])
    residual -= residual.mean(0)
    x = np.repeat(rng.normal(size=(20, 3)), 6, 0)
    y = x @ np.array([[1.0, 0.5], [-1.0, 2.0], [0.3, 0.0]]) + np.tile(residual, (20, 1)) + [3.0, -1.0]
    data = fit.Data(y, cond=x)
    exact = fit.em(models.LinearGaussian(2, 3), data)
    model = models.MixtureDensity(2, 3, 1, covariance="full", widths=(), key=KEY)
    schedule = optax.cosine_decay_schedule(3e-2, 2000)
    fitted = fit.gradient(inference(model), data, key=KEY, optimizer=optax.adam(schedule), steps=2000)
    assert fitted.history.bound[-1] == pytest.approx(exact.history.bound[-1], abs=1e-3)
    new = rng.normal(size=(5, 3)).astype(np.float32)
    for cond in new:
        law, truth = fitted.model.likelihood(jnp.asarray(0), cond), exact.model.law(cond)
        np.testing.assert_allclose(law.mean, truth.mean, atol=2e-3)
        np.testing.assert_allclose(law.tril, truth.tril, atol=2e-3)


def test_padded_entries_have_no_part_in_the_gradient():
    for covariance in ("diag", "full"):
        model = models.MixtureDensity(4, 2, 2, covariance=covariance, widths=(3,), key=KEY)
        mask, cond = jnp.array([True, True, False, False]), jnp.array([0.3, -1.0])
        y = jnp.array([0.2, -0.7, 5.0, 9.0])

        def loss(model, y, cond=cond, mask=mask):
            return -model.log_evidence(Datum(y, cond, mask=mask))

        to_y = jax.grad(lambda y, model=model: loss(model, y))(y)
        assert (to_y[2:] == 0).all() and (to_y[:2] != 0).all()
        grads = [eqx.filter_grad(loss)(model, y.at[2:].set(pad)) for pad in (0.0, 1e6)]
        for a, b in zip(*map(jax.tree.leaves, grads), strict=True):
            np.testing.assert_array_equal(a, b)
