"""Unbiasedness of both sides on a linear-Gaussian model, and planted faults that must be seen.

The z-tests use 200,000 chains whose relative weights have a standard deviation of about one, so that the limit
|z| < 4.5 detects a bias of 1.2% of p(x). `_z` asserts that it does; where a test is blunter it says so.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen.algorithms.ais as ais_module
from jensen.algorithms.ais import Kernels, ais_forward, ais_reverse, lower, schedule, upper
from jensen.algorithms.certificate import interval
from jensen.algorithms.hmc import Path, fixed_metric, metric_between
from jensen.algorithms.hmc import transition as honest_transition
from jensen.algorithms.pilot import Moments, gaussian_path, tune

CHAINS, LIMIT, D = 200_000, 4.5, 4


class Truth(NamedTuple):
    loading: jax.Array
    x: jax.Array
    mean: jax.Array
    tril: jax.Array
    log_p: float


def _model(seed=0, data_dim=5):
    """x = W z + 0.7 e: posterior and evidence in float64."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(data_dim, D)) * 0.6
    cov = np.linalg.inv(np.eye(D) + w.T @ w / 0.49)
    x = w @ rng.normal(size=D) + 0.7 * rng.normal(size=data_dim)
    c = w @ w.T + 0.49 * np.eye(data_dim)
    log_p = -0.5 * (x @ np.linalg.solve(c, x) + np.linalg.slogdet(2 * np.pi * c)[1])
    as32 = [jnp.asarray(a, jnp.float32) for a in (w, x, cov @ w.T @ x / 0.49, np.linalg.cholesky(cov))]
    return Truth(*as32, float(log_p))


TRUTH = _model()
WIDTH = jnp.sqrt(jnp.sum(TRUTH.tril**2, 1))  # a wrong q: no correlations, and off by 0.4 of a width
OFFSET = TRUTH.mean + 0.4 * WIDTH


def _log_normal(r, scale):
    return jnp.sum(-0.5 * (r / scale) ** 2 - jnp.log(scale) - 0.5 * jnp.log(2 * jnp.pi))


def _path(claimed=1.0, truth=TRUTH):
    return Path(
        lambda key: OFFSET + WIDTH * jax.random.normal(key, (D,)),
        lambda z: _log_normal(z - OFFSET, claimed * WIDTH),
        lambda z: _log_normal(truth.x - truth.loading @ z, 0.7 * jnp.ones(5)) + _log_normal(z, jnp.ones(D)),
    )


def _kernels(num=6, persistence=0.0, step=0.9):
    metric = metric_between(jnp.diag(WIDTH), TRUTH.tril)
    return Kernels(schedule(num), step * jnp.linspace(1.0, 0.8, num - 1), metric, jnp.asarray(persistence))


def _exact(key):
    return TRUTH.mean + TRUTH.tril @ jax.random.normal(key, (D,))


def _z(relative, detectable=0.012):
    """z-score of mean(relative) = 1, after asserting that a bias of ``detectable`` would reach the limit."""
    relative = np.asarray(relative, np.float64)
    assert np.isfinite(relative).all()
    error = relative.std() / np.sqrt(relative.size)
    assert LIMIT * error < max(detectable, abs(relative.mean() - 1)), "the test has no power"
    return (relative.mean() - 1) / error


def _each(run, seed, chains=CHAINS):
    keys = jax.random.split(jax.random.key(seed), chains)
    return jax.jit(lambda keys: jax.lax.map(run, keys, batch_size=20_000))(keys)


def _forward(key, path=None, kernels=None):
    run = ais_forward(path or _path(), kernels or _kernels(), num_leapfrog=2, key=key)
    return jnp.exp(run.log_weight - TRUTH.log_p)


def _reverse(key, path=None, kernels=None):
    exact, rest = jax.random.split(key)
    run = ais_reverse(path or _path(), kernels or _kernels(), _exact(exact), num_leapfrog=2, key=rest)
    return jnp.exp(TRUTH.log_p - run.log_weight)


@pytest.mark.parametrize("persistence", [0.0, 0.7])
def test_forward_is_unbiased_for_the_evidence(persistence):
    assert abs(_z(_each(lambda key: _forward(key, kernels=_kernels(persistence=persistence)), 1))) < LIMIT


@pytest.mark.parametrize("persistence", [0.0, 0.7])
def test_reverse_is_unbiased_for_its_inverse(persistence):
    assert abs(_z(_each(lambda key: _reverse(key, kernels=_kernels(persistence=persistence)), 2))) < LIMIT


def test_several_chains_stay_unbiased_on_both_sides_and_bracket_tighter():
    kernels, path = _kernels(), _path()

    def both(key, chains):
        exact, below, above = jax.random.split(key, 3)
        low = lower(path, kernels, num_chains=chains, num_leapfrog=2, key=below)
        high = upper(path, kernels, _exact(exact), num_chains=chains, num_leapfrog=2, key=above)
        return low.log_evidence - TRUTH.log_p, high.log_evidence - TRUTH.log_p

    low, high = _each(lambda key: both(key, 4), 3, 60_000)
    assert abs(_z(jnp.exp(low))) < LIMIT
    assert abs(_z(jnp.exp(-high))) < LIMIT
    one_low, one_high = _each(lambda key: both(key, 1), 4, 20_000)
    assert one_low.mean() < low.mean() < 0 < high.mean() < one_high.mean()


def test_impossible_regions_are_rejected_and_never_make_nan():
    """p(x, z) is NaN where z_0 > m_0: the evidence is half of what it was."""
    path = _path()

    def cut(z):
        return jnp.where(z[0] > TRUTH.mean[0], jnp.nan, path.log_joint(z))

    run = _each(lambda key: 2.0 * _forward(key, path=path._replace(log_joint=cut)), 5)
    assert float(jnp.mean(run == 0)) > 0.2  # many chains start outside
    assert abs(_z(run, detectable=0.025)) < LIMIT
    hopeless = path._replace(log_joint=lambda z: jnp.sum(z) * jnp.nan)
    up = ais_reverse(hopeless, _kernels(), TRUTH.mean, num_leapfrog=2, key=jax.random.key(0))
    down = ais_forward(hopeless, _kernels(), num_leapfrog=2, key=jax.random.key(0))
    assert float(up.log_weight) == np.inf and float(down.log_weight) == -np.inf


def test_transitions_really_move_and_acceptance_is_listed_by_ascending_temperature():
    kernels = _kernels(10)._replace(step_sizes=jnp.linspace(0.1, 2.2, 9))
    keys = jax.random.split(jax.random.key(0), 500)
    down = jax.vmap(lambda key: ais_forward(_path(), kernels, num_leapfrog=2, key=key))(keys)
    up = jax.vmap(lambda key: ais_reverse(_path(), kernels, _exact(key), num_leapfrog=2, key=key))(keys)
    for run in (down, up):
        rate = run.acceptance.mean(0)
        assert rate[0] > 0.95 and rate[-1] < 0.6
    assert float(jnp.linalg.norm(down.z.mean(0) - TRUTH.mean)) < float(jnp.linalg.norm(OFFSET - TRUTH.mean))


def test_linear_and_sigmoid_schedules_end_exactly_at_zero_and_one():
    for kind in ("linear", "sigmoid"):
        betas = np.asarray(schedule(37, kind))
        assert betas[0] == 0 and betas[-1] == 1 and (np.diff(betas) > 0).all()


# ---- planted faults: each must be caught by the same z-test -------------------------------------------------------


def test_fault_a_transition_adapted_inside_the_weighted_run_is_caught(monkeypatch):
    """After a rejection it tries again with a third of the step, as an impatient tuner would."""

    def adapted(path, point, momentum, beta, *, step_size, scale, num_leapfrog, key):
        first, second = jax.random.split(key)
        options = {"scale": scale, "num_leapfrog": num_leapfrog}
        large = honest_transition(path, point, momentum, beta, step_size=step_size, key=first, **options)
        small = honest_transition(path, point, momentum, beta, step_size=step_size / 3, key=second, **options)
        moved = jnp.any(large.point.z != point.z)
        return jax.tree.map(lambda a, b: jnp.where(moved, a, b), large, small)

    monkeypatch.setattr(ais_module, "transition", adapted)
    assert _z(_each(lambda key: _forward(key, kernels=_kernels(12, step=1.8)), 1)) < -LIMIT  # found: −35
    assert _z(_each(lambda key: _reverse(key, kernels=_kernels(12, step=1.8)), 1)) > LIMIT  # found: +25


def test_the_same_steps_frozen_are_not_blamed():
    assert abs(_z(_each(lambda key: _forward(key, kernels=_kernels(12, step=1.8)), 1), 0.02)) < LIMIT
    assert abs(_z(_each(lambda key: _reverse(key, kernels=_kernels(12, step=1.8)), 1), 0.02)) < LIMIT


def test_fault_a_pilot_that_saw_the_exact_draw_is_caught():
    """It centres the starting Gaussian a fifth of the way towards the draw which starts the backward chain."""

    def run(key, peek):
        exact, rest = jax.random.split(key)
        z = _exact(exact)
        start = Moments(OFFSET + peek * (z - OFFSET), jnp.diag(WIDTH))
        path = gaussian_path(_path(), start)
        return jnp.exp(TRUTH.log_p - ais_reverse(path, _kernels(), z, num_leapfrog=2, key=rest).log_weight)

    assert abs(_z(_each(lambda key: run(key, 0.0), 2))) < LIMIT
    assert _z(_each(lambda key: run(key, 0.2), 2)) > LIMIT  # 1/p overestimated: the "upper" side is too low


def test_fault_a_wrong_scale_in_log_q_is_caught():
    """With two increments; the more there are, the less the start matters and the blunter this test would be."""
    kernels = _kernels(2)
    assert abs(_z(_each(lambda key: _forward(key, kernels=kernels), 1), 0.03)) < LIMIT
    assert (
        abs(_z(_each(lambda key: _forward(key, path=_path(claimed=0.9), kernels=kernels), 1), 0.03)) > LIMIT
    )


def test_fault_noise_shared_between_data_breaks_the_certificate():
    """50 equal rows, 300 data sets: the lower end must exceed the truth in at most 2.5% of them."""
    kernels, sets, rows = _kernels(3), 300, 50

    def exceeds(keys):
        logs = jax.vmap(lambda key: ais_forward(_path(), kernels, num_leapfrog=2, key=key).log_weight)(keys)
        return np.asarray(logs, np.float64)

    own = exceeds(jax.random.split(jax.random.key(7), sets * rows)).reshape(sets, rows)
    shared = np.repeat(own[:, :1], rows, axis=1)
    above = [np.mean([interval(row, row).lower > TRUTH.log_p for row in logs]) for logs in (own, shared)]
    assert above[0] <= 0.025 and above[1] > 0.2


# ---- the pilot, then the weighted run -----------------------------------------------------------------------------


def test_a_tuned_run_is_unbiased_too():
    """Pilot and weighted run together, many times over: fresh kernels for each of 600 pilots; detects 6%."""
    path = _path()

    def run(key):
        first, exact, below, above = jax.random.split(key, 4)
        kernels = tune(path, schedule(8), num_leapfrog=2, key=first, num_chains=4, settle=4).kernels
        low = lower(path, kernels, num_chains=4, num_leapfrog=2, key=below)
        high = upper(path, kernels, _exact(exact), num_chains=4, num_leapfrog=2, key=above)
        return jnp.exp(low.log_evidence - TRUTH.log_p), jnp.exp(TRUTH.log_p - high.log_evidence)

    low, high = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(9), 600))
    assert abs(_z(low, 0.06)) < LIMIT and abs(_z(high, 0.06)) < LIMIT


def test_fixed_metric_takes_widths_or_a_triangular_scale():
    assert fixed_metric(WIDTH).scale(jnp.array(0.3)).shape == (D, D)
    np.testing.assert_allclose(fixed_metric(TRUTH.tril).scale(jnp.array(0.3)), TRUTH.tril, rtol=1e-6)
    metric = metric_between(jnp.diag(WIDTH), TRUTH.tril)
    for beta in (0.0, 0.4, 1.0):
        precision = (1 - beta) * np.diag(WIDTH**-2.0) + beta * np.linalg.inv(TRUTH.tril @ TRUTH.tril.T)
        a = np.asarray(metric.scale(jnp.float32(beta)))
        np.testing.assert_allclose(a @ a.T, np.linalg.inv(precision), rtol=2e-3, atol=1e-4)
