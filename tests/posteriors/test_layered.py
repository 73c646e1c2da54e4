"""Several stochastic layers: per-layer terms, closed forms, unbiased gradients, refusals."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import dist, families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError
from jensen.nets import trainable

from ..contracts.small import moved

KEY = jax.random.key(0)
ROW = Datum(jnp.array([1.2, -0.4]))
DIMS = (1, 2)


def prior_of(kind: str = "chain", dims=DIMS):
    if kind == "chain":
        return models.priors.Hierarchical(dims, widths=(3,), key=KEY)
    return models.priors.Ladder(dims, width=3, key=KEY)


def decoder(kind: str = "chain", dims=DIMS):
    made = models.Decoder(2, likelihood="gaussian", widths=(), prior=prior_of(kind, dims), key=KEY)
    return moved(made, seed=1, by=0.4)


def posterior(name: str, model):
    made = getattr(posteriors, name)(like=model, widths=(3,), between=(3,), key=KEY)
    return moved(made, seed=2, by=0.4)


def inference(name="TopDown", objective=None, gradient=None, kind="chain") -> Inference:
    model = decoder(kind)
    return Inference(
        model, posterior(name, model), objective or objectives.ELBO(), gradient or gradients.Reparam()
    )


# ---------------------------------------------------------------- a linear-Gaussian chain, solved by hand

A, W, SQ, SX = 0.8, np.array([1.1, -0.6]), 0.5, 0.7
"""z₂ ~ N(0, 1), z₁ | z₂ ~ N(A z₂, SQ²), x | z₁ ~ N(W z₁, SX²)."""


def linear_model():
    prior = models.priors.Hierarchical((1, 1), widths=(), key=KEY)
    model = models.Decoder(2, likelihood="gaussian", widths=(), prior=prior, key=KEY)
    between, decode = prior.rungs[1].net.layers[0], model.net.layers[0]
    return eqx.tree_at(
        lambda m: (
            m.prior.rungs[1].net.layers[0].weight, m.prior.rungs[1].net.layers[0].bias,
            m.net.layers[0].weight, m.net.layers[0].bias, m.likelihood_family.log_scale, m.initialized,
        ),
        model,
        (
            jnp.array([[A], [0.0]]), jnp.array([0.0, 10 * np.arctanh(np.log(SQ) / 10)], between.bias.dtype),
            jnp.asarray(W[:, None], decode.weight.dtype), jnp.zeros(2), jnp.full(2, raw_of(model)), True,
        ),
    )  # fmt: skip


def raw_of(model):
    """The parameter at which the likelihood's scale is SX, found on its own scale property."""
    at = lambda raw: eqx.tree_at(lambda m: m.likelihood_family.log_scale, model, jnp.full(2, raw))  # noqa: E731
    grid = np.linspace(-2, 2, 4001)
    scales = jax.vmap(lambda raw: at(raw).likelihood_family.scale[0])(jnp.asarray(grid))
    return float(np.interp(SX, np.asarray(scales), grid))


def exact_evidence(x) -> float:
    cov = (A**2 + SQ**2) * np.outer(W, W) + SX**2 * np.eye(2)
    return float(-0.5 * (x @ np.linalg.solve(cov, x) + np.linalg.slogdet(2 * np.pi * cov)[1]))


def exact_top_down():
    """The ladder posterior at its exact member: the messages are p(x | z₁) and p(x | z₂)."""
    model = linear_model()
    q = posteriors.TopDown(like=model, widths=(2,), between=(2,), activation=identity, key=KEY)
    precision = W @ W / SX**2
    to_mean, s1 = W / SX**2 / precision, precision**-0.5
    s2 = np.sqrt(s1**2 + SQ**2) / A

    def head(row, log_scale):
        return np.stack([row, np.zeros(2)]), np.array([0.0, 10 * np.arctanh(log_scale / 10)])

    (w1, b1), (w2, b2) = head(to_mean, np.log(s1)), head(to_mean / A, np.log(s2))
    eye, zero = np.eye(2), np.zeros(2)
    layers = lambda q: [net.layers[0] for net in (*q.ups, *q.heads)]  # noqa: E731
    return model, eqx.tree_at(
        lambda q: [leaf for layer in layers(q) for leaf in (layer.weight, layer.bias)],
        q,
        [jnp.asarray(v, jnp.float32) for v in (eye, zero, eye, zero, w1, b1, w2, b2)],
    )


def identity(x):
    return x


def test_the_ladder_posterior_holds_the_exact_one_of_a_linear_chain():
    model, q = exact_top_down()
    bound = Inference(model, q, objectives.ELBO(8, kl="sampled"), gradients.Reparam())
    terms = bound.objective.draw(model, bound.q(ROW, key=KEY), ROW, key=KEY, share=1.0)
    np.testing.assert_allclose(terms.log_w, exact_evidence(np.asarray(ROW.x)), atol=2e-5)  # every draw alone
    off = eqx.tree_at(lambda q: q.heads[0].layers[0].bias, q, q.heads[0].layers[0].bias + 0.1)
    wrong = bound.objective.draw(model, off(model, ROW, key=KEY), ROW, key=KEY, share=1.0)
    assert np.ptp(wrong.log_w) > 1e-2  # a planted fault in one message is seen


def test_importance_weighting_reaches_the_exact_evidence_of_a_linear_chain():
    model = linear_model()
    q = moved(posteriors.BottomUp(like=model, widths=(), between=(), key=KEY), seed=3, by=0.2)
    terms = objectives.IWAE(20_000).draw(model, q(model, ROW, key=KEY), ROW, key=KEY, share=1.0)
    np.testing.assert_allclose(
        objectives.IWAE(20_000).bound(terms), exact_evidence(np.asarray(ROW.x)), atol=0.02
    )


# ---------------------------------------------------------------- layers, and what is said of each


@pytest.mark.parametrize("name", ["TopDown", "BottomUp"])
@pytest.mark.parametrize("kind", ["chain", "ladder"])
def test_layers_add_to_the_joint(name, kind):
    dims = (1, 2, 3)
    model = decoder(kind, dims)
    q = posterior(name, model)(model, ROW, key=KEY)
    z, log_q = q.sample_and_log_prob(key=KEY)
    assert z.shape == (6,) and log_q.shape == (3,) and q.dims == dims
    np.testing.assert_allclose(log_q, q.log_prob(z), rtol=1e-5)
    prior = model.prior_of(None)
    joint = prior.log_prob(z).sum() + model.log_likelihood(z, ROW)
    np.testing.assert_allclose(model.log_joint(z, ROW), joint, rtol=1e-5)
    # the map from noise is triangular: its log-determinant is the density, whatever is said layer by layer
    jacobian = jax.jacobian(q.from_noise)(noise := q.noise(key=KEY))
    change = -0.5 * (noise @ noise + 6 * np.log(2 * np.pi)) - np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(log_q.sum(), change, rtol=1e-4)


def test_the_kl_of_every_layer_is_the_mean_of_its_sampled_one():
    chosen = inference(objective=objectives.ELBO(20_000))
    q = chosen.q(ROW, key=KEY)
    terms = jax.jit(lambda key: chosen.objective.draw(chosen.model, q, ROW, key=key, share=1.0))(KEY)
    assert terms.kl.shape == (20_000, 2) and np.ptp(terms.kl[:, 0]) == 0 < np.ptp(terms.kl[:, 1])
    prior, z = chosen.model.prior_of(None), terms.z[0]
    np.testing.assert_allclose(dist.kl_divergence(dist.stop(q), prior, z), terms.kl[0], rtol=1e-5)
    gap = np.asarray(terms.log_ratio - terms.kl)
    assert (np.abs(gap.mean(0)) < 4 * gap.std(0) / 20_000**0.5).all()


def test_messages_that_say_nothing_leave_the_prior():
    model = decoder("ladder", (2, 2))
    family = posterior("TopDown", model).family_given(model, ROW)
    assert family.num_params == 8
    vague = family(jnp.concatenate([jnp.zeros(4), jnp.full(4, 50.0)]))
    z, log_q = vague.sample_and_log_prob(key=KEY)
    np.testing.assert_allclose(log_q, model.prior_of(None).log_prob(z), atol=1e-3)


def test_free_nats_of_each_layer():
    chosen = inference(objective=objectives.ELBO(2, free_bits=(5.0, 0.0)))
    terms = chosen.objective.draw(chosen.model, chosen.q(ROW, key=KEY), ROW, key=KEY, share=1.0)
    plain = objectives.ELBO(2).losses(terms, jnp.asarray(0)).model
    freed = chosen.objective.losses(terms, jnp.asarray(0)).model
    np.testing.assert_allclose(freed - plain, 5.0 - terms.kl[:, 0].mean(), rtol=1e-4)
    np.testing.assert_allclose(chosen.objective.bound(terms), objectives.ELBO(2).bound(terms), rtol=1e-6)
    with pytest.raises(InputError, match="3 numbers, z has 2 latent groups"):
        objectives.ELBO(2, free_bits=(1.0, 0.0, 0.0)).losses(terms, jnp.asarray(0))
    with pytest.raises(InputError, match="0 or more"):
        objectives.ELBO(free_bits=(1.0, -1.0))


def test_a_law_without_layers_counts_once():
    """A mean-field q under a prior of layers: one group, not one log q a layer."""
    model = decoder()
    q = posteriors.Amortized(families.DiagGaussian(3), data_dim=2, widths=(), key=KEY)
    chosen = Inference(model, q, objectives.ELBO(3, kl="sampled"), gradients.Reparam())
    terms = chosen.objective.draw(model, chosen.q(ROW, key=KEY), ROW, key=KEY, share=1.0)
    assert terms.log_q.shape == terms.log_prior.shape == (3, 1)
    np.testing.assert_allclose(chosen.objective.bound(terms), terms.log_w.mean(), rtol=1e-5)


# ---------------------------------------------------------------- gradients

PAIRS = {
    "stl": (objectives.ELBO(2), gradients.StickTheLanding()),
    "loo": (objectives.ELBO(4), gradients.ScoreFunction(gradients.LeaveOneOut())),
    "dreg": (objectives.IWAE(2), gradients.DoublyReparam()),
}


def gradients_of(chosen: Inference, keys):
    """Single gradients in (model, posterior), stacked."""
    parts = (chosen.model, chosen.posterior)
    params, static = eqx.partition(parts, trainable(parts))

    def surrogate(params, key):
        own = eqx.tree_at(lambda i: (i.model, i.posterior), chosen, eqx.combine(params, static))
        return own.gradient(own, ROW, key=key, step=jnp.asarray(0), num_data=1, state=None).surrogate

    return jax.jit(jax.vmap(jax.grad(surrogate), (None, 0)))(params, keys)


def mean_gradient(chosen: Inference, keys):
    each = jax.tree.leaves(gradients_of(chosen, keys))
    flat = np.concatenate([np.asarray(leaf, np.float64).reshape(len(keys), -1) for leaf in each], 1)
    return flat.mean(0), flat.std(0) / len(keys) ** 0.5


def test_doubly_reparameterized_at_the_exact_posterior():
    """Through all layers: no gradient in q, draw by draw, and that of log p(x) in the model."""
    model, q = exact_top_down()
    chosen = Inference(model, q, objectives.IWAE(32), gradients.DoublyReparam())
    of_model, of_posterior = gradients_of(chosen, jax.random.split(KEY, 4000))
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(of_posterior)) < 1e-3
    x = jnp.asarray(ROW.x)

    def evidence(a, w):
        cov = (a**2 + SQ**2) * jnp.outer(w, w) + SX**2 * jnp.eye(2)
        return -0.5 * (x @ jnp.linalg.solve(cov, x) + jnp.linalg.slogdet(2 * jnp.pi * cov)[1])

    exact = np.hstack(jax.grad(evidence, (0, 1))(A, jnp.asarray(W)))
    seen = np.column_stack(
        [
            -of_model.prior.rungs[1].net.layers[0].weight[:, 0, 0],
            -of_model.net.layers[0].weight[:, :, 0],
        ]
    )
    assert (np.abs(seen.mean(0) - exact) < 4.5 * seen.std(0) / 4000**0.5).all()
    assert np.linalg.norm(exact) > 20 * np.linalg.norm(seen.std(0) / 4000**0.5)


@pytest.mark.parametrize("pair", ["stl", "dreg"])
def test_the_prior_within_q_cancels(pair):
    """At the exact posterior what is left of log w is log p(x | z₂): z₁ and its narrow prior add no noise."""
    model, q = exact_top_down()
    of_model, _ = gradients_of(Inference(model, q, *PAIRS[pair]), jax.random.split(KEY, 2000))
    seen = -of_model.prior.rungs[1].net.layers[0].weight[:, 0, 0]
    x, spread = jnp.asarray(ROW.x), SQ**2 * np.outer(W, W) + SX**2 * np.eye(2)
    precision = 1 + A**2 * W @ np.linalg.solve(spread, W)
    z2 = np.random.default_rng(0).normal(
        A * W @ np.linalg.solve(spread, ROW.x) / precision, precision**-0.5, (4000, 2)
    )
    # log p(x | z₂) is Gaussian about a z₂ W, so its slope in a is z₂ W' S⁻¹ (x − a z₂ W)
    slopes = z2 * (np.linalg.solve(spread, W) @ (x[:, None] - A * W[:, None] * z2.reshape(1, -1))).reshape(
        z2.shape
    )
    np.testing.assert_allclose(seen.std(), slopes.mean(1).std(), rtol=0.1)
    np.testing.assert_allclose(seen.mean(), slopes.mean(), atol=4 * seen.std() / 2000**0.5)


@pytest.mark.parametrize(("name", "pair"), [("TopDown", "stl"), ("TopDown", "dreg"), ("BottomUp", "loo")])
def test_gradients_agree_with_reparameterization(name, pair):
    objective, estimator = PAIRS[pair]
    one, other = inference(name, objective, estimator), inference(name, objective)
    assert one.check().kind == "unbiased"
    keys = jax.random.split(KEY, 20_000)
    (ours, se), (theirs, other_se) = mean_gradient(one, keys[:10_000]), mean_gradient(other, keys[10_000:])
    assert (np.abs(ours - theirs) < 4.5 * np.hypot(se, other_se) + 1e-5).all()
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)


# ---------------------------------------------------------------- refusals


def test_what_has_no_layers_is_refused():
    flat = models.Decoder(2, 2, widths=(), key=KEY)
    for make in (posteriors.TopDown, posteriors.BottomUp):
        with pytest.raises(CombinationError, match=r"posteriors\.Amortized"):
            make(like=flat, key=KEY)
    layered = decoder()
    with pytest.raises(CombinationError, match=r"TopDown\(like=model\)"):
        Inference(decoder(dims=(1, 1)), posterior("TopDown", layered), objectives.ELBO(), gradients.Reparam())
    with pytest.raises(CombinationError, match="kl='sampled'"):
        inference("BottomUp", objectives.ELBO(kl="analytic"))
    with pytest.raises(CombinationError, match=r"free_bits has 3 numbers, z has 2 latent groups"):
        inference(objective=objectives.ELBO(free_bits=(1.0, 0.0, 0.0)))
    with pytest.raises(InputError, match="two or more"):
        models.priors.Hierarchical((3,), key=KEY)
    with pytest.raises(InputError, match="positive whole numbers"):
        models.priors.Ladder((3, 0), key=KEY)
    assert isinstance(layered.prior_of(None), dist.TopDownGaussian)
