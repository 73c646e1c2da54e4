"""The fastest accurate full-covariance EM step found for a two-core CPU, as pure functions.

Three choices make it fast and accurate in float32:

* rows are columns: data are held as `(chunks, D, chunk)`, so that reductions over the dimension run along
  long contiguous rows and vectorize; a chunk of 2,000 columns keeps every intermediate in the cache;
* the E-step whitens, y_k = W_k (x − μ_k) with W_k = L_k⁻¹ and Σ_k = L_k L_kᵀ, by one matrix product for all
  components. Natural parameters on the features [1, x, x xᵀ] are a third faster, and lose a factor
  condition number in log p;
* the M-step gathers its statistics *in whitened coordinates*, where they are near the identity: if
  C_k = E[y yᵀ] − E[y] E[y]ᵀ then the new factor is L_k chol(C_k). No covariance is ever formed from
  E[x xᵀ] − E[x] E[x]ᵀ, so nothing cancels.

Sums across chunks are compensated (Knuth's two-sum), so that the error does not grow with N.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float

CHUNK = 2_000


class Mixture(NamedTuple):
    """Parameters: log weights, means, and lower Cholesky factors of the covariances."""

    log_w: Float[Array, " k"]
    mean: Float[Array, "k d"]
    factor: Float[Array, "k d d"]


class Statistics(NamedTuple):
    """Weighted sums of 1, y_k and y_k y_kᵀ over rows, and of log p(x)."""

    count: Float[Array, " k"]
    first: Float[Array, "k d"]
    second: Float[Array, "k d d"]
    log_p: Float[Array, ""]


def to_chunks(x: np.ndarray, weight: np.ndarray | None = None, chunk: int = CHUNK):
    """Rows (n, d) to columns (chunks, d, chunk) and their weights; the padding has weight zero."""
    n, d = x.shape
    chunk = min(chunk, n)
    count = -(-n // chunk)
    padded = np.zeros((count * chunk, d), np.float32)
    padded[:n] = x
    w = np.zeros(count * chunk, np.float32)
    w[:n] = 1.0 if weight is None else weight
    columns = np.ascontiguousarray(padded.reshape(count, chunk, d).transpose(0, 2, 1))
    return jnp.asarray(columns), jnp.asarray(w.reshape(count, chunk))


def _two_sum(total, error, term):
    """Add `term` to a running (total, error) pair without losing its low bits."""
    new = total + term
    back = new - total
    return new, error + ((total - (new - back)) + (term - back))


def _chunk_statistics(mixture, whiten, offset, bias, x, weight):
    k, d = mixture.mean.shape
    y = (whiten @ x - offset[:, None]).reshape(k, d, -1)
    joint = bias[:, None] - 0.5 * jnp.sum(y * y, axis=1)
    top = jnp.max(joint, axis=0)
    r = jnp.exp(joint - top)
    total = jnp.sum(r, axis=0)
    r = r * (weight / total)
    ry = r[:, None] * y
    return Statistics(
        jnp.sum(r, axis=1),
        jnp.sum(ry, axis=2),
        jnp.einsum("kin,kjn->kij", ry, y),
        jnp.sum(weight * (top + jnp.log(total))),
    )


def e_step(mixture: Mixture, x: Float[Array, "c d n"], weight: Float[Array, "c n"]) -> Statistics:
    """Expected sufficient statistics in each component's whitened coordinates."""
    k, d = mixture.mean.shape
    eye = jnp.broadcast_to(jnp.eye(d), (k, d, d))
    inverse = solve_triangular(mixture.factor, eye, lower=True)
    offset = jnp.einsum("kij,kj->ki", inverse, mixture.mean).reshape(-1)
    log_det = jnp.sum(jnp.log(jnp.diagonal(mixture.factor, axis1=1, axis2=2)), axis=1)
    bias = mixture.log_w - log_det - 0.5 * d * jnp.log(2.0 * jnp.pi)
    per_chunk = partial(_chunk_statistics, mixture, inverse.reshape(k * d, d), offset, bias)

    def body(carry, columns):
        pairs = jax.tree.map(_two_sum, *carry, per_chunk(*columns))
        is_pair = lambda node: type(node) is tuple  # noqa: E731
        return tuple(jax.tree.map(lambda p, i=i: p[i], pairs, is_leaf=is_pair) for i in (0, 1)), None

    zero = Statistics(jnp.zeros(k), jnp.zeros((k, d)), jnp.zeros((k, d, d)), jnp.zeros(()))
    (total, error), _ = jax.lax.scan(body, (zero, zero), (x, weight))
    return jax.tree.map(jnp.add, total, error)


def m_step(mixture: Mixture, s: Statistics, floor: float = 1e-6) -> Mixture:
    """Maximize; `floor` is added to the diagonal of every covariance, as scikit-learn's `reg_covar`."""
    k, d = mixture.mean.shape
    eye = jnp.broadcast_to(jnp.eye(d), (k, d, d))
    inverse = solve_triangular(mixture.factor, eye, lower=True)
    count = s.count + 10 * jnp.finfo(s.count.dtype).eps
    first = s.first / count[:, None]
    spread = s.second / count[:, None, None] - first[:, :, None] * first[:, None, :]
    spread = spread + floor * inverse @ inverse.swapaxes(1, 2)
    return Mixture(
        jnp.log(count / jnp.sum(count)),
        mixture.mean + jnp.einsum("kij,kj->ki", mixture.factor, first),
        mixture.factor @ jnp.linalg.cholesky(spread),
    )


@partial(jax.jit, static_argnames="steps")
def em(
    mixture: Mixture, x: Float[Array, "c d n"], weight: Float[Array, "c n"], steps: int, floor: float = 1e-6
):
    """`steps` EM iterations; returns the mixture and the mean log p(x) before each (nats per row)."""

    def body(mixture, _):
        s = e_step(mixture, x, weight)
        return m_step(mixture, s, floor), s.log_p / jnp.sum(weight)

    return jax.lax.scan(body, mixture, length=steps)
