"""A convolutional autoencoder: it starts at the data's means, learns digits, and is kept."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
import optax

import jensen as jn
from jensen import datasets, families, fit, gradients, models, nets, objectives, posteriors

KEY = jax.random.key(0)
SHAPE, LATENT = (8, 8), 4


def inference():
    to_model, to_q = jax.random.split(KEY)
    sizes = {"channels": (8, 16), "key": to_model}
    model = models.Decoder(64, LATENT, net=nets.ConvDecoder(LATENT, SHAPE, **sizes), key=to_model)
    net = nets.ConvEncoder(SHAPE, 2 * LATENT, channels=(8, 16), key=to_q).quiet()
    q = posteriors.Amortized(families.DiagGaussian(LATENT), data_dim=64, net=net, key=to_q)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def test_digits_are_learned_and_the_fit_is_kept(tmp_path):
    x = (datasets.load("digits").x > 0.5).astype(np.float32)
    train, test = x[:1500], x[1500:]
    fitted = fit.gradient(inference(), train, key=KEY, optimizer=optax.adam(3e-3), epochs=12, batch_size=100)
    share = np.clip(train.mean(0), 1e-3, 1 - 1e-3)
    independent = (test * np.log(share) + (1 - test) * np.log(1 - share)).sum(1).mean()
    bound = fit.evaluate(fitted.inference, test, key=KEY)
    assert bound.mean() > independent + 1.5
    fitted.save(tmp_path / "run")
    again = fit.load(tmp_path / "run").inference
    assert isinstance(again.model.net, nets.ConvDecoder)
    np.testing.assert_array_equal(fit.evaluate(again, test, key=KEY), bound)


def test_the_decoder_starts_at_the_column_means():
    x = np.concatenate([np.ones((3, 64)), np.zeros((1, 64))]).astype(np.float32)
    started = inference().model.initialize_from(jn.core.Datum(x), key=KEY)
    silent = eqx.tree_at(lambda m: m.net.layers[-1].weight, started, 0 * started.net.layers[-1].weight)
    row = silent.likelihood(jax.numpy.zeros(LATENT), None)
    np.testing.assert_allclose(row.mean, 0.75, atol=0.05)
