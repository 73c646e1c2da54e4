"""KL divergences of conjugate laws, against float64, at as many rows as float32 must bear."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, psi

from jensen.dist import Dirichlet, NormalWishart, kl_divergence

K, D = 10, 4


def dirichlet(a: np.ndarray, b: np.ndarray) -> float:
    constant = gammaln(a.sum(-1)) - gammaln(b.sum(-1)) - (gammaln(a) - gammaln(b)).sum(-1)
    return (constant + ((a - b) * (psi(a) - psi(a.sum(-1, keepdims=True)))).sum(-1)).sum()


def normal_wishart(q: NormalWishart, p: NormalWishart) -> float:
    (m, beta, nu, c), (m0, beta0, nu0, c0) = (
        tuple(np.asarray(v, np.float64) for v in (law.loc, law.strength, law.dof, law.scatter_tril))
        for law in (q, p)
    )
    total = 0.0
    for k in range(K):
        s, s0, away = c[k] @ c[k].T, c0[k] @ c0[k].T, m[k] - m0[k]
        log_ratio = np.linalg.slogdet(s)[1] - np.linalg.slogdet(s0)[1]
        total += 0.5 * nu0[k] * log_ratio + 0.5 * nu[k] * (np.trace(np.linalg.solve(s, s0)) - D)
        halves, halves0 = (nu[k] - np.arange(D)) / 2, (nu0[k] - np.arange(D)) / 2
        total += (gammaln(halves0) - gammaln(halves)).sum()
        total += 0.5 * (nu[k] - nu0[k]) * psi(halves).sum()
        total += 0.5 * (D * (beta0[k] / beta[k] - 1 - np.log(beta0[k] / beta[k])))
        total += 0.5 * beta0[k] * nu[k] * away @ np.linalg.solve(s, away)
    return total


def laws(rows: float, before: float, rng: np.random.Generator) -> tuple[NormalWishart, NormalWishart]:
    """Return what ``rows`` rows make of a prior that is worth ``before``."""

    def law(count: np.ndarray) -> NormalWishart:
        y = rng.normal(size=(K, D, 3 * D))
        scatter = y @ y.swapaxes(1, 2) / (3 * D) * count[:, None, None] + np.eye(D)
        arrays = rng.normal(size=(K, D)), 1 + count, D + count, np.linalg.cholesky(scatter)
        return NormalWishart(*(jnp.asarray(v, jnp.float32) for v in arrays))

    share = rng.dirichlet(np.ones(K))
    return law(rows * share + before), law(np.full(K, before))


@pytest.fixture(scope="module")
def kl():
    def closed(q, p):
        found = kl_divergence(q, p, None)
        assert found is not None
        return found[0]

    return jax.jit(closed)


@pytest.mark.parametrize(("rows", "before"), [(1e5, 0.0), (1e7, 0.0), (10.0, 1e5), (0.0, 0.0)])
def test_the_kl_keeps_its_digits(kl, rows, before):
    rng = np.random.default_rng(0)
    b = np.full((2, K), 0.1) + before
    a = b + rows * rng.dirichlet(np.ones(K), 2)
    a, b = a.astype(np.float32), b.astype(np.float32)
    wanted = dirichlet(a.astype(np.float64), b.astype(np.float64))
    assert abs(kl(Dirichlet(jnp.asarray(a)), Dirichlet(jnp.asarray(b))) - wanted) < 1e-4 + 1e-6 * abs(wanted)
    q, p = laws(rows, before, rng)
    wanted = normal_wishart(q, p)
    assert abs(kl(q, p) - wanted) < 1e-3 + 1e-6 * abs(wanted)
