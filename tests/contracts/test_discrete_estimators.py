"""DisARM, relaxations and wake-sleep against sums over every value of two bits."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import dist, gradients, objectives
from jensen.core import Losses, Verdict
from jensen.gradients import disarm, rebar

from . import small
from .checker import LIMIT, compare, exact_gradient
from .oracle import discrete_loss
from .test_unbiased import LOO, discrete, truth_of

DRAWS = 50_000
stop = jax.lax.stop_gradient


def seen(inference: Any, truth: Any, *, draws: int = DRAWS, gradient: Any = None) -> Any:
    out = compare(inference, small.BINARY, truth, num_data=small.NUM_DATA, gradient=gradient, draws=draws)
    print(
        f"{type(gradient or inference.gradient).__name__}: |z| {out.worst:.2f}, bias {out.relative_bias:.2%}, "
        f"variance {out.variance:.4g}"
    )
    return out


def every(inference: Any, datum: Any) -> tuple[Any, Any, Any]:
    """log q, log p(z) and log p(x | z) of the four values of two bits, written out."""
    model = inference.model
    q, p = inference.posterior(model, datum, key=jax.random.key(0)), model.prior(None)
    z = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    sign, layer = 2 * z - 1, model.net.layers[0]
    logits = z @ layer.weight.T + layer.bias
    log_like = (datum.x * logits - jnp.log1p(jnp.exp(logits))).sum(-1)
    log_of = lambda law: -jnp.log1p(jnp.exp(-sign * law.logits)).sum(-1)  # noqa: E731
    return log_of(q), log_of(p), log_like


# ---------------------------------------------------------------- DisARM


@pytest.mark.parametrize(("kl", "posterior"), [("auto", "global"), ("sampled", "per-datum")])
def test_disarm_is_unbiased_and_quieter_than_leave_one_out(kl, posterior):
    inference = discrete("bernoulli", posterior, objectives.ELBO(2, kl=kl), gradients.DisARM())
    assert inference.check().kind == "unbiased"
    truth = truth_of(inference, discrete_loss, small.BINARY)
    paired, apart = seen(inference, truth), seen(inference, truth, gradient=LOO)
    print(f"variance over leave-one-out, both of two draws: {paired.variance / apart.variance:.3f}")
    assert paired.worst < LIMIT and apart.worst < LIMIT
    assert paired.variance < 0.9 * apart.variance


def test_disarm_with_pairs_that_are_independent_is_flagged(monkeypatch):
    def apart(self, *, key):
        key = jax.random.fold_in(key, self.mirrored.astype(int))
        return self.base.sample_and_log_prob(key=key)

    monkeypatch.setattr(disarm.Side, "sample_and_log_prob", apart)
    inference = discrete("bernoulli", "per-datum", objectives.ELBO(2), gradients.DisARM())
    assert seen(inference, truth_of(inference, discrete_loss, small.BINARY)).worst > LIMIT


# ---------------------------------------------------------------- relaxations


@pytest.mark.parametrize("latent", ["bernoulli", "one-hot"])
def test_bias_of_a_relaxation_shrinks_with_its_temperature(latent):
    found = []
    for tau in (1.0, 0.1):
        inference = discrete(latent, "per-datum", objectives.ELBO(1), gradients.Relaxed(tau))
        assert inference.check().kind == "biased"
        found.append(seen(inference, truth_of(inference, discrete_loss, small.BINARY)))
    warm, cold = found
    assert warm.worst > 10  # biased, and said so
    assert cold.relative_bias < 0.25 * warm.relative_bias
    assert cold.variance > warm.variance


@pytest.mark.parametrize("latent", ["bernoulli", "one-hot"])
def test_what_a_relaxation_reports_is_the_bound_of_hard_samples(latent):
    soft, hard, none = (
        discrete(latent, "per-datum", objectives.ELBO(1), g)
        for g in (gradients.Relaxed(2.0), gradients.Relaxed(2.0, forward="hard"), gradients.ScoreFunction())
    )

    def value(inference):
        rest = {"key": jax.random.key(3), "step": jnp.asarray(0), "num_data": 1, "state": None}
        return float(inference.gradient(inference, small.BINARY, **rest).value)

    assert value(soft) == pytest.approx(value(none), rel=1e-5)
    assert value(hard) == pytest.approx(value(none), rel=1e-5)


def test_a_schedule_anneals():
    steps = objectives.Linear(1.0, 0.25, 10)
    annealed = discrete("bernoulli", "per-datum", objectives.ELBO(1), gradients.Relaxed(steps))
    fixed = discrete("bernoulli", "per-datum", objectives.ELBO(1), gradients.Relaxed(0.25))
    out = []
    for inference, step in ((annealed, 10), (annealed, 0), (fixed, 0)):
        rest = {"key": jax.random.key(3), "step": jnp.asarray(step), "num_data": 1, "state": None}
        out.append(float(inference.gradient(inference, small.BINARY, **rest).surrogate))
    assert out[0] == pytest.approx(out[2], rel=1e-5) and abs(out[1] - out[2]) > 1e-3


def test_soft_samples_harden():
    law = dist.Bernoulli(jnp.array([0.3, -1.0, 2.0]))
    for key in jax.random.split(jax.random.key(0), 20):
        hard, _ = law.sample_and_log_prob(key=key)
        soft, _ = gradients.relaxed.Softened(law, jnp.asarray(1e-4)).sample_and_log_prob(key=key)
        np.testing.assert_allclose(soft, hard, atol=1e-3)


# ---------------------------------------------------------------- wake-sleep


def wake_loss(inference: Any, datum: Any, num_data: int) -> Any:
    """The expected loss over all pairs of draws, with nothing differentiated but what is meant to be."""
    log_q, log_p, log_like = every(inference, datum)
    log_joint = log_p + log_like
    draws = np.array(list(itertools.product(range(4), repeat=inference.objective.num_samples)))
    log_w = log_joint[draws] - stop(log_q[draws])
    weight = stop(jax.nn.softmax(log_w))
    both = jnp.log(jnp.exp(log_w).mean(1)) + (weight * log_q[draws]).sum(1)
    return -stop(jnp.exp(log_q[draws].sum(1))) @ both


def forward_loss(inference: Any, datum: Any, num_data: int) -> Any:
    """−log p(x) in the model, KL(p(z | x) ‖ q) in the posterior: what infinitely many draws follow."""
    log_q, log_p, log_like = every(inference, datum)
    posterior = stop(jax.nn.softmax(log_p + log_like))
    return -jax.scipy.special.logsumexp(log_p + log_like) - posterior @ log_q


def wake(num_samples: int) -> Any:
    objective = objectives.ReweightedWakeSleep(num_samples)
    inference = discrete("bernoulli", "per-datum", objective, gradients.HeldDraws())
    assert inference.check().kind == "biased"
    return inference


def test_wake_sleep_follows_its_two_losses():
    inference = wake(2)
    truth = exact_gradient(inference, wake_loss, small.BINARY, small.NUM_DATA)
    assert seen(inference, truth).worst < LIMIT


def test_more_draws_bring_wake_sleep_to_the_posterior():
    few, many = wake(2), wake(32)
    truth = exact_gradient(few, forward_loss, small.BINARY, small.NUM_DATA)
    assert seen(many, truth, draws=10_000).relative_bias < 0.3 * seen(few, truth).relative_bias


def test_wake_sleep_through_moving_draws_is_flagged(monkeypatch):
    inference = wake(2)
    truth = exact_gradient(inference, wake_loss, small.BINARY, small.NUM_DATA)
    monkeypatch.setattr(
        objectives.ReweightedWakeSleep,
        "losses",
        lambda self, terms, step: Losses.both(-self.bound(terms) - terms.log_q.sum(-1).mean()),
    )
    assert seen(inference, truth).worst > LIMIT


# ---------------------------------------------------------------- bounds on several draws


def tuple_loss(inference: Any, datum: Any, num_data: int) -> Any:
    """−bound over all tuples of draws, from the definitions of Rényi's and the grouped bounds."""
    log_q, log_p, log_like = every(inference, datum)
    objective, w = inference.objective, jnp.exp(log_p + log_like - log_q)
    draws = np.array(list(itertools.product(range(4), repeat=objective.num_samples)))
    name, each = type(objective).__name__, w[draws]
    if name == "Renyi":
        power = 1 - objective.alpha
        bound = jnp.log((each**power).mean(1)) / power
    elif name == "MIWAE":
        bound = jnp.log(each.reshape(len(draws), objective.groups, -1).mean(2)).mean(1)
    else:
        bound = objective.beta * jnp.log(each).mean(1) + (1 - objective.beta) * jnp.log(each.mean(1))
    return -jnp.exp(log_q[draws].sum(1)) @ bound


TOGETHER = {
    "renyi": objectives.Renyi(0.5, num_samples=2),
    "renyi above one": objectives.Renyi(2.0, num_samples=2),
    "miwae": objectives.MIWAE(4, groups=2),
    "ciwae": objectives.CIWAE(2, beta=0.3),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_bounds_on_several_draws(name):
    """The score function follows the bound of K draws; a sum over tuples is that bound's gradient."""
    objective = TOGETHER[name]
    exact = discrete("bernoulli", "per-datum", objective, gradients.Enumerate())
    truth = exact_gradient(exact, tuple_loss, small.BINARY, small.NUM_DATA)
    assert exact.check().kind == ("biased" if "renyi" in name else "exact")
    if name != "renyi above one":
        sampled = discrete("bernoulli", "per-datum", objective, LOO)
        assert seen(sampled, truth, draws=DRAWS).worst < LIMIT
    rest = {"key": jax.random.key(0), "step": jnp.asarray(0), "num_data": 1, "state": None}
    summed = exact_gradient(exact, lambda own, d, n: own.gradient(own, d, **rest).surrogate, small.BINARY, 1)
    np.testing.assert_allclose(summed, truth, atol=1e-5 * np.linalg.norm(truth))


def test_verdicts_name_what_fits():
    with pytest.raises(ValueError, match=r"gradients\.HeldDraws"):
        discrete("bernoulli", "per-datum", objectives.ReweightedWakeSleep(2), LOO)
    with pytest.raises(ValueError, match=r"gradients\.ScoreFunction"):
        discrete("bernoulli", "per-datum", objectives.ELBO(), gradients.HeldDraws())
    with pytest.raises(ValueError, match="even number"):
        discrete("bernoulli", "per-datum", objectives.ELBO(3), gradients.DisARM())
    with pytest.raises(ValueError, match="no mean over draws"):
        discrete("bernoulli", "per-datum", objectives.IWAE(2), gradients.DisARM())
    with pytest.raises(ValueError, match=r"families\.Bernoulli"):
        discrete("one-hot", "per-datum", objectives.ELBO(2), gradients.DisARM())
    with pytest.raises(ValueError, match=r"objectives\.ELBO"):
        discrete("bernoulli", "global", objectives.Renyi(0.5, num_samples=2), LOO)
    verdict = discrete("bernoulli", "per-datum", objectives.PIWAE(4, groups=2), LOO).check()
    assert verdict == Verdict("biased", "PIWAE follows two losses, the gradient of no one bound")


# ---------------------------------------------------------------- REBAR

REBARS = {
    "bits": ("bernoulli", "per-datum", objectives.ELBO(1)),
    "bits, sampled": ("bernoulli", "global", objectives.ELBO(2, kl="sampled")),
    "bits, iwae": ("bernoulli", "per-datum", objectives.IWAE(2)),
    "one-hot": ("one-hot", "amortized", objectives.ELBO(1, kl="sampled")),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if "sampled" in n else []) for n in REBARS]
)
def test_rebar_is_unbiased_and_quieter_than_no_baseline(name):
    latent, posterior, objective = REBARS[name]
    inference = discrete(latent, posterior, objective, gradients.REBAR(0.5))
    assert inference.check().kind == "unbiased"
    truth = truth_of(inference, discrete_loss, small.BINARY)
    ours, plain = seen(inference, truth), seen(inference, truth, gradient=gradients.ScoreFunction())
    print(f"variance over no baseline: {ours.variance / plain.variance:.3f}")
    assert ours.worst < LIMIT and ours.variance < 0.5 * plain.variance


def test_rebar_whose_relaxation_forgets_the_bit_is_flagged(monkeypatch):
    monkeypatch.setattr(rebar, "soft_given", lambda law, tau, *, key: rebar.soft(law, tau, key=key))
    inference = discrete("bernoulli", "per-datum", objectives.ELBO(1), gradients.REBAR(0.5))
    assert seen(inference, truth_of(inference, discrete_loss, small.BINARY)).worst > LIMIT


@pytest.mark.parametrize(
    "law", [dist.Bernoulli(jnp.array([0.7, -1.5])), dist.OneHot(jnp.array([[0.7, -1.0, 0.2]]))]
)
def test_given_its_hardening_a_relaxed_sample_is_distributed_as_ever(law):
    keys, tau = jax.random.split(jax.random.key(0), 20_000), jnp.asarray(0.7)
    free = jax.vmap(lambda k: rebar.soft(law, tau, key=k))(keys)
    tied = jax.vmap(lambda k: rebar.soft_given(law, tau, key=k))(keys)
    hard = jax.vmap(lambda k: law.sample_and_log_prob(key=k)[0])(keys)
    rounded = tied > 0.5 if isinstance(law, dist.Bernoulli) else jnp.argmax(tied, -1) == jnp.argmax(hard, -1)
    assert (rounded == (hard > 0.5 if isinstance(law, dist.Bernoulli) else True)).all()
    np.testing.assert_allclose(
        jnp.quantile(tied, DECILES, axis=0), jnp.quantile(free, DECILES, axis=0), atol=0.025
    )


DECILES = jnp.linspace(0.1, 0.9, 9)


def test_rebar_learns_how_much_to_trust_its_relaxation():
    inference = discrete("bernoulli", "per-datum", objectives.ELBO(1), gradients.REBAR(0.5, decay=0.9))
    memory = inference.gradient.init(inference)
    assert float(memory.scale()) == 1.0

    @jax.jit
    def after(memory, key):
        rest = {"key": key, "step": jnp.asarray(0), "num_data": small.NUM_DATA, "state": memory}
        return inference.gradient(inference, small.BINARY, **rest).state

    scales = []
    for key in jax.random.split(jax.random.key(0), 200):
        memory = after(memory, key)
        scales.append(float(memory.scale()))
    assert 0.1 < np.mean(scales[100:]) < 1.9
