"""A bound that falls at once and stays down is said; noise, trends and falls that mend are not."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import jensen as jn
from jensen.fit.falls import lasting_fall

NOISE = np.random.default_rng(0).normal(0.0, 1.0, 1_000)


def test_a_fall_that_lasts():
    bound = NOISE - 80.0
    bound[600] = -1e9
    bound[601:] -= 100.0
    fall = lasting_fall(bound)
    assert fall is not None and fall.step == 601 and fall.lowest == -1e9
    assert abs(fall.before + 80) < 1 and abs(fall.after + 180) < 1
    assert "clip" in str(fall)


@pytest.mark.parametrize(
    "bound",
    [
        NOISE,
        NOISE - np.linspace(0, 500, 1_000),  # a schedule that trades the bound away
        NOISE - 1e9 * (np.arange(1_000) == 600),  # one bad row, no harm done
        NOISE + 1e3 * (np.arange(1_000) > 600),
        np.zeros(1_000),
        NOISE[:150] - 1e3 * (np.arange(150) > 100),  # too short to tell
    ],
    ids=["noise", "trend", "mended", "rise", "still", "short"],
)
def test_what_is_none(bound):
    assert lasting_fall(bound) is None


def test_a_fit_says_so():
    x = np.random.default_rng(0).normal(size=(64, 2))
    inference = jn.Inference(
        jn.models.Gaussian(2), jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic()
    )
    leap = optax.sgd(lambda step: jax.numpy.where(step == 150, 500.0, 1e-6))
    with pytest.warns(jn.errors.JensenWarning, match="fell from .* at step 152"):
        fitted = jn.fit.gradient(
            inference, x, key=jax.random.key(0), optimizer=leap, steps=400, batch_size=16
        )
    assert "at step 152" in fitted.history.events[-1]
