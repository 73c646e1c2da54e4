"""Bounds against a linear-Gaussian model whose evidence is known."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from jensen import dist, families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference, Terms
from jensen.errors import InputError

ROW = Datum(jnp.array([1.2, -0.7, 0.4]))
KEY = jax.random.key(0)


def instance(objective):
    model = models.Decoder(3, 2, likelihood="gaussian", widths=(), key=jax.random.key(1))
    q = posteriors.Global(families.FullGaussian(2), key=KEY)
    q = eqx.tree_at(lambda q: q.params, q, jnp.array([0.2, -0.1, -0.3, -0.2, 0.1]))
    amortized = posteriors.PerDatum(q.family, num_data=1, key=KEY)
    amortized = eqx.tree_at(lambda p: p.table, amortized, q.params[None])
    return Inference(model, amortized, objective, gradients.Reparam())


def row():
    return Datum(ROW.x, index=jnp.asarray(0))


def bounds(objective, num=4000):
    inference = instance(objective)
    each = jax.jit(jax.vmap(lambda k: inference.bound(row(), key=k)))(jax.random.split(KEY, num))
    return np.asarray(each, np.float64)


def exact():
    inference = instance(objectives.ELBO())
    layer, noise = inference.model.net.layers[0], np.asarray(inference.model.likelihood_family.scale)
    w, b = np.asarray(layer.weight, float), np.asarray(layer.bias, float)
    log_p = st.multivariate_normal(b, w @ w.T + np.diag(noise**2)).logpdf(np.asarray(ROW.x))
    precision = np.eye(2) + w.T @ np.diag(noise**-2.0) @ w
    mean = np.linalg.solve(precision, w.T @ ((np.asarray(ROW.x) - b) / noise**2))
    q = inference.q(row(), key=KEY)
    s, shift = np.asarray(q.tril @ q.tril.T, float), np.asarray(q.loc, float) - mean
    kl = 0.5 * (
        np.trace(precision @ s) + shift @ precision @ shift - 2
        - np.linalg.slogdet(precision)[1] - np.linalg.slogdet(s)[1]
    )  # fmt: skip
    return log_p, kl


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_elbo_is_evidence_less_the_divergence(kl):
    log_p, gap = exact()
    seen = bounds(objectives.ELBO(4, kl=kl))
    assert abs(seen.mean() - (log_p - gap)) < 4.5 * seen.std() / len(seen) ** 0.5
    assert seen.std() / len(seen) ** 0.5 < 0.02 * gap + 0.01


def test_iwae_rises_with_k_to_the_evidence():
    log_p, gap = exact()
    means = [bounds(objectives.IWAE(k)).mean() for k in (1, 4, 32)]
    assert log_p - gap - 0.03 < means[0] < means[1] < means[2] < log_p + 0.01
    assert log_p - means[2] < 0.2 * gap


def test_iwae_of_one_draw_is_the_sampled_elbo():
    np.testing.assert_allclose(
        bounds(objectives.IWAE(1), 10), bounds(objectives.ELBO(kl="sampled"), 10), rtol=1e-5
    )


TERMS = Terms(
    log_joint=jnp.array([-5.0, -6.0]),
    log_q=jnp.array([[-1.0, -2.0], [-1.5, -1.0]]),
    penalty=jnp.array([0.1, 0.3]),
    z=jnp.zeros((2, 1)),
    log_likelihood=jnp.array([-2.0, -3.0]),
    log_prior=jnp.array([[-1.0, -2.0], [-1.0, -2.0]]),
    kl=jnp.array([[0.2, 1.0], [0.2, 1.2]]),
)


@pytest.mark.parametrize(
    ("objective", "step", "loss"),
    [
        (objectives.ELBO(), 0, 2.5 + 0.2 + 1.3),
        (objectives.ELBO(beta=0.5), 0, 2.5 + 0.2 + 0.65),
        (objectives.ELBO(beta=objectives.Linear(0.0, 1.0, 10)), 0, 2.7),
        (objectives.ELBO(beta=objectives.Linear(0.0, 1.0, 10)), 5, 2.7 + 0.65),
        (objectives.ELBO(beta=objectives.Linear(0.0, 1.0, 10)), 99, 2.7 + 1.3),
        (objectives.ELBO(free_bits=0.5), 0, 2.7 + 0.5 + 1.1),
        (objectives.ELBO(free_bits=objectives.Linear(2.0, 0.0, 10)), 0, 2.7 + 4.0),
        (objectives.ELBO(free_bits=objectives.Linear(2.0, 0.0, 10)), 10, 2.7 + 1.3),
        (objectives.ELBO(free_bits=1.1), 0, 2.7 + 1.1 + 1.15),
        (objectives.ELBO(kl="sampled"), 0, 2.7 + 0.25),
        (objectives.ELBO(free_bits=0.5, free_bits_over="batch"), 0, 2.7),
    ],
)
def test_losses(objective, step, loss):
    got = objective.losses(TERMS, jnp.asarray(step))
    assert got.shared
    np.testing.assert_allclose(got.model, loss, rtol=1e-5)


def test_bound_knows_no_beta_free_bits_or_penalty():
    changed = objectives.ELBO(beta=3.0, free_bits=9.0)
    np.testing.assert_allclose(changed.bound(TERMS), -2.5 - 1.3, rtol=1e-6)


def test_free_nats_over_datum_and_batch():
    batch = jax.tree.map(lambda a: jnp.stack([a, 3 * a]), TERMS)
    over_batch = objectives.ELBO(free_bits=1.1, free_bits_over="batch", beta=2.0)
    # means over the batch: 0.4 and 2.2, so the first group is free and the second is not
    np.testing.assert_allclose(
        over_batch.batch_term(batch, None, jnp.asarray(0), 2), 2 * (1.1 + 2.2), rtol=1e-6
    )
    over_datum = objectives.ELBO(free_bits=1.1, beta=2.0)
    assert over_datum.batch_term(batch, None, jnp.asarray(0), 2) == 0 and not over_datum.couples_data


def test_balance_splits_the_divergence():
    got = objectives.ELBO(kl_balance=0.8).losses(TERMS, jnp.asarray(0))
    assert not got.shared
    np.testing.assert_allclose([got.model, got.posterior], [2.7 + 0.8 * 1.3, 2.7 + 0.2 * 1.3], rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: objectives.ELBO(0), "num_samples is 0"),
        (lambda: objectives.ELBO(beta=-1.0), "beta is -1"),
        (lambda: objectives.ELBO(free_bits=float("nan")), "free_bits is nan"),
        (lambda: objectives.ELBO(kl_balance=1.5), "kl_balance is 1.5"),
        (lambda: objectives.ELBO(kl_balance=0.5, free_bits_over="batch"), "kl_balance needs"),
        (lambda: objectives.IWAE(0), "num_samples is 0"),
        (lambda: objectives.Linear(0.0, 1.0, 0), "steps is 0"),
    ],
)
def test_arguments_are_checked(make, text):
    with pytest.raises(InputError, match=text):
        make()


def test_free_nats_over_the_batch_are_called_biased():
    model = models.Decoder(3, 2, widths=(), key=jax.random.key(0))
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=3, widths=(), key=jax.random.key(1))
    over = {
        name: Inference(model, q, objectives.ELBO(free_bits=0.5, free_bits_over=name), gradients.Reparam())
        for name in ("batch", "datum")
    }
    verdict = over["batch"].check()
    assert verdict.kind == "biased" and "only batches of all rows are unbiased" in verdict.reason
    assert over["datum"].check().kind == "unbiased"
    # half the data has a KL of 0.1, half of 2: one batch of all is pushed, one of the first half is not
    kl = jnp.array([0.1, 0.1, 2.0, 2.0])[:, None, None]
    terms = Terms(jnp.zeros((4, 1)), jnp.zeros((4, 1, 1)), jnp.zeros((4, 1)), jnp.zeros((4, 1, 1)), kl=kl)
    term = lambda part: over["batch"].objective.batch_term(part, None, jnp.asarray(0), 4)  # noqa: E731
    halves = [jax.tree.map(lambda a, s=s: a[s], terms) for s in (slice(0, 2), slice(2, 4))]
    assert abs(term(terms) - 1.05) < 1e-6 and abs(sum(map(term, halves)) / 2 - 1.25) < 1e-6


def test_free_nats_of_one_z_behind_all_data_count_once():
    """KL 9 nats over N = 100 data: each answers for 0.09, and 0.5 free nats in all leave that as it is."""
    model = models.Decoder(2, 1, likelihood="gaussian", widths=(), key=KEY)
    q = dist.DiagGaussian(jnp.array([18.0**0.5]), jnp.ones(1))
    datum, step = Datum(jnp.zeros(2)), jnp.asarray(0)

    def loss(free_bits: float, over: str = "datum") -> float:
        objective = objectives.ELBO(2, free_bits=free_bits, free_bits_over=over)
        terms = objective.draw(model, q, datum, key=KEY, share=1 / 100)
        batch = jax.tree.map(lambda leaf: leaf[None], terms)
        return float(objective.losses(terms, step).model + objective.batch_term(batch, q, step, 100))

    for over in ("datum", "batch"):
        np.testing.assert_allclose(loss(0.5, over), loss(0.0), rtol=1e-5)
        np.testing.assert_allclose(loss(12.0, over) - loss(0.0), 0.03, rtol=1e-3)
