from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms.ais import lower, schedule, upper
from jensen.algorithms.hmc import Path
from jensen.algorithms.pilot import equal_length, gaussian_moments, gaussian_path, tune

D = 6
RNG = np.random.default_rng(0)
ROOT = 0.5 * RNG.normal(size=(D, D)) / np.sqrt(D) + np.diag(np.linspace(0.5, 1.2, D))
COV = ROOT @ ROOT.T
MEAN = RNG.normal(size=D)
TRIL = jnp.asarray(np.linalg.cholesky(COV), jnp.float32)
WHITEN = jnp.asarray(np.linalg.inv(np.linalg.cholesky(COV)), jnp.float32)
WIDTH = jnp.asarray(1.0 / np.sqrt(np.diag(np.linalg.inv(COV))), jnp.float32)  # optimal mean-field
LOG_P = -3.25


def _log_target(z):
    r = WHITEN @ (z - jnp.asarray(MEAN, jnp.float32))
    return LOG_P - 0.5 * jnp.sum(r**2) - jnp.sum(jnp.log(jnp.diag(TRIL))) - 0.5 * D * jnp.log(2 * jnp.pi)


def _path():
    mean = jnp.asarray(MEAN, jnp.float32) + 0.3 * WIDTH
    return Path(
        lambda key: mean + WIDTH * jax.random.normal(key, (D,)),
        lambda z: jnp.sum(-0.5 * ((z - mean) / WIDTH) ** 2 - jnp.log(WIDTH) - 0.5 * jnp.log(2 * jnp.pi)),
        _log_target,
    )


def test_moments_of_a_gaussian_are_exact_from_points_drawn_anywhere():
    z = 2.0 + 0.7 * jax.random.normal(jax.random.key(0), (3 * D, D))
    mean, tril = gaussian_moments(z, jax.vmap(jax.grad(_log_target))(z), ridge=1e-6)
    np.testing.assert_allclose(mean, MEAN, atol=2e-2)
    np.testing.assert_allclose(tril @ tril.T, COV, atol=2e-2 * np.abs(COV).max())


def test_temperatures_crowd_where_the_ratio_varies():
    betas = schedule(20, "linear")
    moved = equal_length(betas, 1.0 / (0.05 + betas), 20)
    gaps = np.diff(np.asarray(moved))
    assert moved[0] == 0 and moved[-1] == 1 and (gaps > 0).all()
    assert gaps[0] < 0.4 * gaps[-1]
    np.testing.assert_allclose(equal_length(betas, jnp.zeros(21), 20), betas, atol=1e-6)


@pytest.mark.slow
def test_pilot_finds_metric_steps_and_a_tight_bracket():
    def run(key):
        first, exact, below, above, gauss = jax.random.split(key, 5)
        path = _path()
        tuned = tune(path, schedule(40), num_leapfrog=3, key=first)
        z = jnp.asarray(MEAN, jnp.float32) + TRIL @ jax.random.normal(exact, (D,))
        low = lower(path, tuned.kernels, num_chains=1, num_leapfrog=3, key=below)
        high = upper(path, tuned.kernels, z, num_chains=1, num_leapfrog=3, key=above)
        start = gaussian_path(path, tuned.posterior)
        draws = jax.vmap(start.sample_q)(jax.random.split(gauss, 8))
        flat = jax.vmap(lambda z: start.log_joint(z) - start.log_q(z))(draws)
        return tuned, low, high, flat

    tuned, low, high, flat = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), 100))
    end = jax.vmap(lambda metric: metric.scale(jnp.float32(1.0)))(tuned.kernels.metric)
    np.testing.assert_allclose(jnp.mean(end @ end.swapaxes(-1, -2), 0), COV, atol=0.03 * np.abs(COV).max())
    np.testing.assert_allclose(
        flat, LOG_P, atol=0.1
    )  # started at the fitted Gaussian, nothing is left to anneal
    assert (jnp.diff(tuned.kernels.betas) > 0).all()
    assert 0.6 < float(low.acceptance.mean()) < 0.99
    bias = np.array([float(low.log_evidence.mean()), float(high.log_evidence.mean())]) - LOG_P
    assert -0.15 < bias[0] < 0.05 and -0.05 < bias[1] < 0.15
    assert float(jnp.std(low.log_evidence)) < 0.5


def test_pilot_survives_a_density_that_is_often_undefined():
    path = _path()
    broken = path._replace(log_joint=lambda z: jnp.where(z[0] > MEAN[0] + 0.3, jnp.nan, path.log_joint(z)))
    tuned = jax.jit(lambda key: tune(broken, schedule(10), num_leapfrog=2, key=key, settle=10))(
        jax.random.key(0)
    )
    for leaf in jax.tree.leaves(tuned):
        assert np.isfinite(np.asarray(leaf)).all()
