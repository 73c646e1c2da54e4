"""Particle filters against exact evidences, from both sides; planted faults must show."""

from __future__ import annotations

import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jensen.algorithms import hmm, smc

A, Q, R = 0.8, 0.7, 1.2
"""z_1 ~ N(0, 1), z_{t+1} ~ N(A z_t, Q²), x_t ~ N(z_t, R²)."""

T, K, RUNS = 4, 4, 20_000
X = jnp.array([0.9, -1.4, 0.3, 1.8])


def prior(n):
    maps = np.array([[A ** (i - j) if i >= j else 0.0 for j in range(n)] for i in range(n)])
    return maps @ np.diag([1.0] + [Q**2] * (n - 1)) @ maps.T


def log_evidence(x):
    """The dense joint Gaussian's, in float64."""
    x = np.asarray(x, np.float64)
    cov = prior(len(x)) + R**2 * np.eye(len(x))
    return -0.5 * (x @ np.linalg.solve(cov, x) + np.linalg.slogdet(2 * np.pi * cov)[1])


def posterior(x):
    """Mean and covariance of z given x."""
    gain = prior(len(x)) @ np.linalg.inv(prior(len(x)) + R**2 * np.eye(len(x)))
    return gain @ np.asarray(x), (np.eye(len(x)) - gain) @ prior(len(x))


def plain(x, module=smc):
    """Proposals from the dynamics."""
    return module.bootstrap(
        lambda key: jax.random.normal(key),
        lambda z, t, key: A * z + Q * jax.random.normal(key),
        lambda z, t: norm.logpdf(x[t], z, R),
    )


def guided(x, module=smc, pull=0.3, scale=0.8):
    """Proposals pulled towards the observation, wider than the posterior."""

    def terms(before, t, z):
        mean, sd = (0.0, 1.0) if before is None else (A * before, Q)
        log_q = norm.logpdf(z, mean + pull * (x[t] - mean), scale)
        return norm.logpdf(z, mean, sd) + norm.logpdf(x[t], z, R) - log_q

    def follow(before, t, z):
        return module.Moved(z, z, terms(before, t, z), {"z²": z**2})

    def propose(before, t, *, key):
        mean = 0.0 if before is None else A * before
        return follow(before, t, mean + pull * (x[t] - mean) + scale * jax.random.normal(key))

    return module.Moves(propose, follow)


def z_score(values):
    values = np.asarray(values, np.float64)
    assert np.isfinite(values).all()
    return (values.mean() - 1) / (values.std() / len(values) ** 0.5)


def lower_ratios(make, share, module=smc):
    """p̂/p at one sequence."""
    keys = jax.random.split(jax.random.key(1), RUNS)
    run = jax.jit(
        jax.vmap(
            lambda key: (
                module.particle_filter(make(X, module), T, K, resample_below=share, key=key).log_evidence
            )
        )
    )
    return np.exp(np.asarray(run(keys), np.float64) - log_evidence(X))


def upper_ratios(make, share, module=smc):
    """p/p̂ at one sequence, the path kept being an exact draw of the posterior."""
    mean, cov = posterior(X)
    root = jnp.asarray(np.linalg.cholesky(cov), jnp.float32)

    def one(key):
        to_path, to_run = jax.random.split(key)
        path = jnp.asarray(mean, jnp.float32) + root @ jax.random.normal(to_path, (T,))
        return module.conditional_particle_filter(
            make(X, module), path, K, resample_below=share, key=to_run
        ).log_evidence

    log_p = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), RUNS))
    return np.exp(log_evidence(X) - np.asarray(log_p, np.float64))


@pytest.mark.parametrize(("make", "share"), [(plain, 1.0), (guided, 0.7)])
def test_unbiased_from_both_sides(make, share):
    lower, upper = lower_ratios(make, share), upper_ratios(make, share)
    assert abs(z_score(lower)) < 4.5 and lower.std() / RUNS**0.5 < 0.01
    assert abs(z_score(upper)) < 4.5 and upper.std() / RUNS**0.5 < 0.01
    assert np.log(lower).mean() < -0.02 and np.log(upper).mean() < -0.02


def broken(old, new):
    """The module with one line of it changed."""
    source = inspect.getsource(smc)
    assert source.count(old) == 1
    module = types.ModuleType("broken")
    exec(compile(source.replace(old, new), "broken", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("log_weights=jnp.where(few, uniform, state.log_weights)", "log_weights=state.log_weights"),
        ("pick(fixed, ", "pick(uniform, "),
        ("leaf[ancestors], state.particle)", "leaf, state.particle)"),
    ],
    ids=["weights not reset", "resampled before weighting", "survivors ignored"],
)
def test_a_fault_in_resampling_shows_from_below(old, new):
    assert abs(z_score(lower_ratios(plain, 1.0, broken(old, new)))) > 6


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if path is None:\n            return moved", "if True:\n            return moved"),
        ("pick = systematic if path is None else systematic_given", "pick = systematic"),
    ],
    ids=["path not proposed", "path not kept"],
)
def test_a_fault_in_keeping_the_path_shows_from_above(old, new):
    assert z_score(upper_ratios(guided, 1.0, broken(old, new))) > 6


def test_evidence_of_a_hidden_markov_model():
    rng = np.random.default_rng(0)
    initial, kernel = (np.log(rng.dirichlet(np.ones(3), n)).astype(np.float32) for n in (1, 3))
    log_like = jnp.asarray(rng.normal(size=(6, 3)), jnp.float32)
    moves = smc.bootstrap(
        lambda key: jax.random.categorical(key, initial[0]),
        lambda z, t, key: jax.random.categorical(key, jnp.asarray(kernel)[z]),
        lambda z, t: log_like[t, z],
    )
    run = jax.jit(jax.vmap(lambda key: smc.particle_filter(moves, 6, 8, key=key).log_evidence))
    log_p = run(jax.random.split(jax.random.key(3), RUNS))
    exact = hmm.evidence(jnp.asarray(initial[0]), jnp.asarray(kernel), log_like, jnp.asarray(6))
    assert abs(z_score(np.exp(np.asarray(log_p, np.float64) - float(exact)))) < 4.5


def test_many_particles_find_the_evidence_and_the_posterior():
    out = jax.jit(lambda: smc.particle_filter(guided(X), T, 20_000, key=jax.random.key(4)))()
    np.testing.assert_allclose(out.log_evidence, log_evidence(X), atol=0.02)
    np.testing.assert_allclose(out.log_increments.sum(), out.log_evidence, rtol=1e-5)
    paths = smc.genealogy(out.ancestors, out.z)
    mean = np.asarray(jnp.exp(out.log_weights) @ paths)
    np.testing.assert_allclose(mean, posterior(X)[0], atol=0.03)


def test_paths_are_lines_of_descent():
    run = jax.jit(lambda: smc.particle_filter(guided(X), T, 16, resample_below=1.0, key=jax.random.key(5)))
    out = run()
    slots = smc.trace(out.ancestors, jnp.array(7))
    for t in range(1, T):
        assert out.ancestors[t, slots[t]] == slots[t - 1]
    path = smc.genealogy(out.ancestors, out.z)[7]
    np.testing.assert_array_equal(path, out.z[jnp.arange(T), slots])
    np.testing.assert_array_equal(smc.genealogy(out.ancestors, out.detail)["z²"][7], path**2)
    drawn = smc.sample_path(out, key=jax.random.key(6))
    assert (smc.genealogy(out.ancestors, out.z) == drawn).all(1).any()


def test_the_path_is_among_the_particles():
    z = jnp.array([0.5, -0.2, 0.1, 1.0])
    run = jax.jit(
        lambda: smc.conditional_particle_filter(plain(X), z, K, resample_below=1.0, key=jax.random.key(7))
    )
    out = run()
    np.testing.assert_array_equal(out.z[:, 0], z)
    np.testing.assert_array_equal(out.ancestors[:, 0], 0)


def test_padding_changes_no_bit():
    """Neither what stands at padded steps nor how many there are."""

    @jax.jit
    def both(x, z, steps):
        low = smc.particle_filter(guided(x), len(x), 8, steps, key=jax.random.key(8))
        high = smc.conditional_particle_filter(guided(x), z, 8, steps, key=jax.random.key(8))
        return low, high

    x, z = jnp.array([0.2, -1.0, 0.4, 2.0, 1.0]), jnp.array([0.1, -0.5, 0.5, 1.0, 0.3])
    for steps in (0, 1, 3):
        low, high = both(x, z, steps)
        other = both(*(jnp.where(jnp.arange(5) < steps, a, 7.0) for a in (x, z)), steps)
        assert (low.log_evidence, high.log_evidence) == (other[0].log_evidence, other[1].log_evidence)
        assert (low.z[steps:] == 0).all() and (low.log_increments[steps:] == 0).all()
        assert (low.ancestors[max(steps, 1) :] == jnp.arange(8)).all()
        if steps == 0:
            assert low.log_evidence == high.log_evidence == 0
    short = both(x[:3], z[:3], 3)
    assert (low.log_evidence, high.log_evidence) == (short[0].log_evidence, short[1].log_evidence)


def walk(log_likelihood):
    return smc.bootstrap(
        lambda key: jax.random.normal(key), lambda z, t, key: z + jax.random.normal(key), log_likelihood
    )


def test_no_weight_left():
    @jax.jit
    def run(dead_from):
        moves = walk(lambda z, t: jnp.where(t >= dead_from, -jnp.inf, -(z**2)))
        above = smc.conditional_particle_filter(moves, jnp.zeros(4), 8, key=jax.random.key(9))
        return smc.particle_filter(moves, 4, 8, key=jax.random.key(9)), above.log_evidence

    for dead_from in (0, 2):
        out, above = run(dead_from)
        assert out.log_evidence == -np.inf and above == np.inf
        assert all(np.isfinite(a).all() for a in (out.z, out.log_weights, out.sizes))

    @jax.grad
    def slope(a):
        moves = smc.bootstrap(
            lambda key: a * jax.random.normal(key),
            lambda z, t, key: a * z,
            lambda z, t: jnp.where(t == 1, -jnp.inf, -(z**2)),
        )
        return smc.particle_filter(moves, 3, 4, key=jax.random.key(12)).log_evidence

    assert np.isfinite(slope(0.5))


def test_some_weights_are_zero():
    moves = walk(lambda z, t: jnp.where(z > 0, 0.0, -jnp.inf))
    out = jax.jit(lambda: smc.particle_filter(moves, 3, 64, resample_below=1.0, key=jax.random.key(10)))()
    alive = smc.genealogy(out.ancestors, out.z)[out.log_weights > -99]
    assert np.isfinite(out.log_evidence) and 0 < len(alive) < 64 and (alive > 0).all()


def test_children_in_expectation_and_in_number():
    log_w = jnp.log(jnp.array([0.05, 0.5, 0.0, 0.33, 0.12]))
    parents = jax.vmap(lambda u: smc.systematic(log_w, u))((jnp.arange(1000) + 0.5) / 1000)
    children = (parents[..., None] == jnp.arange(5)).sum(1)
    np.testing.assert_allclose(children.mean(0), 5 * jnp.exp(log_w), atol=2e-3)
    assert (np.abs(children - 5 * jnp.exp(log_w)) < 1 + 1e-5).all()
    given = jax.vmap(lambda u: smc.systematic_given(log_w, u))((jnp.arange(1000) + 0.5) / 1000)
    assert (given[:, 0] == 0).all()


def test_children_given_a_survivor():
    """The conditional law by its definition: systematic, shifted at random, given that 0 descends from 0."""
    log_w = jnp.log(jnp.array([0.55, 0.1, 0.2, 0.15]))
    grid = (jnp.arange(4000) + 0.5) / 4000
    all_of = jax.vmap(lambda u: smc.systematic(log_w, u))(grid)
    shifted = np.concatenate([np.roll(all_of, s, axis=1) for s in range(4)])
    given = np.asarray(jax.vmap(lambda u: smc.systematic_given(log_w, u))(grid))

    def frequencies(rows):
        values, counts = np.unique(rows, axis=0, return_counts=True)
        return {tuple(v): c / len(rows) for v, c in zip(values.tolist(), counts, strict=True)}

    wanted, got = frequencies(shifted[shifted[:, 0] == 0]), frequencies(given)
    assert len(wanted) > 4
    for pattern in wanted | got:
        assert abs(wanted.get(pattern, 0) - got.get(pattern, 0)) < 2e-3


def test_gradients_are_those_of_the_weights():
    """One particle is its own survivor: nothing is dropped, and its gradient is a plain derivative."""

    def through(pull, count):
        moves = guided(X, pull=pull)
        out = smc.particle_filter(moves, T, count, resample_below=1.0, key=jax.random.key(11))
        return out.log_evidence

    one = jax.jit(jax.value_and_grad(lambda pull: through(pull, 1)))
    difference = (one(0.61)[0] - one(0.59)[0]) / 0.02
    np.testing.assert_allclose(one(0.6)[1], difference, rtol=2e-2)
    many = jax.jit(jax.grad(lambda pull: through(pull, 16)))(0.6)
    assert np.isfinite(many) and many != 0
