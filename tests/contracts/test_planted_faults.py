"""Wrong estimators, run through the same test as the right ones: every one must be flagged."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

from jensen import dist, gradients, objectives
from jensen.core import AbstractGradient, Estimate, Verdict
from jensen.dist import StoppedScore, stop
from jensen.gradients.common import make_draws

from . import small
from .checker import LIMIT, compare
from .oracle import discrete_loss, gaussian_loss
from .test_unbiased import LOO, discrete, gaussian, truth_of

DRAWS = 50_000
ELBO, IWAE = objectives.ELBO, objectives.IWAE


def flagged(inference: Any, loss: Any, datum: Any, gradient: Any = None) -> float:
    truth = truth_of(inference, loss, datum)
    seen = compare(inference, datum, truth, num_data=small.NUM_DATA, gradient=gradient, draws=DRAWS)
    print(f"|z| {seen.worst:.1f}, bias {seen.relative_bias:.1%}")
    return seen.worst


class PlantedGradient(AbstractGradient):
    """An estimator given as a function of the draws."""

    surrogate: Any
    wrap: Any

    def init(self, inference):
        return None

    def __call__(self, inference, datum, *, key, step, num_data, state):
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=self.wrap)
        terms, _ = draws(inference.model, inference.posterior)
        return Estimate(self.surrogate(inference, terms, step), terms.log_joint.mean())

    def rule(self, inference):
        return Verdict("unbiased")


def test_the_same_test_passes_without_a_fault():
    inference = gaussian("diag", "per-datum", ELBO(2, kl="sampled"), gradients.Reparam())
    assert flagged(inference, gaussian_loss, small.REAL) < LIMIT


def test_narrow_noise(monkeypatch):
    def narrow(self, *, key):
        z = self.loc + 0.9 * self.scale * jax.random.normal(key, self.loc.shape)
        return z, self.log_prob(z)

    monkeypatch.setattr(dist.DiagGaussian, "sample_and_log_prob", narrow)
    inference = gaussian("diag", "per-datum", ELBO(2), gradients.Reparam())
    assert flagged(inference, gaussian_loss, small.REAL) > LIMIT


def test_dropped_entropy(monkeypatch):
    monkeypatch.setattr(ELBO, "_divergence", lambda self, terms: -terms.log_prior)
    inference = gaussian("diag", "per-datum", ELBO(2, kl="sampled"), gradients.Reparam())
    assert flagged(inference, gaussian_loss, small.REAL) > LIMIT


@pytest.mark.parametrize("law", [dist.DiagGaussian, dist.OneHot])
def test_swapped_kl(monkeypatch, law):
    from jensen.dist import kl

    right = kl._RULES[law, law]
    monkeypatch.setitem(kl._RULES, (law, law), lambda q, p, z: right(p, q, z))
    if law is dist.OneHot:
        seen = flagged(discrete("one-hot", "amortized", ELBO(4), LOO), discrete_loss, small.BINARY)
    else:
        inference = gaussian("diag", "per-datum", ELBO(2), gradients.Reparam())
        seen = flagged(inference, gaussian_loss, small.REAL)
    assert seen > LIMIT


def test_sticking_the_landing_under_iwae():
    inference = gaussian("diag", "per-datum", IWAE(2), gradients.Reparam())
    assert flagged(inference, gaussian_loss, small.REAL, gradients.StickTheLanding()) > LIMIT


def test_doubly_reparameterized_with_weights_not_squared():
    def single(inference, terms, step):
        return -jnp.sum(stop(jax.nn.softmax(terms.log_w)) * terms.log_w)

    inference = gaussian("diag", "per-datum", IWAE(2), gradients.DoublyReparam())
    assert flagged(inference, gaussian_loss, small.REAL, PlantedGradient(single, StoppedScore)) > LIMIT


def test_score_function_that_forgets_its_own_weight():
    def forgetful(inference, terms, step):
        scores = terms.log_q.sum(-1)
        fixed = eqx.tree_at(lambda t: t.log_q, terms, stop(terms.log_q))
        loss = inference.objective.losses(fixed, step).model
        return loss + stop(loss) * jnp.sum(scores - stop(scores))

    inference = discrete("one-hot", "per-datum", IWAE(2), LOO)
    planted = PlantedGradient(forgetful, dist.StoppedSample)
    assert flagged(inference, discrete_loss, small.BINARY, planted) > LIMIT


def test_baseline_that_looks_at_its_own_draw():
    def own(inference, terms, step):
        scores = terms.log_q.sum(-1)
        loss = -(terms.log_likelihood + terms.log_prior.sum(-1) - stop(scores))
        return loss.mean() + jnp.mean(stop(loss - loss.mean()) * (scores - stop(scores)))

    inference = discrete("one-hot", "per-datum", ELBO(2, kl="sampled"), LOO)
    planted = PlantedGradient(own, dist.StoppedSample)
    assert flagged(inference, discrete_loss, small.BINARY, planted) > LIMIT


def test_global_latent_counted_once_per_datum():
    inference = gaussian("diag", "global", ELBO(2), gradients.Reparam())
    truth = truth_of(inference, gaussian_loss, small.REAL)
    seen = compare(inference, small.REAL, truth, num_data=1, draws=DRAWS)
    assert seen.worst > LIMIT
