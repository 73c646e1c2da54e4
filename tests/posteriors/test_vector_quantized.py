"""Vector quantization: its bound is a true one, its gradients are those it claims, its codes are used."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import datasets, diagnose, dist, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum
from jensen.diagnose.decompose import Seen
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)
PAGE = Path(__file__).parents[2] / "docs/models/vector_quantized.md"
K, V, D, COLUMNS = 3, 2, 2, 5
X = jnp.array([1.0, 0.0, 1.0, 1.0, 0.0])


def inference(weights=(1.0, 0.25), codes=K):
    to_codes, to_model, to_q = jax.random.split(KEY, 3)
    prior = models.priors.Codebook(codes, V, D, key=to_codes)
    prior = eqx.tree_at(lambda p: p.logits, prior, jax.random.normal(to_codes, (V, codes)))
    model = models.Decoder(COLUMNS, prior=prior, widths=(), key=to_model)
    q = posteriors.VectorQuantized(V, D, data_dim=COLUMNS, widths=(), weights=weights, key=to_q)
    return jn.Inference(model, q, objectives.ELBO(), gradients.StraightThrough())


def surrogate(own, x=X):
    out = own.gradient(own, Datum(x), key=KEY, step=jnp.asarray(0), num_data=1, state=None)
    return out.surrogate


def test_the_bound_is_log_p_of_x_and_its_code_and_below_the_evidence():
    own = inference()
    q = own.q(Datum(X), key=KEY)
    logits = own.model.net(q.places[q.chosen].reshape(-1))
    by_hand = jnp.sum(X * logits - jnp.logaddexp(0, logits)) + sum(
        jax.nn.log_softmax(own.model.prior.logits)[v, q.chosen[v]] for v in range(V)
    )
    bound = own.bound(Datum(X), key=KEY)
    np.testing.assert_allclose(bound, by_hand, rtol=1e-5)
    np.testing.assert_allclose(bound, own.model.log_joint(q.mean, Datum(X)), rtol=1e-5)
    seen = diagnose.evidence(own, X[None], key=KEY)
    assert seen.method == "enumerate" and seen.value > bound
    gap = diagnose.gap(own, X[None], key=KEY)
    np.testing.assert_allclose(gap.total.value, seen.value - float(bound), rtol=1e-3)
    assert not any("single point" in flag for flag in gap.flags)
    coarse = inference(codes=100)
    many = diagnose.gaps({"one": coarse, "same": coarse}, X[None], key=KEY)
    for each in many.by_name.values():
        assert sum("single point" in flag for flag in each.flags) == 1
    # Σ_z p(z) = 1 over the codes, and the best code is no better than all together
    law = own.model.prior_of(None)
    log_p = jax.vmap(law.log_prob)(law.support()).sum(-1)
    np.testing.assert_allclose(jax.scipy.special.logsumexp(log_p), 0.0, atol=1e-5)


def test_of_several_posteriors_a_point_does_not_give_the_evidence(monkeypatch):
    module = importlib.import_module("jensen.diagnose.gaps")
    asked = []

    def decompose(inference, *args, known, **options):
        asked.append((type(inference.posterior).__name__, None if known is None else known.pointed))
        return object.__new__(diagnose.Gap), Seen(inference.model, None, KEY, None, inference.posterior, None)

    monkeypatch.setattr(module, "decompose", decompose)
    point = inference(codes=100)
    q = posteriors.Amortized(families.DiagGaussian(V), data_dim=COLUMNS, widths=(), key=KEY)
    other = eqx.tree_at(lambda i: i.posterior, point, q)  # stands for a law over codes with a width
    assert list(module.gaps({"point": point, "wide": other}, X[None], key=KEY).by_name) == ["point", "wide"]
    module.gaps({"point": point, "same": point}, X[None], key=KEY)
    assert asked == [
        ("Amortized", None), ("VectorQuantized", False), ("VectorQuantized", None), ("VectorQuantized", True)
    ]  # fmt: skip


def test_the_nearest_code_is_chosen_and_the_point_has_mean_square_one():
    own = inference()
    q = own.q(Datum(X), key=KEY)
    assert isinstance(q, dist.NearestCode)
    np.testing.assert_allclose((q.encoded**2).mean(-1), 1.0, rtol=1e-4)
    far = np.linalg.norm(np.asarray(q.encoded)[:, None] - np.asarray(q.places), axis=-1)
    np.testing.assert_array_equal(q.chosen, far.argmin(-1))
    assert q.log_prob(q.mean).tolist() == [0.0, 0.0]
    other = q.places[(q.chosen + jnp.array([0, 1])) % K].reshape(-1)
    assert q.log_prob(other).tolist() == [0.0, -np.inf]


def test_gradients_are_the_bounds_own_in_the_model_and_straight_through_in_the_network():
    own = inference(weights=(0.0, 0.0))
    of = eqx.filter_grad(surrogate)(own)
    q = own.q(Datum(X), key=KEY)

    def loss(model):
        z = model.prior.places[q.chosen].reshape(-1)
        return -model.log_joint(z, Datum(X))

    exact = eqx.filter_grad(loss)(own.model)
    for a, b in zip(jax.tree.leaves(of.model), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert float(jnp.abs(exact.prior.places).sum()) > 0
    along = jax.grad(lambda z: -own.model.log_likelihood(z, Datum(X)))(q.mean)
    network = eqx.filter_grad(lambda p: (p.points(Datum(X)).reshape(-1) * along).sum())(own.posterior)
    np.testing.assert_allclose(
        of.posterior.net.layers[0].weight, network.net.layers[0].weight, rtol=1e-4, atol=1e-6
    )


def test_the_penalty_pulls_codes_to_points_and_points_to_codes():
    plain, pulled = (eqx.filter_grad(surrogate)(inference(weights=w)) for w in ((0.0, 0.0), (1.0, 0.25)))
    own = inference()
    q = own.q(Datum(X), key=KEY)
    wanted = np.zeros((K, D))
    for v, k in enumerate(np.asarray(q.chosen)):
        wanted[k] += 2 * np.asarray(q.places[k] - q.encoded[v])
    np.testing.assert_allclose(pulled.model.prior.places - plain.model.prior.places, wanted, atol=1e-5)

    def commitment(p):
        return 0.25 * jnp.sum((q.places[q.chosen] - p.points(Datum(X))) ** 2)

    more = pulled.posterior.net.layers[0].weight - plain.posterior.net.layers[0].weight
    np.testing.assert_allclose(
        more, eqx.filter_grad(commitment)(own.posterior).net.layers[0].weight, rtol=1e-3, atol=1e-5
    )


def test_what_does_not_fit_is_refused():
    own, draw = inference(), posteriors.VectorQuantized(V, 3, data_dim=COLUMNS, widths=(), key=KEY)
    elbo, through = objectives.ELBO(), gradients.StraightThrough()
    with pytest.raises(
        CombinationError, match=r"2 points of length 3, .* use posteriors.VectorQuantized\(2, 2\)"
    ):
        jn.Inference(own.model, draw, elbo, through)
    with pytest.raises(CombinationError, match="q is a single point"):
        jn.Inference(own.model, own.posterior, objectives.IWAE(2), through)
    with pytest.raises(CombinationError, match=r"use gradients.StraightThrough\(\)"):
        jn.Inference(own.model, own.posterior, elbo, gradients.ScoreFunction())
    with pytest.raises(CombinationError, match="has no codebook"):
        jn.Inference(models.Decoder(COLUMNS, 4, widths=(), key=KEY), own.posterior, elbo, through)
    plain = posteriors.Amortized(jn.families.DiagGaussian(2), data_dim=COLUMNS, widths=(), key=KEY)
    real = jn.Inference(models.Decoder(COLUMNS, 2, widths=(), key=KEY), plain, elbo, gradients.Reparam())
    with pytest.raises(InputError, match="Amortized takes no codes"):
        diagnose.codes(real, X[None], key=KEY)
    with pytest.raises(InputError, match="weights are"):
        posteriors.VectorQuantized(V, D, data_dim=COLUMNS, weights=(1.0, -1.0), key=KEY)


def test_digits_are_learned_with_every_code_used(tmp_path):
    x = (datasets.load("digits").x > 0.5).astype(np.float32)
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    names = {"key": KEY}
    exec(block, names)
    fitted = fit.gradient(
        names["quantized"], x[:1500], key=KEY, optimizer=optax.adam(3e-3), epochs=15, batch_size=100,
    )  # fmt: skip
    test = x[1500:]
    share = np.clip(x[:1500].mean(0), 1e-3, 1 - 1e-3)
    independent = (test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    bound = fit.evaluate(fitted.inference, test, key=KEY)
    assert bound.mean() > independent + 2.5
    codes = use.encode(fitted, test)
    assert codes.shape == (len(test), 16)
    seen = diagnose.collapse(fitted, test, key=KEY)
    # q is one point: its information is −log of how many rows share their codes, the KL −log p of the codes
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    np.testing.assert_allclose(seen.information.value, np.log(len(test) / sizes[inverse]).mean(), rtol=1e-4)
    by_latent = [
        np.unique(own, axis=0, return_counts=True)[1] for own in codes.reshape(-1, 4, 4).swapaxes(0, 1)
    ]
    taken = diagnose.codes(fitted, test, key=KEY)
    assert taken.used == 8 and taken.counts.sum() == codes.size / 4
    for own, counts, perplexity in zip(by_latent, taken.counts, taken.perplexities, strict=True):
        np.testing.assert_array_equal(np.sort(counts[counts > 0]), np.sort(own))
        share = own / own.sum()
        np.testing.assert_allclose(np.log(perplexity), -(share * np.log(share)).sum(), rtol=1e-6)
    fitted.save(tmp_path / "run")
    again = fit.load(tmp_path / "run")
    np.testing.assert_array_equal(fit.evaluate(again.inference, test, key=KEY), bound)
