"""Posteriors that improve on a network: what they train, what they refuse, and their gaps."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import CombinationError, InputError
from jensen.nets import trainable

KEY = jax.random.key(0)
ROW = Datum(jnp.array([1.0, 0.0, 1.0]), index=jnp.asarray(1))


def network(family, dim: int = 3):
    return posteriors.Amortized(family, data_dim=dim, widths=(), key=KEY)


def bits():
    return models.Decoder(3, prior=models.priors.OneHot(3), widths=(), key=jax.random.key(1))


def semi(through: bool, steps: int = 3):
    return posteriors.SemiAmortized(network(families.OneHot(3)), steps, 0.1, through)


def summed(model, q):
    """The plain bound of three values of z."""
    log_q = jax.nn.log_softmax(q.logits.reshape(-1))
    log_p = jax.vmap(lambda z: model.log_joint(z, ROW))(jnp.eye(3))
    return jnp.exp(log_q) @ (log_p - log_q)


def gradient(inference):
    parts = (inference.model, inference.posterior)
    params, rest = eqx.partition(parts, trainable(parts))

    def surrogate(params):
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, eqx.combine(params, rest))
        return own.gradient(own, ROW, key=KEY, step=jnp.asarray(0), num_data=1, state=None).surrogate

    return jax.grad(surrogate)(params)


def test_steps_climb_the_bound():
    model = bits()
    values = [summed(model, semi(False, steps)(model, ROW, key=KEY)) for steps in (1, 3, 60)]
    assert summed(model, network(families.OneHot(3))(model, ROW, key=KEY)) < values[0] < values[1]
    exact = jax.nn.logsumexp(jax.vmap(lambda z: model.log_joint(z, ROW))(jnp.eye(3)))
    np.testing.assert_allclose(values[2], exact, atol=0.02)


@pytest.mark.parametrize("through", [True, False])
def test_what_is_differentiated(through):
    """Through the steps: the whole derivative. Otherwise: that of the model alone, and straight to the net."""
    inference = jn.Inference(bits(), semi(through), objectives.ELBO(), gradients.Enumerate())
    assert inference.check().kind == ("exact" if through else "biased")
    of_model, of_posterior = gradient(inference)
    held = inference.posterior(inference.model, ROW, key=KEY)
    start = inference.posterior.parameters(ROW)
    added = held.logits.reshape(-1) - start

    def whole(model):
        q = inference.posterior if through else None
        return -summed(model, held if q is None else q(model, ROW, key=KEY))

    def of_net(posterior):
        if through:
            return -summed(inference.model, posterior(inference.model, ROW, key=KEY))
        return -summed(inference.model, posterior.family(posterior.parameters(ROW) + added))

    wanted = eqx.filter_grad(whole)(inference.model), eqx.filter_grad(of_net)(inference.posterior)
    for ours, theirs in zip((of_model, of_posterior), wanted, strict=True):
        for a, b in zip(
            jax.tree.leaves(ours), jax.tree.leaves(eqx.filter(theirs, eqx.is_array)), strict=False
        ):
            np.testing.assert_allclose(a, b, atol=2e-5)


def test_refusals_say_what_to_use():
    diag = network(families.DiagGaussian(2))
    vae = models.Decoder(3, 2, widths=(), key=KEY)
    for make in (posteriors.SemiAmortized, posteriors.HamiltonianRefined):
        with pytest.raises(InputError, match=r"posteriors\.Amortized"):
            make(posteriors.PerDatum(families.DiagGaussian(2), num_data=3, key=KEY))
        with pytest.raises(InputError, match=r"steps is 0; it must be at least 1"):
            make(diag, 0)
        with pytest.raises(InputError, match=r"step_size is 0; it must be positive"):
            make(diag, 1, 0.0)
    moved = posteriors.HamiltonianRefined(diag)
    with pytest.raises(CombinationError, match=r"gradients\.Reparam"):
        jn.Inference(vae, moved, objectives.ELBO(), gradients.StickTheLanding())
    with pytest.raises(CombinationError, match=r"posteriors\.Amortized"):
        jn.Inference(
            bits(),
            posteriors.HamiltonianRefined(network(families.OneHot(3))),
            objectives.ELBO(),
            gradients.Reparam(),
        )
    many = posteriors.SemiAmortized(network(families.Bernoulli(13)))
    prior = models.Decoder(3, prior=models.priors.Bernoulli(13), widths=(), key=KEY)
    with pytest.raises(CombinationError, match="4096"):
        jn.Inference(prior, many, objectives.ELBO(2), gradients.ScoreFunction(gradients.LeaveOneOut()))


@pytest.fixture(scope="module")
def ladder():
    """A linear model with exact evidence and correlated latents, and posteriors that know nothing yet."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype(np.float32)
    model = models.FactorAnalysis(4, 2, key=KEY)
    diag = network(families.DiagGaussian(2), 4)
    flow = families.CouplingFlow(2, layers=2, widths=(4,), context_dim=1, key=KEY)
    named = {
        "diagonal": diag,
        "semi": posteriors.SemiAmortized(diag, 20, 0.05),
        "flow": network(flow, 4),
        "full": network(families.FullGaussian(2), 4),
        "moved": posteriors.HamiltonianRefined(diag, 2),
    }
    chosen = {
        name: jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()) for name, q in named.items()
    }
    effort = diagnose.Effort(samples=500, steps=300)
    return diagnose.gaps(chosen, x, key=KEY, rows=8, effort=effort)


def test_richer_families_are_never_worse(ladder):
    best = {name: gap.per_datum["best_elbo"].mean() for name, gap in ladder.by_name.items()}
    assert min(best["flow"], best["moved"]) > best["diagonal"] - 0.05
    assert ladder["diagonal"].approximation.value > 0.04
    assert abs(ladder["full"].approximation.value) < 0.01


def test_steps_undo_amortization(ladder):
    assert ladder["semi"].amortization.value < 0.8 * ladder["diagonal"].amortization.value
    assert abs(ladder["semi"].approximation.value - ladder["diagonal"].approximation.value) < 0.05
    for gap in ladder.by_name.values():
        assert gap.total.value > -0.05
        np.testing.assert_allclose(
            gap.total.value, gap.approximation.value + gap.amortization.value, atol=1e-4
        )


def test_the_table_names_every_posterior_and_models_must_agree(ladder):
    text = str(ladder)
    assert all(name in text for name in ladder.by_name) and "approximation" in text
    assert set(ladder.to_json()) == set(ladder.by_name)
    two = {
        str(seed): jn.Inference(
            models.Decoder(3, 2, widths=(), key=jax.random.key(seed)),
            network(families.DiagGaussian(2)),
            objectives.ELBO(),
            gradients.Reparam(),
        )
        for seed in (0, 1)
    }
    with pytest.raises(InputError, match="another model"):
        diagnose.gaps(two, np.zeros((2, 3)), key=KEY)


def test_what_is_saved_comes_back(tmp_path):
    model = models.Decoder(3, 2, widths=(), key=KEY)
    flow = families.InverseAutoregressiveFlow(2, layers=2, widths=(4,), context_dim=1, key=KEY)
    q = posteriors.HamiltonianRefined(posteriors.SemiAmortized(network(flow), 2))
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    path = tmp_path / "run"
    fitted = fit.gradient(
        inference, np.eye(3, dtype=np.float32), key=KEY, optimizer=optax.adam(1e-2), steps=2
    )
    fitted.save(path)
    again = fit.load(path).inference
    z, log_q = fitted.inference.q(ROW, key=KEY).sample_and_log_prob(key=KEY)
    z_again, log_q_again = again.q(ROW, key=KEY).sample_and_log_prob(key=KEY)
    np.testing.assert_array_equal(z, z_again)
    np.testing.assert_array_equal(log_q, log_q_again)
