from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jensen.algorithms.weights import (
    compensated,
    compensated_sum,
    effective_sample_size,
    log_mean_exp,
    log_mean_exp_error,
    normalized,
    standard_error,
)

logs = st.lists(st.floats(-60, 60, width=32), min_size=6, max_size=6).map(np.float32)


@settings(max_examples=60, deadline=None)
@given(logs)
def test_log_mean_exp_agrees_with_float64_and_lies_between_mean_and_max(log_w):
    value = float(log_mean_exp(jnp.asarray(log_w)))
    exact = float(np.logaddexp.reduce(log_w.astype(np.float64)) - np.log(6))
    assert abs(value - exact) < 1e-5 * max(1.0, abs(exact))
    assert log_w.mean(dtype=np.float64) - 1e-4 <= value <= log_w.max() + 1e-4


@settings(max_examples=60, deadline=None)
@given(logs, st.floats(-50, 50, width=32), st.permutations(range(6)))
def test_normalized_weights_ignore_shifts_and_follow_permutations(log_w, shift, order):
    w = np.asarray(normalized(jnp.asarray(log_w)))
    assert abs(w.sum() - 1) < 1e-5 and (w >= 0).all()
    moved = np.asarray(normalized(jnp.asarray(log_w[np.array(order)] + np.float32(shift))))
    np.testing.assert_allclose(moved, w[np.array(order)], atol=2e-5)
    size = float(effective_sample_size(jnp.asarray(log_w)))
    assert 1 - 1e-5 <= size <= 6 + 1e-5


def test_zero_weights_are_counted_and_make_no_nan():
    one = jnp.array([0.0, -jnp.inf, -jnp.inf, -jnp.inf])
    none = jnp.full(4, -jnp.inf)
    assert float(log_mean_exp(one)) == float(-jnp.log(4.0))
    assert float(effective_sample_size(one)) == 1.0
    assert float(log_mean_exp(none)) == -np.inf
    assert normalized(none).tolist() == [0, 0, 0, 0]
    assert float(effective_sample_size(none)) == 0.0
    assert float(log_mean_exp_error(none)) == np.inf


def test_axis_is_respected():
    log_w = jax.random.normal(jax.random.key(0), (3, 5))
    np.testing.assert_allclose(log_mean_exp(log_w, 0), jnp.log(jnp.mean(jnp.exp(log_w), 0)), rtol=1e-5)
    np.testing.assert_allclose(normalized(log_w, 0).sum(0), 1.0, rtol=1e-5)
    assert standard_error(log_w, 1).shape == (3,)


def test_delta_method_error_matches_the_spread_of_repeated_estimates():
    log_w = 0.5 * jax.random.normal(jax.random.key(1), (2000, 100))
    spread = float(jnp.std(log_mean_exp(log_w)))
    claimed = float(jnp.mean(log_mean_exp_error(log_w)))
    assert abs(claimed / spread - 1) < 0.08  # sd of a sd from 2,000 is 1.6%


def test_compensated_sum_survives_what_plain_float32_loses():
    x = np.random.default_rng(0).normal(size=20_000).astype(np.float32) * 1e-3
    x[0], x[-1] = 1e5, -1e5
    exact = x.astype(np.float64).sum()
    plain = jax.lax.scan(lambda s, v: (s + v, None), jnp.float32(0), jnp.asarray(x))[0]
    assert abs(float(plain) - exact) > 1e-2  # the check can fail
    assert abs(float(jax.jit(compensated_sum)(jnp.asarray(x))) - exact) < 1e-5


def test_compensated_is_a_scan_carry_of_any_shape():
    def body(total, x):
        return total.add(x), None

    total, _ = jax.jit(lambda x: jax.lax.scan(body, compensated(x[0]), x))(jnp.full((1000, 2), 0.1))
    np.testing.assert_allclose(total.value, 1000 * np.float64(np.float32(0.1)), rtol=1e-7)
