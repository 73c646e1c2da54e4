"""Bits drawn anew from intensities at each step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import InputError

KEY = jax.random.key(0)
X = np.tile([0.0, 0.2, 0.9, 1.0], (6, 1))
pytestmark = pytest.mark.filterwarnings("ignore:x. constant column")


def inference() -> jn.Inference:
    model = models.Decoder(4, 1, likelihood="bernoulli", widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=4, widths=(), key=KEY)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def climb(inference, x, steps):
    bits = fit.DynamicBinarization()
    return fit.gradient(inference, x, key=KEY, optimizer=optax.adam(0.03), steps=steps, batches=bits)


def test_bits_follow_their_intensities_and_are_drawn_anew():
    """Means over epochs come to the intensities; two visits of a row, and two rows, get noise of their own."""
    plan = fit.DynamicBinarization().plan(fit.Data(X), 3)
    rows = Datum(jnp.asarray(X, jnp.float32))
    epochs = jax.random.split(KEY, 500)

    def bits(key, place):
        return plan.pick(rows, plan.order(rows, key=key), place, 0).x

    drawn = np.asarray(jax.vmap(lambda key: jnp.stack([bits(key, jnp.asarray(i)) for i in (0, 1)]))(epochs))
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean((0, 1, 2)), X[0], atol=4 * 0.4 / 3000**0.5)
    first, second = drawn[..., 1].reshape(2, -1, 6)[0], drawn[..., 1].reshape(2, -1, 6)[1]
    assert not np.array_equal(first, second)
    pairs = np.corrcoef(drawn[..., 1].reshape(500, 6).T)
    assert np.abs(pairs - np.eye(6)).max() < 0.2


def test_a_fit_learns_the_intensities():
    """The bound comes near the entropy of the bits, which a fit to one draw of them would beat."""
    x = np.tile([[0.2, 0.2, 0.2, 0.2]], (8, 1))
    fitted = climb(inference(), x, 400)
    entropy = -4 * (0.2 * np.log(0.2) + 0.8 * np.log(0.8))
    assert fitted.history.bound[-200:].mean() == pytest.approx(-entropy, abs=0.1)


@pytest.mark.parametrize(
    ("data", "batch", "message"),
    [
        ({"x": 255 * X}, None, "divide bytes by 255"),
        ({"x": X[None]}, None, "rows"),
        ({"x": X, "mask": X > 0.5}, None, "missing"),
        ({"x": X}, 7, "between 1 and the 6 rows"),
    ],
)
def test_what_is_no_intensity_is_refused(data, batch, message):
    with pytest.raises(InputError, match=message):
        fit.DynamicBinarization().plan(fit.Data(**data), batch)


def test_bits_still_have_to_be_in_the_support_of_the_model():
    with pytest.raises(InputError, match="X has 3 features"):
        climb(inference(), X[:, :3], 1)


def test_restarts_are_scored_on_bits():
    best = fit.best_of(
        lambda key: inference(),
        X,
        restarts=2,
        by=fit.gradient,
        key=KEY,
        optimizer=optax.adam(1e-3),
        steps=1,
        batches=fit.DynamicBinarization(),
    )
    assert best.restarts is not None and np.isfinite(best.restarts).all()
