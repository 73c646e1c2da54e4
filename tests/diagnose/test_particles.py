"""Sequences: particle evidence against exact evidence, the certified interval, and nats per step."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors
from jensen.algorithms import causality
from jensen.core import Datum
from jensen.diagnose.progress import Silent
from jensen.diagnose.simulated import _simulate, simulated
from jensen.errors import InputError
from jensen.models.sequence.hmm import HMM
from jensen.models.sequence.linear_gaussian import LinearGaussianSSM
from jensen.nets import trainable

KEY, T, DIM = jax.random.key(3), 6, 2


def moved(tree, rng, by):
    params, static = eqx.partition(tree, trainable(tree))
    params = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(params, static)


def affine(net):
    at_zero = np.asarray(net(jnp.zeros(DIM)), float)
    return np.stack([np.asarray(net(e), float) - at_zero for e in jnp.eye(DIM)], 1), at_zero


def linear(seed):
    """A deep Markov model without depth with a filtering posterior, and its twin with exact evidence."""
    rng = np.random.default_rng(seed)
    net = moved(models.NeuralStateSpace(DIM, DIM, decoder=(), transition="linear", key=KEY), rng, 0.3)
    net = eqx.tree_at(lambda m: m.transition_net.linear.weight, net, replace_fn=lambda a: 0.5 * a)
    (maps, offset), (loadings, shift) = affine(net.transition_net), affine(net.net)
    first = net.initial(Datum(jnp.zeros((T, DIM))))
    noise = np.diag(np.asarray(first.scale, float) ** 2)
    exact = LinearGaussianSSM.with_parameters(
        maps[:DIM], noise, loadings, np.asarray(net.likelihood_family.scale, float) ** 2,
        initial=(np.asarray(first.loc, float), noise), offsets=(offset[:DIM], shift),
    )  # fmt: skip
    q = posteriors.Filtering(families.DiagGaussian(DIM), like=net, widths=(4,), key=KEY)
    return jn.Inference(net, moved(q, rng, 0.1), objectives.ELBO(), gradients.Reparam()), exact


@eqx.filter_jit
def _log_evidence(model, rows):
    return jax.vmap(model.log_evidence)(rows)


def log_evidence(exact, rows):
    return np.asarray(_log_evidence(exact, jax.tree.map(jnp.asarray, rows)), np.float64)


def ragged(num, seed=0):
    rng = np.random.default_rng(seed)
    return fit.Data(rng.normal(size=(num, T, DIM)).astype(np.float32), lengths=rng.integers(2, T + 1, num))


def bracket_and_truth(seed, num, particles):
    own, exact = linear(seed)
    rows, key = ragged(num, seed).rows(), jax.random.key(seed)
    effort = diagnose.Effort(particles=particles)
    out = simulated(own.model, own.posterior, rows, effort, key=key, progress=Silent())
    _, data = _simulate(own.model, rows, jax.random.split(jax.random.split(key, 3)[0], num))
    return out, log_evidence(exact, data)


def test_both_sides_are_unbiased_on_simulated_sequences():
    out, truth = bracket_and_truth(0, 1000, 32)
    assert out is not None and out.method == "particle"
    for ratio in (np.exp(out.per_datum["lower"] - truth), np.exp(truth - out.per_datum["upper"])):
        error = ratio.std() / len(ratio) ** 0.5
        assert error < 0.06 and abs(ratio.mean() - 1) < 4.5 * error and ratio.std() > 0.05


def test_the_certified_interval_covers():
    """95% of the time at least; 20 models of 20 sequences, and narrow enough to say something."""
    covered, widths = 0, []
    for seed in range(20):
        out, truth = bracket_and_truth(seed, 20, 200)
        assert out is not None and out.confidence == 0.95 and out.settings == {"particles": 200}
        covered += out.lower <= truth.mean() <= out.upper
        widths.append(out.width)
    assert covered >= 19 and np.median(widths) < 1


def test_given_sequences_lie_between_a_bound_and_a_heuristic():
    own, exact = linear(0)
    data = ragged(40)
    seen = diagnose.evidence(own, data, key=KEY, effort=diagnose.Effort(particles=200))
    truth = log_evidence(exact, data.rows())
    assert (seen.method, seen.lower_kind, seen.upper_kind) == ("particle", "stochastic-bound", "heuristic")
    assert seen.settings == {"particles": 200}
    np.testing.assert_allclose(seen.per_datum["lower"], truth, atol=0.8)
    assert truth.mean() - 0.1 < seen.lower < seen.upper + 0.02 and abs(seen.upper - truth.mean()) < 0.1
    assert ((seen.per_datum["effective"] >= 1) & (seen.per_datum["effective"] <= 200.01)).all()


def test_the_dynamics_propose_where_q_does_not():
    hmm = HMM.with_parameters(
        [0.7, 0.3], [[0.8, 0.2], [0.3, 0.7]], means=[[0.0], [2.0]], covariances=[[[1.0]], [[0.5]]]
    )
    own = jn.Inference(hmm, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    x = np.random.default_rng(0).normal(size=(30, T, 1)).astype(np.float32)
    truth = diagnose.evidence(own, x, key=KEY)
    seen = diagnose.evidence(own, x, key=KEY, method="particle", effort=diagnose.Effort(particles=500))
    assert truth.method == "exact" and seen.method == "particle"
    np.testing.assert_allclose(seen.value, truth.value, atol=0.05)


def test_gap_speaks_of_steps():
    own, exact = linear(0)
    data = ragged(12)
    effort = diagnose.Effort(particles=300, samples=2000)
    out = diagnose.gap(own, data, key=KEY, effort=effort)
    steps = np.asarray(data.lengths)
    assert out.mean_steps == pytest.approx(steps.mean())
    np.testing.assert_array_equal(out.per_datum["steps"], steps)
    assert out.per_step is not None
    np.testing.assert_allclose(out.per_step["total"], out.per_datum["total"].sum() / steps.sum(), rtol=1e-6)
    np.testing.assert_allclose(
        out.total.value, log_evidence(exact, data.rows()).mean() - out.elbo.value, atol=0.15
    )
    assert out.total.value > 0 and np.isnan(out.amortization.value)
    assert any("past only" in flag for flag in out.flags) and out.causality is None
    assert "a step" in str(out) and out.to_json()["per_step"]["elbo"] == out.per_step["elbo"]
    assert out.simulated is not None and out.simulated.lower < out.simulated.upper


@pytest.mark.slow
def test_what_causality_costs_is_its_closed_form():
    """Both posteriors fitted to one model with its own data: what lies between them is the cost."""
    own, exact = linear(4)
    chain = causality.LinearChain(
        exact.transition_matrix, exact.transition_covariance, exact.emission_matrix,
        np.diag(exact.emission_variances), exact.initial_covariance,
    )  # fmt: skip
    cost = causality.cost_of_causality(chain, 4)
    rows = Datum(jnp.zeros((2000, 4, DIM)))
    x = np.asarray(_simulate(own.model, rows, jax.random.split(KEY, 2000))[1].x)
    fitted = []
    for kind in (posteriors.Filtering, posteriors.Smoothing):
        q = kind(families.FullGaussian(DIM), like=own.model, widths=(16,), key=KEY)
        start = jn.Inference(own.model, q, objectives.ELBO(), gradients.StickTheLanding())
        rate = optax.cosine_decay_schedule(1e-2, 3000)
        done = fit.gradient(
            start, x, key=KEY, steps=3000, batch_size=100, optimizer=optax.adam(rate),
            trainable=lambda inference: inference.posterior,
        )  # fmt: skip
        fitted.append(done.inference)
    whole = fitted[1].posterior
    out = diagnose.gap(
        fitted[0], x, key=KEY, rows=1000, effort=diagnose.Effort(samples=50, particles=50), smoothing=whole
    )
    print(f"closed form {cost:.4f}, reported {out.causality}")
    assert cost > 0.05 and out.causality is not None
    assert abs(out.causality.value - cost) < 3 * out.causality.se + 0.02
    assert "seeing the past only" in str(out) and not any("past" in flag for flag in out.flags)


def test_exact_models_of_sequences():
    _, exact = linear(0)
    own = jn.Inference(exact, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    out = diagnose.gap(own, ragged(5), key=KEY)
    assert out.log_evidence.lower_kind == "exact" and out.total.value == 0
    assert out.simulated is not None and out.simulated.confidence == 1
    with pytest.raises(InputError, match="particle"):
        diagnose.Effort(particles=1)


def test_collapse_has_one_entry_a_step():
    own, _ = linear(0)
    out = diagnose.collapse(own, ragged(10), key=KEY)
    assert out.kl_per_dimension is not None and out.kl_per_dimension.shape == (T,)
    np.testing.assert_allclose(out.kl_per_dimension.sum(), out.kl.value, rtol=1e-5)
