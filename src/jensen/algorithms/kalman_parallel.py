"""The Kalman filter and smoother by associative scans: short chains of wide steps, for many cores.

The filter's elements are the affine-Gaussian kernels of Särkkä & García-Fernández (2021) in the square-root
form of Yaghoobi, Corenflos, Hassan & Särkkä (2022). Only predicted means and roots are scanned; everything
else, the likelihood among it, is then computed at all steps at once by the very triangularization that the
serial filter uses, so float32 loses no more than it does there. On CPU the serial filter is faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.kalman import (
    Blocks,
    Chain,
    Filtered,
    Smoothed,
    apply,
    arrays,
    collapsed,
    gram,
    last_steps,
    masked_moments,
    per_step,
    product,
    real_steps,
    solve_lower,
    solve_lower_t,
)
from jensen.typing import Array, Float, Int


class Kernel(NamedTuple):
    """p(z_t | z_s, x_{s+1:t}) = N(A z + b, U Uᵀ), and p(x_{s+1:t} | z_s) ∝ exp(ηᵀz − ½ |Zᵀ z|²).

    Attributes:
        matrix: A.
        offset: b.
        root: U.
        pull: η.
        precision_root: Z.
    """

    matrix: Float[Array, "t n n"]
    offset: Float[Array, "t n"]
    root: Float[Array, "t n n"]
    pull: Float[Array, "t n"]
    precision_root: Float[Array, "t n n"]


def triangular(matrix: Float[Array, "*t n m"]) -> Float[Array, "*t n n"]:
    """Return lower-triangular L with L Lᵀ = M Mᵀ for a stack, n ≤ m, by Householder reflections of rows.

    A loop over rows, vectorized over the stack: LAPACK would take one matrix at a time, and written out the
    reflections take minutes to compile.
    """
    n, columns = matrix.shape[-2], jnp.arange(matrix.shape[-1])

    def reflect(k: Array, rest: Array) -> Array:
        row = jnp.where(columns >= k, jax.lax.dynamic_index_in_dim(rest, k, -2, keepdims=False), 0.0)
        pivot = jax.lax.dynamic_index_in_dim(row, k, -1)
        size = jnp.sqrt((row**2).sum(-1, keepdims=True))
        v = jnp.where(columns == k, row + jnp.where(pivot < 0, -size, size), row)
        norm = (v**2).sum(-1, keepdims=True)
        twice = jnp.where(norm > 0, 2.0 / jnp.where(norm > 0, norm, 1.0), 0.0)
        along = (rest * v[..., None, :]).sum(-1) * twice
        return rest - along[..., None] * v[..., None, :]

    return jnp.tril(jax.lax.fori_loop(0, n, reflect, matrix)[..., :n])


def prefix(combined: Callable[[Any, Any], Any], elements: Any) -> Any:
    """Return all prefix products of an associative operation, in 3 √T dependent steps.

    Stretches of √T elements are scanned side by side, then their totals, then the totals are put before the
    stretches. ``jax.lax.associative_scan`` has logarithmic depth, but compiles the operation 2 log₂ T times.

    Args:
        combined: Vectorized over a leading axis; (earlier, later) to their product.
        elements: Arrays with a leading axis T.
    """
    t = len(jax.tree.leaves(elements)[0])
    length = math.isqrt(t - 1) + 1
    count = -(-t // length)

    def fold(leaf: Array) -> Array:  # (length, count): stretches side by side; the tail is repeated
        filled = leaf[jnp.minimum(jnp.arange(length * count), t - 1)]
        return filled.reshape(count, length, *leaf.shape[1:]).swapaxes(0, 1)

    def grow(total: Any, new: Any) -> tuple[Any, Any]:
        total = combined(total, new)
        return total, total

    def scanned(stack: Any) -> Any:
        first, rest = jax.tree.map(lambda a: a[0], stack), jax.tree.map(lambda a: a[1:], stack)
        _, later = jax.lax.scan(grow, first, rest)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)

    inside = scanned(jax.tree.map(fold, elements))
    totals = scanned(jax.tree.map(lambda a: a[-1][:, None], inside))
    before = jax.tree.map(lambda a: a[:-1, 0], totals)
    later = jax.vmap(lambda own: combined(before, own))(jax.tree.map(lambda a: a[:, 1:], inside))
    whole = jax.tree.map(lambda a, b: jnp.concatenate([a[:, :1], b], 1), inside, later)
    return jax.tree.map(lambda a: a.swapaxes(0, 1).reshape(-1, *a.shape[2:])[:t], whole)


def filter(chain: Chain, steps: Int[Array, ""] | None = None) -> Filtered:
    """Run the filter over all steps at once.

    Args:
        chain: The model with its observations.
        steps: Number of real steps; ``None`` for all.

    Returns:
        What ``kalman.filter`` returns, up to rounding.
    """
    chain, offset = collapsed(chain)
    t, d = len(chain.observation), chain.emission.shape[-2]
    full = _at_all_steps(chain)
    scanned = prefix(_combined, _kernels(full))
    mean = apply(full.transition, scanned.offset) + full.drift
    root = triangular(jnp.concatenate([product(full.transition, scanned.root), full.transition_root], -1))
    before = jnp.concatenate([chain.initial_mean[None], mean[:-1]])
    roots = jnp.concatenate([chain.initial_root[None], root[:-1]])
    pre = jax.vmap(lambda s, c, a, q: arrays(chain, s, c, a, q))(
        roots, full.emission, full.transition, full.transition_root
    )
    blocks = Blocks.of(triangular(pre), d)
    innovation = full.observation - apply(full.emission, before)
    white = solve_lower(blocks.innovation, innovation[..., None])[..., 0]
    log_det = jnp.log(jnp.abs(jnp.diagonal(blocks.innovation, axis1=-2, axis2=-1)))
    real = jnp.arange(t) < real_steps(chain, steps)
    terms = offset - 0.5 * (white**2).sum(-1) - log_det.sum(-1)
    own = before + apply(blocks.to_own, white)
    following = apply(full.transition, before) + full.drift + apply(blocks.to_next, white)
    return Filtered(
        jnp.where(real, terms, 0.0).sum(),
        own,
        following,
        blocks.next_root,
        blocks.cross_root,
        blocks.own_root,
    )


def smooth(filtered: Filtered, steps: Int[Array, ""] | None = None) -> Smoothed:
    """Run the smoother over all steps at once.

    Args:
        filtered: The result of either filter.
        steps: Number of real steps; ``None`` for all.
    """
    last = last_steps(len(filtered.mean), steps)
    gain = filtered.gain
    alone = last[:, None, None]
    shift = filtered.mean - jnp.where(last[:, None], 0.0, apply(gain, filtered.next_mean))
    spread = jnp.where(alone, filtered.covariance, gram(filtered.own_root))
    elements = (jnp.where(alone, 0.0, gain), shift, spread)

    def combined(later: tuple, earlier: tuple) -> tuple:
        (g2, b2, c2), (g1, b1, c1) = later, earlier
        return product(g1, g2), apply(g1, b2) + b1, product(product(g1, c2), g1.mT) + c1

    flipped = prefix(combined, jax.tree.map(lambda a: a[::-1], elements))
    mean, cov = flipped[1][::-1], flipped[2][::-1]
    return masked_moments(mean, cov, gain, steps)


def _at_all_steps(chain: Chain) -> Chain:
    """Return the chain with one matrix a step, also for the last transition, which leads nowhere."""
    t, n = len(chain.observation), len(chain.initial_mean)

    def each(matrix: Array) -> Array:
        own = per_step(matrix, t)
        return jnp.broadcast_to(matrix, (t, *matrix.shape)) if own is None else own

    drift = jnp.concatenate([chain.drift, jnp.zeros((t - len(chain.drift), n), chain.drift.dtype)])
    return chain._replace(
        transition=each(chain.transition),
        drift=drift,
        transition_root=each(chain.transition_root),
        emission=each(chain.emission),
    )


def _kernels(full: Chain) -> Kernel:
    """Return the kernel of every step: into z_t, through x_t. The first knows of no z before it."""
    t, d, n = full.emission.shape
    matrix = jnp.concatenate([jnp.zeros((1, n, n), full.transition.dtype), full.transition[:-1]])
    offset = jnp.concatenate([full.initial_mean[None], full.drift[:-1]])
    root = jnp.concatenate([full.initial_root[None], full.transition_root[:-1]])
    through = product(full.emission, root)
    eye = jnp.broadcast_to(jnp.eye(d, dtype=root.dtype), (t, d, d))
    wide = jnp.concatenate([through, eye], -1), jnp.concatenate([root, jnp.zeros((t, n, d), root.dtype)], -1)
    tril = triangular(jnp.concatenate(wide, -2))
    white, own = tril[:, :d, :d], tril[:, d:, d:]
    gain = solve_lower_t(white, tril[:, d:, :d].mT).mT
    seen = full.observation - apply(full.emission, offset)
    ahead = solve_lower(white, product(full.emission, matrix)).mT
    white_seen = solve_lower(white, seen[..., None])[..., 0]
    pad = jnp.zeros((t, n, max(n - d, 0)), root.dtype)
    return Kernel(
        matrix - product(gain, product(full.emission, matrix)),
        offset + apply(gain, seen),
        own,
        apply(ahead, white_seen),
        jnp.concatenate([ahead, pad], -1),
    )


def _combined(first: Kernel, second: Kernel) -> Kernel:
    """Return the kernel of two stretches in a row."""
    n = first.matrix.shape[-1]
    u, z = first.root, second.precision_root
    eye = jnp.broadcast_to(jnp.eye(n, dtype=u.dtype), u.shape)
    upper = jnp.concatenate([product(u.mT, z), eye], -1)
    under = jnp.concatenate([z, jnp.zeros_like(z)], -1)
    tril = triangular(jnp.concatenate([upper, under], -2))
    xi, cross, left = tril[..., :n, :n], tril[..., n:, :n], tril[..., n:, n:]
    # (I + U Uᵀ Z Zᵀ)⁻¹ = I − back Ξ₂₁ᵀ
    back = solve_lower(xi, u.mT).mT
    inner = first.offset + apply(u, apply(u.mT, second.pull))
    known = second.pull - apply(z, apply(z.mT, first.offset))
    away = inner - apply(back, apply(cross.mT, inner))
    heard = known - apply(cross, apply(back.mT, known))
    shrunk = first.matrix - product(back, product(cross.mT, first.matrix))
    return Kernel(
        product(second.matrix, shrunk),
        apply(second.matrix, away) + second.offset,
        triangular(jnp.concatenate([product(second.matrix, back), second.root], -1)),
        apply(first.matrix.mT, heard) + first.pull,
        triangular(jnp.concatenate([product(first.matrix.mT, left), first.precision_root], -1)),
    )
