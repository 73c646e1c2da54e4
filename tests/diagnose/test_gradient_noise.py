from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, families, gradients, models, objectives, posteriors
from jensen.errors import InputError

KEY = jax.random.key(6)
N = 300
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)


def _inference(gradient):
    model = models.Decoder(2, 1, likelihood="gaussian", widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(), key=KEY)
    return jn.Inference(model, q, objectives.ELBO(), gradient)


def test_parts_add_up_to_the_variance_of_real_minibatch_gradients():
    inference, batch = _inference(gradients.Reparam()), 10
    out = diagnose.gradient_noise(inference, X, key=KEY, batch_size=batch, rows=None, repeats=20)
    moving, still = eqx.partition(inference, eqx.is_inexact_array)

    @jax.jit
    def gradient(key):
        pick, draw = jax.random.split(key)
        index = jax.random.permutation(pick, N)[:batch]

        def loss(moving):
            whole = eqx.combine(moving, still)

            def one(x, key):
                return whole.gradient(
                    whole, jn.Datum(x), key=key, step=jnp.zeros((), jnp.int32), num_data=N, state=None
                ).surrogate

            return jax.vmap(one)(jnp.asarray(X)[index], jax.random.split(draw, batch)).mean()

        grad = jax.grad(loss)(moving)
        return grad.model.net.layers[0].weight.reshape(-1), grad.posterior.net.layers[0].weight.reshape(-1)

    both = jax.lax.map(gradient, jax.random.split(jax.random.key(1), 20_000), batch_size=500)
    for name, seen in zip(("model.net", "posterior.net"), both, strict=True):
        group = out[name]
        if group.size != seen.shape[1]:  # the bias is in the group too
            continue
        assert group.minibatch + group.monte_carlo == pytest.approx(float(seen.var(0).sum()), rel=0.1)
    whole = sum(g.minibatch + g.monte_carlo for g in out.groups if g.name in ("model.net", "posterior.net"))
    weights_only = sum(float(seen.var(0).sum()) for seen in both)
    assert whole > 0.9 * weights_only


def test_an_exact_gradient_has_no_noise_from_draws_and_a_full_batch_none_from_picking():
    model = models.Decoder(2, prior=models.priors.OneHot(3), widths=(), key=KEY)
    q = posteriors.Amortized(families.OneHot(3), data_dim=2, widths=(), key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Enumerate())
    x = (X > 0).astype(np.float32)
    part = diagnose.gradient_noise(inference, x, key=KEY, batch_size=10, rows=None)
    assert all(g.monte_carlo < 1e-10 for g in part.groups) and part["posterior.net"].minibatch > 0
    full = diagnose.gradient_noise(inference, x, key=KEY, batch_size=N, rows=None)
    assert all(g.minibatch < 1e-12 for g in full.groups)
    assert "SNR" in str(part) and "posterior.net" in str(part)


def test_bad_requests_are_refused():
    inference = _inference(gradients.Reparam())
    with pytest.raises(InputError, match="batch_size is 301; it must lie between 1 and the 300 rows"):
        diagnose.gradient_noise(inference, X, key=KEY, batch_size=301)
    with pytest.raises(InputError, match="at least 2 rows and 2 repeats"):
        diagnose.gradient_noise(inference, X, key=KEY, batch_size=5, repeats=1)


def test_moments_of_a_finite_population_are_its_own():
    """Three rows, all looked at: the signal is the mean gradient, the noise that of picking one of them."""
    model = models.Gaussian.with_parameters(np.zeros(1), np.eye(1))
    inference = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    out = diagnose.gradient_noise(
        inference, np.array([[0.0], [2.0], [7.0]]), key=KEY, batch_size=1, rows=None, depth=3
    )
    group = out["model.components.means"]
    assert group.signal == pytest.approx(9.0, rel=1e-3)
    assert group.minibatch == pytest.approx(np.var([0.0, 2.0, 7.0]), rel=1e-3)


def test_one_z_for_all_rows_has_no_gradient_per_row():
    q = posteriors.Global(families.DiagGaussian(1), key=KEY)
    model = models.Decoder(2, 1, likelihood="gaussian", widths=(), key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match="one z is drawn for a whole batch"):
        diagnose.gradient_noise(inference, X, key=KEY, batch_size=10)
