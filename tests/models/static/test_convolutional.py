"""A convolutional autoencoder: it starts at the data's means, learns digits, and is kept."""

from __future__ import annotations

import re
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import optax

import jensen as jn
from jensen import datasets, fit, nets

KEY = jax.random.key(0)
LATENT = 4
PAGE = Path(__file__).parents[3] / "docs/models/convolutional.md"


def inference():
    """The example of the page."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    names = {"key": KEY}
    exec(block, names)
    return names["convolutional"]


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
