r"""Particle filters: log p(x_{1:T}) from below, and from above along a path known to be the posterior's.

K particles are moved by q(z_t | z_{1:t−1}), weighed by p(x_t, z_t | z_{1:t−1})/q(z_t | z_{1:t−1}), and
resampled where few of them carry the weight. With W̄ the normalized weights carried over from the last step
(1/K after resampling) and g the new ones,

    Ẑ = ∏_t Σ_k W̄_{t−1}^k g_t^k,     E[Ẑ] = p(x_{1:T}),

whatever decides when to resample, as long as it looks at the past only (Del Moral 2004, ch. 7). So log Ẑ is a
lower bound on average.

**From above.** Conditional SMC keeps one given path alive in slot 0, and fills the other slots as the filter
does, given that the path survives. Call ψ the law of everything the filter draws, with a random cyclic shift
of slots after each resampling, which leaves the law of Ẑ alone. Pick a final slot b by its weight W̄_T^b.
Along its ancestors the proposals and the resampling probabilities (W̄ of the parent at every resampling, 1/K
for the slot it lands in) multiply to those of ψ, and the weights cancel telescopically (Andrieu, Doucet and
Holenstein 2010, theorem 4):

    ψ(everything) · W̄_T^b · Ẑ / p(x)  =  p(path | x) · Pr[slots of the path] · CSMC(everything else | path).

Hence with a path from the exact posterior, such as the latents that generated simulated data,

    E_{CSMC}[1/Ẑ]  =  E_ψ[Σ_b W̄_T^b · Ẑ/p(x) · 1/Ẑ]  =  Pr_ψ[Ẑ > 0]/p(x)  ≤  1/p(x),

with equality where Ẑ cannot be zero: −log Ẑ of a conditional run is certified from above as AIS's backward
chain is. Any other path makes it a heuristic. Systematic resampling given survival: the parents of all slots
come from one uniform number u; given that slot 0's parent is slot 0 its density is proportional to the number
of children of slot 0, which is that of the fractional part of v ~ U(0, K W̄^0); ⌊v⌋ says which child is it.
Slots lie on a circle: shifting them all changes nothing, so the path may stay in slot 0.

Resampling is not differentiated: gradients pass through the particles that survive and through the weights,
not through the choice of survivors.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from jensen.algorithms.weights import compensated, effective_sample_size
from jensen.typing import Array, Bool, Float, Int, PRNGKey, PyTree, Scalar


class Moved(NamedTuple):
    """One particle after one step.

    Attributes:
        particle: What the next step must know: z_t, and a recurrent state if there is one.
        z: z_t.
        log_weight: log p(x_t, z_t | z_{1:t−1}) − log q(z_t | z_{1:t−1}), in nats.
        detail: Anything else to be kept.
    """

    particle: PyTree
    z: PyTree
    log_weight: Scalar
    detail: PyTree = None


class Propose(Protocol):
    """Draw z_t and weigh it."""

    def __call__(self, before: Any, t: Int[Array, ""], *, key: PRNGKey) -> Moved:
        """``before`` is the particle of step t − 1; ``None`` at t = 0, called apart from the later steps."""
        ...


class Follow(Protocol):
    """Weigh a z_t that is given, as if it had been proposed."""

    def __call__(self, before: Any, t: Int[Array, ""], z: Any) -> Moved:
        """``before`` as in `Propose`."""
        ...


class Moves(NamedTuple):
    """How one particle moves; `jax.vmap` over particles is the filter's.

    Attributes:
        propose: Draws z_t.
        follow: Weighs a given z_t by the same formula; only conditional runs call it.
    """

    propose: Propose
    follow: Follow


class Particles(NamedTuple):
    """What a particle filter leaves. Entries of padded steps are zero; their ancestors are themselves.

    Attributes:
        log_evidence: log Ẑ in nats; −∞ where all weights of some step were zero.
        log_increments: log p̂(x_t | x_{1:t−1}), summing to ``log_evidence``.
        z: The particles of every step before resampling, (T, K, ...).
        ancestors: The slot at t − 1 that slot k at t descends from.
        log_weights: Log of normalized weights after the last real step.
        sizes: Effective sample sizes of the weights at every step.
        detail: What the moves kept, (T, K, ...).
    """

    log_evidence: Scalar
    log_increments: Float[Array, "t"]
    z: PyTree
    ancestors: Int[Array, "t k"]
    log_weights: Float[Array, "k"]
    sizes: Float[Array, "t"]
    detail: PyTree = None


def systematic(log_weights: Float[Array, "k"], u: Scalar) -> Int[Array, "k"]:
    """Return parents: slot j descends from where (u + j)/K falls in the cumulated weights.

    Every parent has K w̃ children, rounded down or up, and K w̃ on average over u.

    Args:
        log_weights: In nats; not all zero weights.
        u: A uniform number in [0, 1).

    Example:
        >>> systematic(jnp.log(jnp.array([0.5, 0.0, 0.25, 0.25])), jnp.array(0.5)).tolist()
        [0, 0, 2, 3]
    """
    count = len(log_weights)
    upto = jnp.cumsum(jnp.exp(log_weights - log_weights.max()))
    points = (u + jnp.arange(count)) / count
    # strictly below one, so that no point falls past the last positive weight
    points = jnp.minimum(points, 1 - jnp.finfo(points.dtype).epsneg)
    return jnp.searchsorted(upto / upto[-1], points, side="right").astype(jnp.int32)


def systematic_given(log_weights: Float[Array, "k"], u: Scalar) -> Int[Array, "k"]:
    """Return parents given that slot 0 descends from slot 0: see the head of this file.

    Args:
        log_weights: Log of normalized weights, in nats.
        u: A uniform number in [0, 1).
    """
    children = len(log_weights) * jnp.exp(log_weights[0])
    v = u * children
    which = jnp.floor(v)
    parents = systematic(log_weights, v - which)
    return jnp.roll(parents, -which.astype(jnp.int32)).at[0].set(0)


def particle_filter(
    moves: Moves,
    length: int,
    num_particles: int,
    steps: Int[Array, ""] | int | None = None,
    *,
    resample_below: float = 0.5,
    key: PRNGKey,
) -> Particles:
    """Run a particle filter: E[exp(log_evidence)] = p(x_{1:T}).

    Args:
        moves: Proposal and weights of one particle: ``bootstrap(...)``, or guided ones of one's own.
        length: T, with padding.
        num_particles: K.
        steps: Real steps; ``None`` for T. Padded ones change nothing; with none at all log Ẑ = 0.
        resample_below: Resample before a step if the effective sample size is at most this share of K:
            1 resamples before every step, 0 never does (importance sampling of paths).
        key: Randomness; step t's part of it does not depend on T.

    Returns:
        The particles.

    Source:
        Gordon, Salmond and Smith (1993); Kitagawa (1996), systematic resampling.

    Example:
        >>> from jax.scipy.stats import norm
        >>> x = jnp.array([0.3, -0.1, 0.8])
        >>> walk = bootstrap(  # z_1 ~ N(0, 1), z_{t+1} ~ N(z_t, 1), x_t ~ N(z_t, 1)
        ...     lambda key: jax.random.normal(key),
        ...     lambda z, t, key: z + jax.random.normal(key),
        ...     lambda z, t: norm.logpdf(x[t], z))
        >>> round(float(particle_filter(walk, 3, 4000, key=jax.random.key(0)).log_evidence), 1)
        -4.2
    """
    return _run(moves, None, length, num_particles, steps, resample_below, key)


def conditional_particle_filter(
    moves: Moves,
    path: PyTree,
    num_particles: int,
    steps: Int[Array, ""] | int | None = None,
    *,
    resample_below: float = 0.5,
    key: PRNGKey,
) -> Particles:
    """Run a particle filter in which slot 0 holds a given path: E[exp(−log_evidence)] ≤ 1/p(x_{1:T}).

    With equality unless the filter can lose all its particles.

    Args:
        moves: Proposal and weights of one particle.
        path: z_{1:T}, a draw of p(z_{1:T} | x_{1:T}); leading axis T. Of any other path the result is a
            heuristic that can fall below the truth.
        num_particles: K, the path included.
        steps: Real steps; ``None`` for T.
        resample_below: As in ``particle_filter``.
        key: Fresh randomness.

    Returns:
        The particles. Where the path has no probability ``log_evidence`` is +∞, an upper side that says
        nothing.
    """
    length = len(jax.tree.leaves(path)[0])
    return _run(moves, path, length, num_particles, steps, resample_below, key)


def bootstrap(first: Any, later: Any, log_likelihood: Any) -> Moves:
    """Return the moves of the bootstrap filter: propose from the dynamics, weigh by the likelihood.

    Args:
        first: ``key -> z_1``.
        later: ``(z_{t−1}, t, key) -> z_t`` for t ≥ 1.
        log_likelihood: ``(z_t, t) -> log p(x_t | z_t)``, in nats.
    """

    def follow(before: Any, t: Int[Array, ""], z: Any) -> Moved:
        return Moved(z, z, log_likelihood(z, t))

    def propose(before: Any, t: Int[Array, ""], *, key: PRNGKey) -> Moved:
        return follow(before, t, first(key) if before is None else later(before, t, key))

    return Moves(propose, follow)


class _State(NamedTuple):
    """What a step hands to the next."""

    particle: PyTree
    log_weights: Float[Array, "k"]
    total: Any
    dead: Bool[Array, ""]


def _run(
    moves: Moves, path: PyTree, length: int, count: int, steps: Any, resample_below: float, key: PRNGKey
) -> Particles:
    uniform = jnp.full(count, -jnp.log(float(count)))
    keep = jnp.arange(count, dtype=jnp.int32)
    last = length if steps is None else steps

    def move(before: Any, t: Int[Array, ""], key: PRNGKey) -> Moved:
        keys = jax.random.split(key, count)
        axis = None if before is None else 0
        moved = jax.vmap(lambda p, key: moves.propose(p, t, key=key), (axis, 0))(before, keys)
        if path is None:
            return moved
        z = jax.tree.map(lambda leaf: leaf[t], path)
        given = moves.follow(jax.tree.map(lambda leaf: leaf[0], before), t, z)
        return jax.tree.map(lambda many, one: many.at[0].set(one), moved, given)

    def weighed(state: _State, moved: Moved, ancestors: Array, t: Any) -> tuple[_State, tuple]:
        """Take the step's weights in, if it is a real one."""
        real = t < last
        log_w = state.log_weights + jnp.where(real, moved.log_weight, 0.0)
        increment, log_w = _normalized(log_w, uniform)
        increment = jnp.where(real, increment, 0.0)
        lost = jnp.isneginf(increment)
        if path is not None:
            lost = lost | (real & ~(moved.log_weight[0] > -jnp.inf))
        log_w = jnp.where(real, log_w, state.log_weights)
        new = _State(
            moved.particle, log_w, state.total.add(jnp.where(lost, 0.0, increment)), state.dead | lost
        )
        kept = jax.tree.map(lambda leaf: jnp.where(real, leaf, jnp.zeros_like(leaf)), (moved.z, moved.detail))
        return new, (*kept, increment, ancestors, effective_sample_size(jax.lax.stop_gradient(log_w)))

    def step(state: _State, t: Int[Array, ""]) -> tuple[_State, tuple]:
        choose, draw = jax.random.split(jax.random.fold_in(key, t))
        fixed = jax.lax.stop_gradient(state.log_weights)
        few = (effective_sample_size(fixed) <= resample_below * count) & (t < last)
        pick = systematic if path is None else systematic_given
        ancestors = jnp.where(few, pick(fixed, jax.random.uniform(choose)), keep)
        chosen = jax.tree.map(lambda leaf: leaf[ancestors], state.particle)
        state = state._replace(log_weights=jnp.where(few, uniform, state.log_weights))
        return weighed(state, move(chosen, t, draw), ancestors, t)

    zero = jnp.zeros((), jnp.int32)
    moved = move(None, zero, jax.random.fold_in(key, zero))
    start = _State(moved.particle, uniform, compensated(uniform[0]), jnp.zeros((), bool))
    state, opening = weighed(start, moved, keep, zero)
    state, rest = jax.lax.scan(step, state, jnp.arange(1, length, dtype=jnp.int32))
    z, detail, increments, ancestors, sizes = jax.tree.map(
        lambda one, many: jnp.concatenate([one[None], many]), opening, rest
    )
    nothing = -jnp.inf if path is None else jnp.inf
    log_evidence = jnp.where(state.dead, nothing, state.total.value)
    return Particles(log_evidence, increments, z, ancestors, state.log_weights, sizes, detail)


def _normalized(log_w: Float[Array, "k"], instead: Float[Array, "k"]) -> tuple[Scalar, Float[Array, "k"]]:
    """Return log Σ w and log-weights less it; −∞ and ``instead`` where every weight is zero."""
    none = jnp.isneginf(log_w).all()
    total = jax.nn.logsumexp(jnp.where(none, instead, log_w))
    return jnp.where(none, -jnp.inf, total), jnp.where(none, instead, log_w - total)


def trace(ancestors: Int[Array, "t k"], slot: Int[Array, ""]) -> Int[Array, "t"]:
    """Return the slots a final one descends from, itself last.

    Example:
        >>> trace(jnp.array([[0, 1], [1, 1], [0, 0]]), jnp.array(1)).tolist()
        [1, 0, 1]
    """

    def back(slot: Array, parents: Array) -> tuple[Array, Array]:
        return parents[slot], slot

    return jax.lax.scan(back, jnp.asarray(slot, ancestors.dtype), ancestors, reverse=True)[1]


def genealogy(ancestors: Int[Array, "t k"], values: PyTree) -> PyTree:
    """Return what the K final slots descend from, (K, T, ...), of values (T, K, ...)."""
    count = ancestors.shape[1]
    lines = jax.vmap(lambda slot: trace(ancestors, slot))(jnp.arange(count))
    times = jnp.arange(len(ancestors))
    return jax.tree.map(lambda leaf: jax.vmap(lambda line: leaf[times, line])(lines), values)


def sample_path(particles: Particles, *, key: PRNGKey) -> PyTree:
    """Draw one path z_{1:T} among the final particles by their weights.

    Close to a draw of p(z_{1:T} | x_{1:T}) for many particles; early steps of different draws coincide, as
    few ancestors survive.
    """
    line = trace(particles.ancestors, jax.random.categorical(key, particles.log_weights))
    times = jnp.arange(len(line))
    return jax.tree.map(lambda leaf: leaf[times, line], particles.z)
