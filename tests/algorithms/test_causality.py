"""The cost of causality against a direct search over all linear causal posteriors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize

from jensen.algorithms.causality import LinearChain, cost_of_causality


def joint(chain, length):
    """Covariance of (z_1..T, x_1..T)."""
    a, q, c, r, p = (np.asarray(m, float) for m in chain)
    n = len(a)
    maps = np.zeros((length * n, length * n))
    for i in range(length):
        for j in range(i + 1):
            maps[i * n : (i + 1) * n, j * n : (j + 1) * n] = np.linalg.matrix_power(a, i - j)
    noise = np.kron(np.eye(length), q)
    noise[:n, :n] = p
    zz = maps @ noise @ maps.T
    big_c, big_r = np.kron(np.eye(length), c), np.kron(np.eye(length), r)
    return zz, zz @ big_c.T, big_c @ zz @ big_c.T + big_r


def best_found(chain, length):
    """Minimize E KL over z = L z + M x + D ε, L strictly block-subdiagonal, M block-lower-triangular."""
    zz, zx, xx = joint(chain, length)
    gain = zx @ np.linalg.inv(xx)
    cov = zz - gain @ zx.T
    precision, n, d = np.linalg.inv(cov), len(chain[0]), len(chain[2])
    sub = np.kron(np.eye(length, k=-1), np.ones((n, n))) > 0
    low = np.kron(np.tril(np.ones((length, length))), np.ones((n, d))) > 0
    own = np.kron(np.eye(length), np.tril(np.ones((n, n)))) > 0
    sizes = np.cumsum([sub.sum(), low.sum()])

    def divergence(params):
        of_z, of_x, of_noise = np.split(params, sizes)
        l, m, s = np.zeros(sub.shape), np.zeros(low.shape), np.zeros(own.shape)
        l[sub], m[low], s[own] = of_z, of_x, of_noise
        solve = np.linalg.inv(np.eye(len(l)) - l)
        spread, off = solve @ s @ s.T @ solve.T, solve @ m - gain
        both = np.trace(precision @ (spread + off @ xx @ off.T)) - len(l)
        return 0.5 * (both + np.linalg.slogdet(cov)[1] - np.linalg.slogdet(spread)[1])

    start = np.concatenate([np.zeros(sizes[0]), np.zeros(sizes[1] - sizes[0]), np.eye(len(cov))[own]])
    return scipy.optimize.minimize(divergence, start, method="BFGS", options={"gtol": 1e-7}).fun


def random_chain(seed, n, d):
    rng = np.random.default_rng(seed)

    def square(k):
        root = np.eye(k) + 0.3 * rng.normal(size=(k, k))
        return root @ root.T

    return LinearChain(
        0.7 * rng.normal(size=(n, n)), square(n), rng.normal(size=(d, n)), 0.3 * square(d), square(n)
    )


@pytest.mark.parametrize(("n", "d", "length"), [(1, 1, 2), (1, 2, 4), (2, 1, 3), (2, 2, 2)])
def test_no_causal_posterior_does_better_and_one_does_as_well(n, d, length):
    chain = random_chain(n + 10 * d + length, n, d)
    cost = cost_of_causality(chain, length)
    assert cost > 1e-3
    np.testing.assert_allclose(cost, best_found(chain, length), rtol=1e-4)


def test_one_step_or_an_unrelated_future_costs_nothing():
    chain = random_chain(0, 2, 2)
    assert abs(cost_of_causality(chain, 1)) < 1e-12 and cost_of_causality(chain, 0) == 0
    assert abs(cost_of_causality(chain._replace(transition=np.zeros((2, 2))), 5)) < 1e-12
    costs = [cost_of_causality(chain, length) for length in range(1, 6)]
    assert (np.diff(costs) > 0).all()
