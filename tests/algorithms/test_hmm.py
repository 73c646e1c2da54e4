"""The recursions against the sum over all paths, and where careless arithmetic gives wrong numbers."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen.algorithms import hmm

K, T = 3, 6


def logsumexp(values: list[float]) -> float:
    return float(np.logaddexp.reduce(values))


def _chain(seed: int, *, varying: bool, scale: float = 2.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log initial, log transitions (one impossible) and log-likelihoods."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(K), size=(T - 1, K) if varying else K)
    transition[..., 0, :] = [0.4, 0.6, 0.0]
    with np.errstate(divide="ignore"):
        return np.log(rng.dirichlet(np.ones(K))), np.log(transition), scale * rng.normal(size=(T, K))


def _paths(chain: tuple[np.ndarray, np.ndarray, np.ndarray], steps: int) -> dict[tuple[int, ...], float]:
    """log p(x, z) of every path."""
    initial, transition, like = chain
    joint = {}
    for z in itertools.product(range(K), repeat=steps):
        total = initial[z[0]] + like[0, z[0]]
        for t in range(1, steps):
            row = transition[t - 1] if transition.ndim == 3 else transition
            total += row[z[t - 1], z[t]] + like[t, z[t]]
        joint[z] = total
    return joint


def _device(chain: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[jax.Array, jax.Array, jax.Array]:
    initial, transition, like = (jnp.asarray(part, jnp.float32) for part in chain)
    return initial, transition, like


@pytest.mark.parametrize("varying", [False, True])
@pytest.mark.parametrize("steps", [1, 4, T])
def test_every_result_is_the_sum_over_paths(steps: int, varying: bool):
    chain = _chain(0, varying=varying)
    joint = _paths(chain, steps)
    log_evidence = logsumexp(list(joint.values()))
    marginals, pairs = np.zeros((T, K)), np.zeros((T - 1, K, K))
    for z, value in joint.items():
        share = np.exp(value - log_evidence)
        for t in range(steps):
            marginals[t, z[t]] += share
        for t in range(steps - 1):
            pairs[t, z[t], z[t + 1]] += share
    got = hmm.smooth(*_device(chain), steps)
    assert abs(float(got.log_evidence) - log_evidence) < 1e-5
    np.testing.assert_allclose(got.marginals, marginals, atol=1e-6)
    np.testing.assert_allclose(got.pairs, pairs if varying else pairs.sum(0), atol=2e-6)
    best = hmm.viterbi(*_device(chain), steps)
    assert tuple(np.asarray(best)[:steps]) == max(joint, key=lambda z: joint[z])
    assert (np.asarray(best)[steps:] == -1).all()

    filtered = hmm.filtering(*_device(chain), steps)
    ends = [logsumexp(list(_paths(chain, t).values())) for t in range(1, steps + 1)]
    np.testing.assert_allclose(np.cumsum(filtered.log_predictive)[:steps], ends, atol=1e-5)
    assert (np.asarray(filtered.log_predictive)[steps:] == 0).all()
    last = [logsumexp([v for z, v in joint.items() if z[-1] == k]) - log_evidence for k in range(K)]
    np.testing.assert_allclose(filtered.log_marginals[steps - 1], last, atol=1e-5)

    # the law over paths, every one of them: its kernels, its marginals, its draws
    made = hmm.messages(*_device(chain), steps)
    kernels = _device(chain)[1] + made.later[:, None]
    every = np.full((len(joint), T), -1)
    every[:, :steps] = list(joint)
    log_p = jax.vmap(hmm.path_log_prob, (None, None, 0))(made.first, kernels, jnp.asarray(every))
    assert (np.asarray(log_p)[:, steps:] == 0).all()
    wanted = np.array(list(joint.values())) - log_evidence
    np.testing.assert_allclose(log_p.sum(1), wanted, atol=2e-5)
    np.testing.assert_allclose(hmm.chain_marginals(made.first, kernels, steps)[0], marginals, atol=1e-6)
    np.testing.assert_allclose(hmm.chain_marginals(made.first, kernels, steps)[1], pairs, atol=1e-6)


def test_draws_have_the_frequencies_of_the_posterior():
    chain = _device(_chain(1, varying=False))
    made = hmm.messages(*chain, 5)
    kernels, num = chain[1] + made.later[:, None], 20_000
    draw = jax.jit(jax.vmap(lambda key: hmm.sample_path(made.first, kernels, 5, key=key)))
    paths = np.asarray(draw(jax.random.split(jax.random.key(0), num)))
    assert (paths[:, 5] == -1).all()
    smoothed = hmm.smooth(*chain, 5)
    frequency = (paths[:, :5, None] == np.arange(K)).mean(0)
    expected = np.asarray(smoothed.marginals[:5])
    assert (np.abs(frequency - expected) < 4.5 * np.sqrt(expected * (1 - expected) / num) + 1e-6).all()
    together = np.zeros((K, K))
    np.add.at(together, (paths[:, :4].ravel(), paths[:, 1:5].ravel()), 1 / num)
    np.testing.assert_allclose(together, smoothed.pairs, atol=0.03)


def test_a_batch_in_the_last_axis_is_its_members():
    chains = [_device(_chain(seed, varying=True)) for seed in range(4)]
    initial, steps = chains[0][0], jnp.array([6, 1, 0, 4])
    transition, like = (jnp.stack([c[i] for c in chains], -1) for i in (1, 2))
    whole = hmm.smooth(initial, transition, like, steps)
    for n, (_, own, rows) in enumerate(chains):
        single = hmm.smooth(initial, own, rows, steps[n])
        np.testing.assert_allclose(whole.log_evidence[n], single.log_evidence, rtol=1e-6)
        np.testing.assert_allclose(whole.marginals[..., n], single.marginals, atol=1e-6)
        np.testing.assert_allclose(whole.pairs[..., n], single.pairs, atol=1e-6)
    assert float(whole.log_evidence[2]) == 0.0 and not np.asarray(whole.marginals[..., 2]).any()


@pytest.mark.parametrize("varying", [False, True])
def test_the_gradient_is_that_of_the_sum_over_paths(varying: bool):
    chain = _chain(2, varying=varying)
    chain = (chain[0], np.maximum(chain[1], -3.0), chain[2])  # all finite, so that differences exist

    def summed(initial: jax.Array, transition: jax.Array, like: jax.Array) -> jax.Array:
        z = jnp.asarray(list(itertools.product(range(K), repeat=4)))
        t = jnp.arange(3)
        rows = transition[t, z[:, :3], z[:, 1:]] if varying else transition[z[:, :3], z[:, 1:]]
        return jax.nn.logsumexp(initial[z[:, 0]] + rows.sum(1) + like[jnp.arange(4), z].sum(1))

    want = jax.grad(summed, argnums=(0, 1, 2))(*_device(chain))
    got = jax.grad(hmm.evidence, argnums=(0, 1, 2))(*_device(chain), jnp.asarray(4))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


def test_what_no_path_explains_has_no_probability_and_harms_no_gradient():
    initial, transition, like = _device(_chain(3, varying=False))
    impossible = like.at[3].set(-jnp.inf)
    pair = jnp.stack([like, impossible])
    value = jax.vmap(hmm.evidence, (None, None, 0, None))(initial, transition, pair, jnp.asarray(T))
    assert np.isfinite(value[0]) and np.isneginf(value[1])

    def total(initial: jax.Array, transition: jax.Array, pair: jax.Array) -> jax.Array:
        return jax.vmap(hmm.evidence, (None, None, 0, None))(initial, transition, pair, jnp.asarray(T)).sum()

    both = jax.grad(total, argnums=(0, 1, 2))(initial, transition, pair)
    alone = jax.grad(hmm.evidence, argnums=(0, 1, 2))(initial, transition, like, jnp.asarray(T))
    assert all(np.isfinite(leaf).all() for leaf in both)
    np.testing.assert_allclose(both[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(both[2][0], alone[2], atol=1e-6)
    assert not np.asarray(both[2][1]).any()
    filtered = hmm.filtering(initial, transition, impossible)
    assert np.isneginf(filtered.log_predictive[3]) and not np.isnan(filtered.log_predictive).any()
    # one state ruled out at one step is no misfortune
    one = hmm.smooth(initial, transition, like.at[2, 1].set(-jnp.inf))
    assert np.isfinite(one.log_evidence) and float(one.marginals[2, 1]) == 0.0


def test_a_path_that_looks_hopeless_on_the_way_is_not_forgotten():
    """From left to right only, and an outlier in between: filtered probabilities underflow, paths do not."""
    with np.errstate(divide="ignore"):
        transition = np.log([[0.9, 0.1], [0.0, 1.0]])
        initial = np.log([1.0, 0.0])
    like = np.zeros((6, 2))
    like[2] = [-400.0, 0.0]  # looks like the second state, from which there is no way back
    like[4] = [0.0, -2000.0]
    like[5] = [0.0, -2000.0]
    want = 5 * np.log(0.9) - 400.0
    got = hmm.smooth(*(jnp.asarray(v, jnp.float32) for v in (initial, transition, like)))
    assert abs(float(got.log_evidence) - want) < 1e-3
    np.testing.assert_allclose(got.marginals[:, 0], 1.0, atol=1e-6)


def test_long_chains_keep_their_digits():
    rng = np.random.default_rng(0)
    initial, transition = np.log(np.full(2, 0.5)), np.log([[0.99, 0.01], [0.02, 0.98]])
    like = rng.normal(size=(10_000, 2)) - 3.0
    alpha, want = np.exp(initial), 0.0
    for row in like:
        alpha = alpha * np.exp(row)
        want += np.log(alpha.sum())
        alpha = alpha / alpha.sum() @ np.exp(transition)
    got = hmm.smooth(*(jnp.asarray(v, jnp.float32) for v in (initial, transition, like)))
    assert abs(float(got.log_evidence) / want - 1) < 1e-5
    np.testing.assert_allclose(got.marginals.sum(1), 1.0, atol=1e-5)


def test_thousands_of_steps_keep_the_digits_of_the_evidence():
    rng, k, t = np.random.default_rng(3), 3, 20_000
    chain = np.log(rng.dirichlet(np.ones(k))), np.log(rng.dirichlet(np.ones(k), k)), rng.normal(-7, 2, (t, k))
    initial, transition, like = (part.astype(np.float32).astype(np.float64) for part in chain)
    forward = initial + like[0]
    for row in like[1:]:
        top = forward.max()
        forward = np.log(np.exp(forward - top) @ np.exp(transition)) + top + row
    expected = np.logaddexp.reduce(forward)
    got = float(hmm.messages(*_device((initial, transition, like))).log_evidence)
    assert abs(got / expected - 1) < 1.2e-7  # a plain sum is off by 1e-6
