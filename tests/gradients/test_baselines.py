"""What baselines learn, and that a fit trains and remembers them."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors
from jensen.core import Datum
from jensen.errors import CombinationError, InputError

KEY = jax.random.key(0)


def test_a_running_mean_is_an_average_that_forgets():
    baseline, memory = gradients.RunningMean(decay=0.5), gradients.RunningMean().start()
    assert float(baseline.foretell(Datum(jnp.ones(1)), memory)) == 0.0
    losses = [4.0, 2.0, 8.0]
    for loss in losses:
        _, memory = baseline.learn(Datum(jnp.ones(1)), jnp.asarray(loss), memory)
    weights = np.array([0.125, 0.25, 0.5])
    expected = weights @ losses / weights.sum()
    np.testing.assert_allclose(baseline.foretell(Datum(jnp.ones(1)), memory), expected, rtol=1e-6)


def test_learned_tells_data_apart():
    """Losses of 100 + 5 x: the running mean is off by 2.5 on either datum."""
    baseline = gradients.Learned(1, widths=(), decay=0.9, key=KEY)
    optimizer = optax.adam(0.05)
    params, static = eqx.partition(baseline, eqx.is_inexact_array)

    def step(carry, key):
        params, state, memory = carry
        x = jax.random.bernoulli(key, shape=(16,)).astype(float)

        def loss(params):
            own = eqx.combine(params, static)
            each, memories = jax.vmap(lambda x: own.learn(Datum(x[None]), 100 + 5 * x, memory))(x)
            return each.mean(), jax.tree.map(lambda leaf: leaf.mean(0), memories)

        grads, memory = jax.grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(grads, state)
        return (optax.apply_updates(params, updates), state, memory), None

    start = (params, optimizer.init(params), baseline.start())
    (params, _, memory), _ = jax.lax.scan(step, start, jax.random.split(KEY, 300))
    taught = eqx.combine(params, static)
    told = [float(taught.foretell(Datum(jnp.array([x])), memory)) for x in (0.0, 1.0)]
    print(told, float(memory.expected()), float(memory.spread()))
    np.testing.assert_allclose(told, [100, 105], atol=1.0)


def test_learned_sums_over_the_real_steps_of_a_sequence():
    baseline = gradients.Learned(2, widths=(), key=KEY)
    x = jax.random.normal(KEY, (3, 2))
    told = baseline.foretell(Datum(x, steps=jnp.asarray(2)), baseline.start())
    apart = sum(baseline.foretell(Datum(row), baseline.start()) for row in x[:2])
    np.testing.assert_allclose(told, apart, rtol=1e-5)
    with pytest.raises(InputError, match="x has 3 columns, data_dim is 2"):
        baseline.foretell(Datum(jnp.ones(3)), baseline.start())


def binary(gradient, objective=None):
    model = models.Decoder(3, prior=models.priors.Bernoulli(2), widths=(), key=KEY)
    q = posteriors.Amortized(families.Bernoulli(2), data_dim=3, widths=(), key=KEY)
    return jn.Inference(model, q, objective or objectives.ELBO(), gradient)


def test_a_fit_trains_the_network():
    inference = binary(gradients.ScoreFunction(gradients.Learned(3, widths=(), key=KEY)))
    x = np.random.default_rng(0).integers(0, 2, (8, 3)).astype(np.float32)
    fitted = jn.fit.gradient(inference, x, key=KEY, optimizer=optax.adam(0.01), steps=3, batch_size=4)
    before, after = (i.gradient.baseline.net.layers[0].weight for i in (inference, fitted.inference))
    assert np.isfinite(after).all() and (np.asarray(before) != np.asarray(after)).all()


def test_an_arithmetic_mean_needs_weights_under_one_logarithm():
    gradient = gradients.ScoreFunction(gradients.LeaveOneOut("arithmetic"))
    with pytest.raises(CombinationError, match=r"use gradients\.LeaveOneOut\(\)"):
        binary(gradient, objectives.ELBO(2))
    assert binary(gradient, objectives.IWAE(2)).check().kind == "unbiased"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gradients.RunningMean(1.0), "decay is 1"),
        (lambda: gradients.Learned(0, key=KEY), "data_dim is 0"),
        (lambda: gradients.LeaveOneOut("harmonic"), "harmonic"),
    ],
)
def test_arguments_are_checked(make, text):
    with pytest.raises(Exception, match=text):
        make()


def test_learned_reads_the_condition_too():
    baseline = gradients.Learned(2, cond_dim=1, widths=(), key=KEY)
    memory = baseline.start()
    x, one, two = jnp.ones(2), jnp.ones(1), 2 * jnp.ones(1)
    a, b = (float(baseline.foretell(Datum(x, cond), memory)) for cond in (one, two))
    weight = float(baseline.net.layers[0].weight[0, 2])
    assert b - a == pytest.approx(weight, rel=1e-4) and weight != 0
    path = Datum(jnp.ones((3, 2)), jnp.array([[1.0], [2.0]]))  # the last step has no action
    nothing = float(baseline.foretell(Datum(x, jnp.zeros(1)), memory))
    assert float(baseline.foretell(path, memory)) == pytest.approx(a + b + nothing, rel=1e-4)
    with pytest.raises(InputError, match=r"cond must have 1 columns, got shape \(\)"):
        baseline.foretell(Datum(x), memory)
    with pytest.raises(InputError, match="cond_dim is -1"):
        gradients.Learned(2, cond_dim=-1, key=KEY)
