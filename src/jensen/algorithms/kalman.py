r"""The Kalman filter and the Rauch-Tung-Striebel smoother, in square-root form.

A chain z_1 ~ N(m, P), z_{t+1} = A_t z_t + b_t + N(0, Q_t), x_t = C_t z_t + N(0, I). Observations are whitened
by the caller: x and C in units of the noise; a hidden entry is a row of C and an entry of x that are zero.

One orthogonal triangularization a step carries everything (Morf & Kailath 1975; Kailath, Sayed & Hassibi
2000, ch. 12). With S a root of the predicted covariance, P = S Sᵀ,

    [ I  C S  0 ]       [ V   0   0 ]     rows: x_t
    [ 0  A S  √Q ] Θ  =  [ K₁  S⁺  0 ]           z_{t+1}
    [ 0  S    0 ]       [ K₂  J   X ]           z_t

V whitens the innovation, S⁺ is the next root, and z_t | z_{t+1}, x_{1:t} has gain G = J (S⁺)⁻¹ and root X. No
covariance is ever subtracted: smoothed covariances are the sums X Xᵀ + G P G ᵀ. Roots do not depend on the
data, so under ``jax.vmap`` over sequences without missing entries they are computed once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import linalg
from jensen.typing import Array, Bool, Float, Int, PRNGKey, Scalar

UNROLLED = 8
"""Largest matrix whose triangular systems are written out, vectorized over time."""


class Chain(NamedTuple):
    """A linear-Gaussian chain with its observations, noise of unit variance.

    Attributes:
        initial_mean: m.
        initial_root: Lower-triangular root of P.
        transition: A, the same at all steps or one a step.
        drift: b_t.
        transition_root: Lower-triangular root of Q, likewise.
        emission: C, likewise; hidden entries are zero rows.
        observation: x_t; hidden and padded entries are zero.
    """

    initial_mean: Float[Array, "n"]
    initial_root: Float[Array, "n n"]
    transition: Float[Array, "*steps n n"]
    drift: Float[Array, "t-1 n"]
    transition_root: Float[Array, "*steps n n"]
    emission: Float[Array, "*times d n"]
    observation: Float[Array, "t d"]


class Filtered(NamedTuple):
    """What the filter knows. Past the last real step the entries mean nothing.

    Attributes:
        log_likelihood: log p(x_{1:T}), in nats.
        mean: E[z_t | x_{1:t}].
        next_mean: E[z_{t+1} | x_{1:t}].
        next_root: S⁺, a lower-triangular root of Cov[z_{t+1} | x_{1:t}].
        cross_root: J, with Cov[z_t, z_{t+1} | x_{1:t}] = J S⁺ᵀ.
        own_root: X, a lower-triangular root of Cov[z_t | z_{t+1}, x_{1:t}].
    """

    log_likelihood: Scalar
    mean: Float[Array, "t n"]
    next_mean: Float[Array, "t n"]
    next_root: Float[Array, "t n n"]
    cross_root: Float[Array, "t n n"]
    own_root: Float[Array, "t n n"]

    @property
    def covariance(self) -> Float[Array, "t n n"]:
        """Cov[z_t | x_{1:t}]."""
        return gram(self.cross_root) + gram(self.own_root)

    @property
    def gain(self) -> Float[Array, "t n n"]:
        """G = J (S⁺)⁻¹: E[z_t | z_{t+1}, x_{1:t}] = mean + G (z_{t+1} − next_mean)."""
        return solve_lower_t(self.next_root, self.cross_root.mT).mT


class Smoothed(NamedTuple):
    """Moments of z given all observations, zero past the last real step.

    Attributes:
        mean: E[z_t | x_{1:T}].
        covariance: Cov[z_t | x_{1:T}].
        cross: Cov[z_{t+1}, z_t | x_{1:T}].
    """

    mean: Float[Array, "t n"]
    covariance: Float[Array, "t n n"]
    cross: Float[Array, "t-1 n n"]


def product(left: Float[Array, "*b n k"], right: Float[Array, "*c k m"]) -> Float[Array, "*d n m"]:
    """Return A B for stacks of small matrices: on CPU a plain loop beats a batched matrix product.

    Sums are written out: XLA takes a sum of products for a matrix product, and jaxlib 0.10.2 on CPU then
    answers wrongly where a stack holds more than 2¹⁶ numbers (jax-ml/jax#39103).
    """
    if not 0 < left.shape[-1] <= UNROLLED:
        return left @ right
    return sum_of(left[..., :, k, None] * right[..., k, None, :] for k in range(left.shape[-1]))


def apply(matrix: Float[Array, "*b n k"], vector: Float[Array, "*c k"]) -> Float[Array, "*d n"]:
    """Return A v for stacks of small matrices and vectors."""
    if not 0 < matrix.shape[-1] <= UNROLLED:
        return jnp.einsum("...ij,...j->...i", matrix, vector)
    return sum_of(matrix[..., k] * vector[..., k, None] for k in range(matrix.shape[-1]))


def sum_of(terms: Iterable[Array]) -> Array:
    """Return t_1 + t_2 + …, in this order."""
    return reduce(add, terms)


def gram(root: Float[Array, "*b n m"]) -> Float[Array, "*b n n"]:
    """Return L Lᵀ."""
    return product(root, root.mT)


def solve_lower(tril: Float[Array, "*b n n"], right: Float[Array, "*b n m"]) -> Float[Array, "*b n m"]:
    """Return L⁻¹ B for a stack of small lower-triangular matrices."""
    n = tril.shape[-1]
    if n > UNROLLED:
        return _over_stack(linalg.solve_lower, tril, right)
    rows, rest = [], right
    for i in range(n):
        row = rest[..., 0, :] / tril[..., i, i, None]
        rows.append(row)
        rest = rest[..., 1:, :] - tril[..., i + 1 :, i, None] * row[..., None, :]
    return jnp.stack(rows, -2)


def solve_lower_t(tril: Float[Array, "*b n n"], right: Float[Array, "*b n m"]) -> Float[Array, "*b n m"]:
    """Return L⁻ᵀ B for a stack of small lower-triangular matrices."""
    flipped = tril.mT[..., ::-1, ::-1]
    return solve_lower(flipped, right[..., ::-1, :])[..., ::-1, :]


def _over_stack(function, tril: Array, right: Array) -> Array:
    for _ in range(tril.ndim - 2):
        function = jax.vmap(function)
    return function(tril, right)


def real_steps(chain: Chain, steps: Int[Array, ""] | None) -> Int[Array, ""] | int:
    """Return the number of real steps: T where none is given."""
    return len(chain.observation) if steps is None else steps


def collapsed(chain: Chain) -> tuple[Chain, Float[Array, "t"]]:
    """Return the chain with at most n observations a step, and what the others add to log p(x).

    Where D > n, x enters only through its projection on the columns of C (Jungbacker & Koopman 2015); the
    rest of it is noise, whose density does not depend on z.
    """
    t, d = chain.observation.shape
    n = len(chain.initial_mean)
    if d <= n:
        return chain, jnp.zeros(t, chain.observation.dtype)
    if chain.emission.ndim == 2:
        basis, upper = linalg.qr(chain.emission)
        inside = chain.observation @ basis
        rest = chain.observation - inside @ basis.T
    else:
        basis, upper = jax.vmap(linalg.qr)(chain.emission)
        inside = apply(basis.mT, chain.observation)
        rest = chain.observation - apply(basis, inside)
    return chain._replace(emission=upper, observation=inside), -0.5 * (rest**2).sum(-1)


def per_step(matrix: Float[Array, "*steps n m"], length: int) -> Float[Array, "t n m"] | None:
    """Return one matrix a step, the identity where the last step has none; ``None`` if all are equal."""
    if matrix.ndim == 2:
        return None
    eye = jnp.eye(*matrix.shape[1:], dtype=matrix.dtype)
    return jnp.concatenate([matrix, jnp.broadcast_to(eye, (length - len(matrix), *eye.shape))])


def arrays(
    chain: Chain, root: Float[Array, "n n"], emission: Array, transition: Array, noise: Array
) -> Array:
    """Return the matrix that one step triangularizes."""
    d, n = emission.shape
    maps = jnp.concatenate([emission, transition, jnp.eye(n, dtype=root.dtype)]) @ root
    left = jnp.asarray(np.eye(d + 2 * n, d), root.dtype)
    right = jnp.concatenate([jnp.zeros((d, n), root.dtype), noise, jnp.zeros((n, n), root.dtype)])
    return jnp.concatenate([left, maps, right], 1)


def lower(matrix: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """Return a lower-triangular L with L Lᵀ = M Mᵀ, signs of the diagonal left as they come."""
    return linalg.qr(matrix.T)[1].T


def _roots(chain: Chain) -> Float[Array, "t m m"]:
    """Return the triangularized arrays of all steps."""
    t, n = len(chain.observation), len(chain.initial_mean)
    d = chain.emission.shape[-2]
    each = [per_step(m, t) for m in (chain.emission, chain.transition, chain.transition_root)]

    def step(root: Array, own: list[Array | None]) -> tuple[Array, Array]:
        c, a, q = (
            fixed if mine is None else mine
            for mine, fixed in zip(
                own, (chain.emission, chain.transition, chain.transition_root), strict=True
            )
        )
        tril = lower(arrays(chain, root, c, a, q))
        return tril[d : d + n, d : d + n], tril

    return jax.lax.scan(step, chain.initial_root, each, length=t)[1]


class Blocks(NamedTuple):
    """The parts of the triangularized arrays, time first."""

    innovation: Float[Array, "t d d"]
    to_next: Float[Array, "t n d"]
    next_root: Float[Array, "t n n"]
    to_own: Float[Array, "t n d"]
    cross_root: Float[Array, "t n n"]
    own_root: Float[Array, "t n n"]

    @classmethod
    def of(cls, tril: Float[Array, "t m m"], d: int) -> Blocks:
        """Cut them."""
        n = (tril.shape[-1] - d) // 2
        x, z, own = slice(0, d), slice(d, d + n), slice(d + n, None)
        parts = (x, x), (z, x), (z, z), (own, x), (own, z), (own, own)
        return cls(*(tril[:, rows, columns] for rows, columns in parts))


def filter(chain: Chain, steps: Int[Array, ""] | None = None) -> Filtered:
    """Run the filter, one step after another.

    Args:
        chain: The model with its observations.
        steps: Number of real steps; ``None`` for all.

    Returns:
        Filtered moments, and log p(x) without the constant −½ log 2π of each observed entry. Padded steps
        change no bit of the rest.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.ones((1, 1))
        >>> chain = Chain(jnp.zeros(1), one, one, jnp.zeros((2, 1)), one, one, jnp.ones((3, 1)))
        >>> [round(v, 3) for v in filter(chain).mean[:, 0].tolist()]
        [0.5, 0.8, 0.923]
    """
    chain, offset = collapsed(chain)
    d = chain.emission.shape[-2]
    blocks = Blocks.of(_roots(chain), d)
    white = solve_lower(
        blocks.innovation, jnp.broadcast_to(jnp.eye(d, dtype=offset.dtype), blocks.innovation.shape)
    )
    log_det = jnp.log(jnp.abs(jnp.diagonal(blocks.innovation, axis1=-2, axis2=-1)))
    push = jnp.concatenate([product(blocks.to_next, white), white], 1)
    mean, whitened, log_likelihood = _means(chain, push, offset, log_det, steps)
    own = mean[:-1] + apply(blocks.to_own, whitened)
    return Filtered(log_likelihood, own, mean[1:], blocks.next_root, blocks.cross_root, blocks.own_root)


def _means(
    chain: Chain, push: Float[Array, "t m d"], offset: Float[Array, "t"], log_det: Float[Array, "t d"],
    steps: Int[Array, ""] | None,
) -> tuple[Float[Array, "t+1 n"], Float[Array, "t d"], Scalar]:  # fmt: skip
    """Return predicted means (one more than observations), whitened innovations and log p(x)."""
    t, n = len(chain.observation), len(chain.initial_mean)
    d = chain.emission.shape[-2]
    maps = [per_step(m, t) for m in (chain.emission, chain.transition)]
    drift = jnp.concatenate([chain.drift, jnp.zeros((t - len(chain.drift), n), chain.drift.dtype)])
    real = jnp.arange(t) < real_steps(chain, steps)

    def step(carry: tuple[Array, Array], now: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (mean, total), ((c, a), gain, x, b, extra, dets, is_real) = carry, now
        c, a = chain.emission if c is None else c, chain.transition if a is None else a
        both = apply(gain, x - apply(c, mean))
        white = both[n:]
        # the sum is made here, in order, so that padding cannot change how it is rounded
        term = extra
        for i in range(d):
            term = term - 0.5 * white[i] ** 2 - dets[i]
        new = apply(a, mean) + b + both[:n]
        return (new, total + jnp.where(is_real, term, 0.0)), (new, white)

    start = (chain.initial_mean, jnp.zeros((), chain.observation.dtype))
    xs = (tuple(maps), push, chain.observation, drift, offset, log_det, real)
    (_, log_likelihood), (means, whitened) = jax.lax.scan(step, start, xs)
    return jnp.concatenate([chain.initial_mean[None], means]), whitened, log_likelihood


def smooth(filtered: Filtered, steps: Int[Array, ""] | None = None) -> Smoothed:
    """Run the smoother backwards over what the filter left.

    Args:
        filtered: The filter's result.
        steps: Number of real steps; ``None`` for all.
    """
    t = len(filtered.mean)
    last, gain = last_steps(t, steps), filtered.gain
    covariance, own = filtered.covariance, gram(filtered.own_root)

    def step(carry: tuple[Array, Array], now: tuple) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (mean, cov), (is_last, g, here, following, alone, kept) = carry, now
        mean = jnp.where(is_last, here, here + apply(g, mean - following))
        cov = jnp.where(is_last, alone, kept + product(product(g, cov), g.T))
        return (mean, cov), (mean, cov)

    start = (filtered.mean[-1], covariance[-1])
    xs = (last, gain, filtered.mean, filtered.next_mean, covariance, own)
    _, (mean, cov) = jax.lax.scan(step, start, xs, reverse=True)
    return masked_moments(mean, cov, gain, steps)


def last_steps(t: int, steps: Int[Array, ""] | None) -> Bool[Array, "t"]:
    """Say where nothing real follows."""
    return jnp.arange(t) >= (t if steps is None else steps) - 1


def masked_moments(mean: Array, cov: Array, gain: Array, steps: Int[Array, ""] | None) -> Smoothed:
    """Return smoothed moments with the cross-covariances, zero where padded."""
    cross = product(cov[1:], gain[:-1].mT)
    if steps is None:
        return Smoothed(mean, cov, cross)
    real = jnp.arange(len(mean)) < steps
    wide = real[:, None, None]
    return Smoothed(
        jnp.where(real[:, None], mean, 0.0), jnp.where(wide, cov, 0.0), jnp.where(wide[1:], cross, 0.0)
    )


def sample(filtered: Filtered, steps: Int[Array, ""] | None = None, *, key: PRNGKey) -> Float[Array, "t n"]:
    """Draw a path from p(z_{1:T} | x_{1:T}), backwards; zero past the last real step."""
    t, n = filtered.mean.shape
    # one pair of vectors a step: the last real step draws from its whole filtered covariance
    first, second = jax.random.normal(key, (t, 2, n), filtered.mean.dtype).swapaxes(0, 1)
    alone = filtered.mean + apply(filtered.own_root, first)
    ending = alone + apply(filtered.cross_root, second)
    gain, last = filtered.gain, last_steps(t, steps)

    def step(z: Array, now: tuple) -> tuple[Array, Array]:
        is_last, g, following, mine, end = now
        z = jnp.where(is_last, end, mine + apply(g, z - following))
        return z, z

    xs = (last, gain, filtered.next_mean, alone, ending)
    z = jax.lax.scan(step, filtered.mean[-1], xs, reverse=True)[1]
    return z if steps is None else jnp.where(jnp.arange(t)[:, None] < steps, z, 0.0)


def log_density(
    filtered: Filtered, z: Float[Array, "t n"], steps: Int[Array, ""] | None = None
) -> Float[Array, "t"]:
    """Return log p(z_t | z_{t+1}, x_{1:t}) for every step, in nats; their sum is log p(z_{1:T} | x_{1:T})."""
    t, n = z.shape
    last = last_steps(t, steps)
    following = jnp.concatenate([z[1:], z[-1:]])
    pull = apply(filtered.gain, following - filtered.next_mean)
    away = z - filtered.mean - jnp.where(last[:, None], 0.0, pull)
    end = jnp.clip((t if steps is None else steps) - 1, 0)
    ending = linalg.qr(jnp.concatenate([filtered.cross_root[end].T, filtered.own_root[end].T]))[1].T
    root = jnp.where(last[:, None, None], ending, filtered.own_root)
    white = solve_lower(root, away[..., None])[..., 0]
    log_det = jnp.log(jnp.abs(jnp.diagonal(root, axis1=-2, axis2=-1))).sum(-1)
    entries = -0.5 * (white**2).sum(-1) - log_det - 0.5 * n * np.log(2 * np.pi)
    return entries if steps is None else jnp.where(jnp.arange(t) < steps, entries, 0.0)
