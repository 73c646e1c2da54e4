"""The Kalman recursions against one dense joint Gaussian in float64."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import kalman, kalman_moments, kalman_parallel
from jensen.algorithms.kalman import Chain

sys.path.insert(0, str(Path(__file__).parent))
from dense_gaussian import Dense, random_chain

KEY = jax.random.key(0)
ENGINES = {"serial": kalman, "parallel": kalman_parallel}


@partial(jax.jit, static_argnames="engine")
def _run(chain: Chain, steps: jax.Array, engine: str = "serial"):
    filtered = ENGINES[engine].filter(chain, steps)
    return filtered, ENGINES[engine].smooth(filtered, steps)


def _close(got: object, expected: np.ndarray, rtol: float = 1e-4) -> None:
    got, expected = np.asarray(got), np.asarray(expected)
    np.testing.assert_allclose(got, expected, atol=rtol * max(1.0, np.abs(expected).max()), rtol=0)


def _check(chain: Chain, steps: int, engine: str = "serial") -> None:
    filtered, smoothed = _run(chain, jnp.asarray(steps), engine)
    dense = Dense(chain, steps)
    assert abs(float(filtered.log_likelihood) - dense.log_p) < 1e-4 * max(1.0, abs(dense.log_p))
    _close(smoothed.mean[:steps], dense.mean)
    every = range(steps)
    _close(smoothed.covariance[:steps], np.stack([dense.cov[k, :, k] for k in every]))
    if steps > 1:
        _close(smoothed.cross[: steps - 1], np.stack([dense.cov[k + 1, :, k] for k in every[:-1]]))
    past = [Dense(chain, k + 1) for k in every]
    _close(filtered.mean[:steps], np.stack([p.mean[-1] for p in past]))
    _close(filtered.covariance[:steps], np.stack([p.cov[-1, :, -1] for p in past]))
    assert not np.asarray(smoothed.mean[steps:]).any() and not np.asarray(smoothed.cross[steps:]).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("n", "d"), [(3, 2), (2, 5)])
@pytest.mark.parametrize("kind", ["plain", "varying", "hidden"])
def test_moments_equal_the_dense_joint(engine: str, n: int, d: int, kind: str):
    if engine == "parallel" and kind == "plain":
        kind = "varying"
    chain = random_chain(1, 6, n, d, varying=kind == "varying", hidden=0.5 * (kind == "hidden"))
    for steps in (6, 4, 1):
        _check(chain, steps, engine)


def test_states_beyond_the_unrolled_size_and_single_steps():
    _check(random_chain(2, 3, kalman.UNROLLED + 2, 2), 3)
    _check(random_chain(3, 1, 2, 1), 1)


def test_fifty_random_models():
    chains = [random_chain(s, 12, 3, 2, hidden=0.2, radius=0.5 + s / 100) for s in range(50)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *chains)
    filtered, smoothed = jax.jit(jax.vmap(_run))(stacked, jnp.full(50, 12))
    for k, chain in enumerate(chains):
        dense = Dense(chain)
        assert abs(float(filtered.log_likelihood[k]) - dense.log_p) < 1e-4 * abs(dense.log_p)
        _close(smoothed.mean[k], dense.mean)
        _close(smoothed.covariance[k], np.stack([dense.cov[t, :, t] for t in range(12)]))


def test_an_empty_sequence_has_probability_one():
    filtered, smoothed = _run(random_chain(1, 6, 3, 2), jnp.asarray(0))
    assert float(filtered.log_likelihood) == 0.0 and not np.asarray(smoothed.mean).any()


@pytest.mark.parametrize("hidden", [0.0, 0.3])
def test_padding_changes_no_bit(hidden: float):
    long = random_chain(4, 23, 3, 2, hidden=hidden)
    steps = jnp.asarray(17)
    for length in (17, 18, 20):
        short = long._replace(drift=long.drift[: length - 1], observation=long.observation[:length])
        short = short._replace(emission=short.emission[:length] if hidden else short.emission)
        for (a, b), (c, d) in [(_run(short, steps), _run(long, steps))]:
            assert float(a.log_likelihood) == float(c.log_likelihood)
            for one, other in zip(b[:2], d[:2], strict=True):
                assert np.array_equal(np.asarray(one[:17]), np.asarray(other[:17]))
        # nor what stands in the padding
        noisy = long._replace(observation=long.observation.at[17:].set(1e6))
        assert float(_run(noisy, steps)[0].log_likelihood) == float(_run(long, steps)[0].log_likelihood)


def test_many_sequences_together_are_as_each_alone():
    """Long and many: a compiler once took products of such stacks for something else."""
    chain, num = random_chain(3, 300, 4, 2), 120
    x = jnp.asarray(np.random.default_rng(0).normal(size=(num, 300, 2)), jnp.float32)
    run = jax.jit(jax.vmap(lambda x: _moments(chain._replace(observation=x))))
    for together, alone in zip(run(x), run(x[-2:]), strict=True):
        np.testing.assert_allclose(together[-2:], alone, atol=1e-5)


def _moments(chain: Chain):
    filtered = kalman.filter(chain)
    smoothed = kalman.smooth(filtered)
    return filtered.mean, filtered.next_mean, smoothed.mean, kalman.apply(chain.emission, smoothed.mean) + 1.0


@pytest.mark.parametrize("kind", ["plain", "varying"])
def test_the_gradient_is_that_of_the_filter(kind: str):
    chain = random_chain(5, 5, 3, 2, varying=kind == "varying", hidden=0.2)
    steps = jnp.asarray(4)
    fisher = jax.jit(jax.grad(kalman_moments.log_likelihood))(chain, steps)
    through = jax.jit(jax.grad(lambda c: kalman.filter(c, steps).log_likelihood))(chain)
    seen = (np.asarray(chain.emission) != 0).any(-1)
    for name, a, b in zip(Chain._fields, fisher, through, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        if "root" in name:
            a, b = np.tril(a), np.tril(b)
        if name == "emission":
            a, b = a[seen], b[seen]  # a hidden row stays zero whatever its gradient
        if name == "observation":
            a, b = a[seen], b[seen]
        _close(a, b, 1e-4)


def test_paths_are_drawn_from_the_joint_and_scored_by_it():
    chain, steps = random_chain(6, 5, 2, 1), jnp.asarray(4)
    dense = Dense(chain, 4)
    filtered, _ = _run(chain, steps)
    draw = jax.jit(jax.vmap(lambda key: kalman.sample(filtered, steps, key=key)))
    z = np.asarray(draw(jax.random.split(KEY, 40_000)))
    assert not z[:, 4:].any()
    flat = z[:, :4].reshape(len(z), -1).astype(np.float64)
    spread = np.sqrt(np.diagonal(dense.flat))
    assert np.abs((flat.mean(0) - dense.mean.ravel()) / spread).max() < 5 / 200
    assert np.abs((np.cov(flat.T) - dense.flat) / np.outer(spread, spread)).max() < 6 / 200
    scored = jax.jit(lambda z: kalman.log_density(filtered, z, steps))(jnp.asarray(z[0]))
    assert abs(float(scored.sum()) - dense.log_density(z[0])) < 1e-4 * abs(dense.log_density(z[0]))
    assert float(scored[4]) == 0.0


def test_parallel_equals_serial_over_ten_thousand_steps_in_float32():
    chain, steps = random_chain(7, 10_000, 3, 2), jnp.asarray(10_000)
    one, other = _run(chain, steps), _run(chain, steps, "parallel")
    a, b = float(one[0].log_likelihood), float(other[0].log_likelihood)
    assert abs(a - b) < 1e-5 * abs(a)
    for x, y in zip(one[1], other[1], strict=True):
        _close(y, x, 1e-5)


def test_covariances_stay_positive_in_float32_with_precise_observations():
    chain = random_chain(8, 400, 4, 2)
    chain = chain._replace(emission=1e4 * chain.emission, observation=1e4 * chain.observation)
    _, smoothed = _run(chain, jnp.asarray(400))
    values = np.linalg.eigvalsh(np.asarray(smoothed.covariance, np.float64))
    assert np.isfinite(values).all() and (values > -1e-7 * values[:, -1:]).all()


FAULTS = {
    "transition transposed": lambda c: c._replace(transition=c.transition.T),
    "drift one step late": lambda c: c._replace(drift=jnp.roll(c.drift, 1, 0)),
    "noise root doubled": lambda c: c._replace(transition_root=2 * c.transition_root),
    "last observation twice": lambda c: c._replace(observation=c.observation.at[-2].set(c.observation[-1])),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str):
    chain = random_chain(1, 6, 3, 2)
    filtered, _ = _run(FAULTS[fault](chain), jnp.asarray(6))
    assert abs(float(filtered.log_likelihood) - Dense(chain).log_p) > 1e-2
