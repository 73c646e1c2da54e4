"""Linear-Gaussian chains as one joint Gaussian in float64: small, slow, and nothing like a filter."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.algorithms.kalman import Chain


def random_chain(
    seed: int, t: int, n: int, d: int, *, varying: bool = False, hidden: float = 0.0, radius: float = 0.95
) -> Chain:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(t - 1, n, n) if varying else (n, n))
    a = a * radius / np.abs(np.linalg.eigvals(a)).max(-1)[..., None, None]
    q = np.tril(0.3 * rng.normal(size=a.shape)) + 0.5 * np.eye(n)
    p = np.tril(0.3 * rng.normal(size=(n, n))) + np.eye(n)
    c = rng.normal(size=(t, d, n) if varying else (d, n))
    m, b = rng.normal(size=n), rng.normal(size=(t - 1, n))
    each_a, each_q, each_c = (
        np.broadcast_to(v, (k, *v.shape[-2:])) for v, k in ((a, t - 1), (q, t - 1), (c, t))
    )
    z = [m + p @ rng.normal(size=n)]
    for k in range(t - 1):
        z.append(each_a[k] @ z[-1] + b[k] + each_q[k] @ rng.normal(size=n))
    x = np.einsum("tdn,tn->td", each_c, np.stack(z)) + rng.normal(size=(t, d))
    if hidden:
        seen = rng.random((t, d)) > hidden
        c, x = np.where(seen[..., None], each_c, 0.0), np.where(seen, x, 0.0)
    return Chain(*(jnp.asarray(v, jnp.float32) for v in (m, p, a, b, q, c, x)))


class Dense:
    """The joint law of all z and x, and what conditioning on x gives.

    Attributes:
        log_p: log p(x) without the constants.
        mean: E[z | x], (T, n).
        cov: Cov[z | x], (T, n, T, n).
    """

    def __init__(self, chain: Chain, steps: int | None = None):
        m, p, a, b, q, c, x = (np.asarray(v, np.float64) for v in chain)
        t = len(x) if steps is None else steps
        n, d = len(m), x.shape[1]
        a, q = (np.broadcast_to(v, (len(x) - 1, n, n)) for v in (a, q))
        c = np.broadcast_to(c, (len(x), d, n))
        mean, maps = np.zeros((t, n)), np.zeros((t, n, t, n))  # z = mean + maps · standard normals
        mean[0], maps[0, :, 0] = m, p
        for k in range(t - 1):
            mean[k + 1] = a[k] @ mean[k] + b[k]
            maps[k + 1] = np.einsum("ij,jsk->isk", a[k], maps[k])
            maps[k + 1, :, k + 1] = q[k]
        root = maps.reshape(t * n, t * n)
        self.prior_mean, self.prior = mean, root @ root.T
        h = np.zeros((t, d, t, n))
        for k in range(t):
            h[k, :, k] = c[k]
        h = h.reshape(t * d, t * n)
        seen = h @ self.prior @ h.T + np.eye(t * d)
        e = x[:t].ravel() - h @ mean.ravel()
        gain = np.linalg.solve(seen, h @ self.prior).T
        self.log_p = -0.5 * e @ np.linalg.solve(seen, e) - 0.5 * np.linalg.slogdet(seen)[1]
        self.mean = mean + (gain @ e).reshape(t, n)
        flat = self.prior - gain @ h @ self.prior
        self.flat, self.cov = flat, flat.reshape(t, n, t, n)

    def log_density(self, z: Any) -> float:
        e = np.asarray(z, np.float64)[: len(self.mean)].ravel() - self.mean.ravel()
        return float(
            -0.5 * e @ np.linalg.solve(self.flat, e) - 0.5 * np.linalg.slogdet(2 * np.pi * self.flat)[1]
        )
