"""The filtering bound against linear-Gaussian evidence, and the bounds over paths beside it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum, Inference
from jensen.errors import CombinationError, InputError
from jensen.models.sequence.linear_gaussian import LinearGaussianSSM
from jensen.nets import trainable

KEY = jax.random.key(0)
T, DIM, RUNS = 4, 2, 16_000
X = jnp.asarray(np.random.default_rng(1).normal(size=(24, DIM)), jnp.float32)


def moved(tree, seed, by):
    params, static = eqx.partition(tree, trainable(tree))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda a: a + jnp.asarray(by * rng.normal(size=a.shape), a.dtype), params)
    return eqx.combine(params, static)


def affine(net, dim):
    at_zero = np.asarray(net(jnp.zeros(dim)), float)
    return np.stack([np.asarray(net(e), float) - at_zero for e in jnp.eye(dim)], 1), at_zero


def linear():
    """A deep Markov model without depth, and the same model with exact evidence."""
    net = models.NeuralStateSpace(DIM, DIM, decoder=(), transition="linear", key=KEY)
    net = moved(net, 5, 0.2)
    net = eqx.tree_at(
        lambda m: (m.likelihood_family.log_scale, m.transition_net.linear.weight),
        net,
        replace_fn=lambda a: jnp.full(DIM, 0.3) if a.ndim == 1 else 0.4 * a,
    )
    (maps, offset), (loadings, shift) = affine(net.transition_net, DIM), affine(net.net, DIM)
    noise = np.diag(np.asarray(net.initial(Datum(X)).scale, float) ** 2)
    exact = LinearGaussianSSM.with_parameters(
        maps[:DIM], noise, loadings, np.asarray(net.likelihood_family.scale, float) ** 2,
        initial=(np.asarray(net.initial(Datum(X)).loc, float), noise), offsets=(offset[:DIM], shift),
    )  # fmt: skip
    return net, exact


MODEL, EXACT = linear()


def rssm():
    return moved(
        models.RSSM(DIM, 0, deter_dim=3, latent=families.DiagGaussian(2), decoder=(4,), key=KEY), 2, 0.3
    )


def filtering(model, family=None, by=0.1):
    family = families.DiagGaussian(2) if family is None else family
    return moved(posteriors.Filtering(family, like=model, widths=(4,), key=KEY), 3, by)


def inference(objective, model=MODEL, gradient=None):
    return Inference(model, filtering(model), objective, gradient or gradients.Reparam())


def bounds(objective, num, length=T):
    own, datum = inference(objective), Datum(X[:length])
    run = jax.jit(jax.vmap(lambda key: own.bound(datum, key=key)))
    return np.asarray(run(jax.random.split(jax.random.key(7), num)), np.float64)


def log_evidence(length=T):
    return float(EXACT.log_evidence(Datum(X[:length])))


def test_the_estimate_of_p_is_unbiased():
    ratio = np.exp(bounds(objectives.FIVO(8, resample_below=0.8), RUNS) - log_evidence())
    error = ratio.std() / RUNS**0.5
    assert error < 0.01 and abs(ratio.mean() - 1) < 4.5 * error
    assert np.log(ratio).mean() < -0.01


def test_bounds_over_paths_are_ordered_and_tighten():
    elbo, few, many = (
        bounds(objective, num).mean()
        for objective, num in (
            (objectives.ELBO(8), 500), (objectives.IWAE(8), 500), (objectives.IWAE(2000), 20)
        )
    )  # fmt: skip
    assert elbo + 0.5 < few < many - 0.1
    np.testing.assert_allclose(many, log_evidence(), atol=0.05)


def test_on_long_sequences_resampling_pays():
    iwae, fivo = (bounds(made(16), 200, 24).mean() for made in (objectives.IWAE, objectives.FIVO))
    assert iwae + 0.5 < fivo < log_evidence(24)


@pytest.mark.parametrize("make", [lambda: MODEL, rssm], ids=["markov", "rssm"])
def test_weights_of_the_steps_are_the_weight_of_the_path(make):
    """Without resampling a particle is a path; padding changes no bit."""
    model = make()
    q = filtering(model)
    mask = jnp.asarray(np.random.default_rng(0).random((5, DIM)) < 0.7)

    @jax.jit
    def run(x, steps):
        datum = Datum(x, mask=mask, steps=steps)
        law, objective = q(model, datum, key=KEY), objectives.FIVO(3, resample_below=0.0)
        terms = objective.draw(model, law, datum, key=KEY, share=1.0)
        log_joint = jax.vmap(lambda z: model.log_joint(z, datum))(terms.z)
        return terms, log_joint, jax.vmap(law.log_prob)(terms.z), objective.bound(terms)

    terms, log_joint, log_q, bound = run(X[:5], 4)
    np.testing.assert_allclose(terms.log_joint, log_joint, rtol=1e-4)
    np.testing.assert_allclose(terms.log_q, log_q, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bound, jax.nn.logsumexp(terms.log_w) - np.log(3), rtol=1e-4)
    assert bound == run(X[:5].at[4].set(np.nan), 4)[3]
    assert run(X[:5], 0)[3] == 0


def test_gradients_reach_both_sides():
    own = inference(objectives.FIVO(8))
    assert own.check().kind == "biased" and "resampling" in own.check().reason
    params, static = eqx.partition(own, trainable(own))

    @jax.jit
    def slope(params):
        def loss(params):
            own = eqx.combine(params, static)
            datum = Datum(X[:5], steps=jnp.asarray(3))
            return own.gradient(own, datum, key=KEY, step=jnp.asarray(0), num_data=1, state=None).surrogate

        return jax.grad(loss)(params)

    out = slope(params)
    for side in (out.model, out.posterior):
        leaves = jax.tree.leaves(side)
        assert all(np.isfinite(leaf).all() for leaf in leaves) and any(
            np.abs(leaf).max() > 0 for leaf in leaves
        )


def test_what_cannot_be_filtered_is_refused():
    fivo = objectives.FIVO(2)
    decoder = models.Decoder(2, 2, widths=(), key=KEY)
    amortized = posteriors.Amortized(families.DiagGaussian(2), data_dim=2, widths=(), key=KEY)
    for four, words in (
        ((decoder, amortized, fivo, gradients.Reparam()), "use objectives.IWAE"),
        ((EXACT, posteriors.Exact(), fivo, gradients.Reparam()), r"posteriors\.Filtering"),
        ((MODEL, filtering(MODEL), fivo, gradients.StickTheLanding()), r"gradients\.Reparam"),
        ((MODEL, filtering(MODEL), fivo, gradients.ScoreFunction()), r"gradients\.Reparam"),
        ((MODEL, filtering(MODEL), fivo, gradients.DoublyReparam()), r"gradients\."),
    ):
        with pytest.raises(CombinationError, match=words):
            Inference(*four)
    for wrong in (lambda: objectives.FIVO(0), lambda: objectives.FIVO(2, resample_below=1.5)):
        with pytest.raises(InputError, match="FIVO"):
            wrong()
