"""Balancing the KL of a world model, against the loss written out by hand; free nats of ragged batches."""

from __future__ import annotations

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import dist, families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference, Terms
from jensen.nets import trainable

KEY = jax.random.key(0)
T, ALPHA = 3, 0.8
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick = partial(jax.jit, compiler_options=QUICK)
CASES = {
    "gaussian": (lambda: families.DiagGaussian(2), gradients.Reparam),
    "one-hot": (lambda: families.OneHot(3, 2, unimix=0.01), gradients.StraightThrough),
}


def moved(tree, seed):
    params, static = eqx.partition(tree, trainable(tree))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda a: a + jnp.asarray(0.4 * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(params, static)


def world(family, estimator, **options) -> Inference:
    model = moved(models.RSSM(2, 1, deter_dim=3, latent=family, decoder=(3,), key=KEY), 1)
    q = moved(posteriors.Filtering(family, like=model, widths=(3,), key=KEY), 2)
    return Inference(model, q, objectives.ELBO(**options), estimator())


DATUM = Datum(
    jnp.asarray(np.random.default_rng(0).normal(size=(T, 2)), jnp.float32),
    jnp.asarray(np.random.default_rng(1).normal(size=(T - 1, 1)), jnp.float32),
)
stop = jax.lax.stop_gradient


def normal_kl(q, p):
    (m, s), (n, r) = q, p
    return jnp.sum(jnp.log(r / s) + (s**2 + (m - n) ** 2) / (2 * r**2) - 0.5)


def one_hot_kl(q, p):
    return jnp.sum(q * (jnp.log(q) - jnp.log(p)))


def numbers(kind, params):
    """Mean and scale of a Gaussian, or probabilities of one-hot blocks, from a head's output."""
    if kind == "gaussian":
        return params[:2], jnp.exp(10 * jnp.tanh(params[2:] / 10))
    return 0.99 * jax.nn.softmax(params.reshape(2, 3)) + 0.01 / 3


def by_hand(kind, model, q, key):
    """Return −log p(x | h, z) + α KL(stop(q) ‖ p) + (1 − α) KL(q ‖ stop(p)), step after step."""
    _, to_draws = jax.random.split(key)
    noise_key = jax.random.split(to_draws, 1)[0]
    inputs, seen = model.inputs(DATUM.cond, T), q.evidence(DATUM)
    kl = normal_kl if kind == "gaussian" else one_hot_kl
    h, z = jnp.zeros(3), jnp.zeros(model.latent_dim)
    loss, plain = 0.0, 0.0
    for t in range(T):
        h = model.advance(h, z, jax.tree.map(lambda leaf, t=t: leaf[t], inputs))
        raw = q.head(h, q.head.prepare(seen[t]))
        post, prior = numbers(kind, raw), numbers(kind, model.prior_net(h))
        step_key = jax.random.fold_in(noise_key, t)
        if kind == "gaussian":
            z = post[0] + post[1] * jax.random.normal(step_key, (2,))
        else:
            hard = q.family(raw).from_noise(q.family(raw).noise(key=step_key))
            z = (stop(hard - post.reshape(-1)) + post.reshape(-1)).reshape(-1)
        loss += ALPHA * kl(stop(post), prior) + (1 - ALPHA) * kl(post, stop(prior))
        plain += kl(post, prior)
        scale = model.likelihood_family.scale
        away = (DATUM.x[t] - model.net(jnp.concatenate([h, z]))) / scale
        fit = jnp.sum(0.5 * away**2 + jnp.log(scale) + 0.5 * jnp.log(2 * jnp.pi))
        loss, plain = loss + fit, plain + fit
    return loss, plain


@pytest.mark.parametrize("kind", CASES)
def test_balance_is_that_of_the_loss_written_by_hand(kind):
    family, estimator = CASES[kind]
    inference = world(family(), estimator, kl_balance=ALPHA)
    parts = (inference.model, inference.posterior)
    params, static = eqx.partition(parts, trainable(parts))

    def ours(params):
        own = eqx.tree_at(lambda i: (i.model, i.posterior), inference, eqx.combine(params, static))
        out = own.gradient(own, DATUM, key=KEY, step=jnp.asarray(0), num_data=1, state=None)
        return out.surrogate, out.value

    def theirs(params):
        return by_hand(kind, *eqx.combine(params, static), KEY)

    (got, value), slope = quick(jax.value_and_grad(ours, has_aux=True))(params)
    (wanted, plain), exact = quick(jax.value_and_grad(theirs, has_aux=True))(params)
    np.testing.assert_allclose([got, -value], [wanted, plain], rtol=1e-5)
    np.testing.assert_allclose(got, plain, rtol=1e-5)  # the balance is in the gradient alone
    for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    of_model, _ = slope
    assert all(np.abs(leaf).sum() > 0 for leaf in jax.tree.leaves((of_model.core, of_model.prior_net)))


def test_a_balanced_divergence_of_laws_without_time():
    q, p = dist.FullGaussian(jnp.ones(2), jnp.eye(2)), dist.DiagGaussian(jnp.zeros(2), 2 * jnp.ones(2))
    kl = lambda q, p: dist.kl_divergence(q, p, None)[0]  # noqa: E731
    balanced = lambda q, p: dist.balanced_kl(q, p, None, 0.3)[0]  # noqa: E731
    (of_q, of_p), (all_q, all_p) = (jax.grad(f, (0, 1))(q, p) for f in (balanced, kl))
    np.testing.assert_allclose(balanced(q, p), kl(q, p), rtol=1e-6)
    for got, whole, share in ((of_q, all_q, 0.7), (of_p, all_p, 0.3)):
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(a, share * b, rtol=1e-5, atol=1e-7)
    flat = dist.MarkovPath(jnp.zeros(2), jnp.zeros((1, 2, 2)))
    assert dist.balanced_kl(q, flat, None, 0.5) is None


def test_free_nats_of_ragged_batches_are_granted_to_real_steps():
    """Two sequences of 1 and 3 steps: a step that one of them has counts half."""
    kl = jnp.array([[[2.0, 0.0, 0.0]], [[1.0, 3.0, 0.1]]])
    scored = jnp.array([[[1.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]])
    terms = Terms(jnp.zeros((2, 1)), jnp.zeros((2, 1, 3)), jnp.zeros((2, 1)), jnp.zeros((2, 1, 3)),
                  log_likelihood=jnp.zeros((2, 1)), log_prior=jnp.zeros((2, 1, 3)), kl=kl, scored=scored)  # fmt: skip
    step = jnp.asarray(0)
    over = objectives.ELBO(free_bits=2.0, free_bits_over="batch")
    # means over those who have the step: 1.5, 3 and 0.1
    np.testing.assert_allclose(over.batch_term(terms, None, step, 2), 2.0 + 3.0 / 2 + 2.0 / 2, rtol=1e-6)
    each = objectives.ELBO(free_bits=2.0)
    losses = [float(each.losses(jax.tree.map(lambda a, i=i: a[i], terms), step).model) for i in (0, 1)]
    np.testing.assert_allclose(losses, [2.0, 2.0 + 3.0 + 2.0], rtol=1e-6)


def test_terms_say_which_steps_are_real():
    inference = world(families.DiagGaussian(2), gradients.Reparam)
    for datum, scored in (
        (DATUM, None),
        (Datum(DATUM.x, DATUM.cond, steps=jnp.asarray(2)), [[1, 1, 0]]),
        (Datum(DATUM.x, DATUM.cond, steps=jnp.asarray(2), burn_in=jnp.asarray(1)), [[0, 1, 0]]),
    ):
        q = inference.q(datum, key=KEY)
        draw = lambda q, datum: inference.objective.draw(inference.model, q, datum, key=KEY, share=1.0).scored  # noqa: E731
        got = eqx.filter_eval_shape(draw, q, datum)
        assert (got is None) == (scored is None)
        if scored is not None:
            assert draw(q, datum).tolist() == scored
