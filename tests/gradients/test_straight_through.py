"""Straight-through gradients: exact where the loss is linear in z, biased elsewhere, and said so."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import dist, families, gradients, models, objectives, posteriors
from jensen.core import AbstractLatentModel, Datum, Inference
from jensen.errors import CombinationError
from jensen.nets import trainable

KEY = jax.random.key(0)
ROW = Datum(jnp.array([1.0, -0.5, 0.7]))


class Linear(AbstractLatentModel):
    """log p(x | z) = w·z: linear, so that the gradient through the mean is the gradient of the mean."""

    weight: Any
    prior_law = dist.OneHot

    def prior_of(self, cond):
        return dist.OneHot(jnp.zeros((2, 3)))

    def log_likelihood(self, z, datum):
        return self.weight @ z

    def log_joint(self, z, datum):
        return self.prior_of(None).log_prob(z).sum() + self.log_likelihood(z, datum)


def gradient(inference: Inference, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean gradient in the posterior's numbers, and its standard error."""
    params, static = eqx.partition(inference.posterior, trainable(inference.posterior))

    def one(key):
        def loss(params):
            own = eqx.tree_at(lambda i: i.posterior, inference, eqx.combine(params, static))
            return own.gradient(own, ROW, key=key, step=jnp.asarray(0), num_data=1, state=None).surrogate

        return jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(jax.grad(loss)(params))])

    each = jax.jit(jax.vmap(one))(jax.random.split(KEY, draws))
    return np.asarray(each.mean(0)), np.asarray(each.std(0)) / np.sqrt(draws)


def encoder() -> Any:
    q = posteriors.Amortized(families.OneHot(3, 2), data_dim=3, widths=(), key=KEY)
    return eqx.tree_at(lambda q: q.net.layers[0].weight, q, jax.random.normal(KEY, (6, 3)))


def test_exact_where_the_loss_is_linear():
    with pytest.warns(match="Linear"):
        pair = [
            Inference(Linear(jnp.arange(6.0)), encoder(), objectives.ELBO(), g)
            for g in (gradients.StraightThrough(), gradients.Enumerate())
        ]
    mean, se = gradient(pair[0], 20_000)
    exact, _ = gradient(pair[1], 1)
    assert (np.abs(mean - exact) <= 4.5 * se + 1e-5).all()


def test_biased_elsewhere_and_pointing_the_right_way():
    model = models.Decoder(3, prior=models.priors.OneHot(3, 2), likelihood="gaussian", widths=(8,), key=KEY)
    net = jax.tree.map(lambda a: 1.5 * a if eqx.is_inexact_array(a) else a, model.net)
    model = eqx.tree_at(lambda m: m.net, model, net)
    straight = Inference(model, encoder(), objectives.ELBO(), gradients.StraightThrough())
    assert straight.check().kind == "biased"
    mean, se = gradient(straight, 50_000)
    exact, _ = gradient(Inference(model, encoder(), objectives.ELBO(), gradients.Enumerate()), 1)
    bias = np.linalg.norm(mean - exact) / np.linalg.norm(exact)
    cosine = mean @ exact / np.linalg.norm(mean) / np.linalg.norm(exact)
    print(f"relative bias {bias:.3f}, cosine {cosine:.3f}")
    assert np.abs((mean - exact) / (se + 1e-9)).max() > 10
    assert cosine > 0.5 and bias < 1.0


def test_samples_stay_hard():
    law = dist.OneHot(jax.random.normal(KEY, (2, 3)))
    hard, log_q = law.sample_and_log_prob(key=KEY)
    soft, soft_log_q = law.straight_through().sample_and_log_prob(key=KEY)
    np.testing.assert_array_equal(hard, soft)
    np.testing.assert_allclose(log_q, soft_log_q)
    through = jax.jacobian(lambda l: dist.OneHot(l).straight_through().sample_and_log_prob(key=KEY)[0])(
        law.logits
    )
    of_mean = jax.jacobian(lambda l: dist.OneHot(l).mean)(law.logits)
    np.testing.assert_allclose(through, of_mean, atol=1e-6)


def test_laws_it_cannot_help_are_refused():
    elbo = objectives.ELBO()
    vae = models.Decoder(3, 2, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=3, widths=(), key=KEY)
    with pytest.raises(CombinationError, match=r"gradients\.Reparam"):
        Inference(vae, q, elbo, gradients.StraightThrough())
    category = models.Decoder(
        3, prior=models.priors.Categorical(2), likelihood="gaussian", widths=(), key=KEY
    )
    q = posteriors.Amortized(families.Categorical(2), data_dim=3, widths=(), key=KEY)
    with pytest.raises(CombinationError, match=r"families\.OneHot"):
        Inference(category, q, elbo, gradients.StraightThrough())
