"""Hidden Markov chains: evidence, smoothing, filtering, the most probable path, samples of paths.

The recursion runs backwards in log-space (Rabiner 1989): β_t(i) = log p(x_{t+1:T} | z_t = i), less its
maximum at every step. What it normalizes on the way are the kernels p(z_{t+1} | z_t, x), so the posterior
over paths comes out as a Markov chain that runs forward, and everything after it is linear and cannot
underflow where it matters.

Time leads, states follow, and any further axes are a batch that runs in the innermost loops: log-likelihoods
are (T, K, *n). Transitions are (K, K), or one matrix per step, (T−1, K, K, *n), row i to column j. A sequence
padded to T has ``steps`` real ones; the others change no bit of any result. −∞ is a legal log-probability.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.weights import Compensated, compensated
from jensen.typing import Array, Float, Int, PRNGKey, Scalar

Steps = Int[Array, "*n"] | int | None
"""Number of real steps; ``None`` for all."""


class Messages(NamedTuple):
    """What the recursion leaves behind.

    Attributes:
        log_evidence: log p(x), in nats; −∞ where no path can explain x, 0 for no steps.
        first: Unnormalized log p(z_1 | x).
        later: log p(x_{t+1:T} | z_{t+1}) up to a constant: added to the rows of the transition matrix, they
            are the kernels p(z_{t+1} | z_t, x) before normalization.
        kernels: The kernels as probabilities; rows of zeros where z_t cannot explain x.
    """

    log_evidence: Float[Array, "*n"]
    first: Float[Array, "k *n"]
    later: Float[Array, "s k *n"]
    kernels: Float[Array, "s k k *n"]


class Smoothed(NamedTuple):
    """Marginals of the posterior over paths.

    Attributes:
        log_evidence: log p(x), in nats.
        marginals: p(z_t | x); zero at padded steps.
        pairs: p(z_t = i, z_{t+1} = j | x), summed over time for constant transitions, else step by step.
    """

    log_evidence: Float[Array, "*n"]
    marginals: Float[Array, "t k *n"]
    pairs: Float[Array, "*s k k n"] | Float[Array, "*s k k"]


class Filtered(NamedTuple):
    """What is known at every step from the past alone.

    Attributes:
        log_marginals: log p(z_t | x_{1:t}); at padded steps the last real one.
        log_predictive: log p(x_t | x_{1:t−1}), in nats; zero at padded steps.
    """

    log_marginals: Float[Array, "t k *n"]
    log_predictive: Float[Array, "t *n"]


def log_normalize(logits: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Return log-probabilities along an axis; −∞ where all of them are."""
    total = log_sum(logits, axis)
    return logits - jnp.expand_dims(jnp.where(jnp.isfinite(total), total, 0.0), axis)


def log_sum(logits: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Return log Σ exp along an axis; −∞, with gradient zero, where all of them are."""
    top = _top(logits, axis)
    total = jnp.exp(logits - jnp.expand_dims(top, axis)).sum(axis)
    return jnp.where(total > 0, top + jnp.log(jnp.where(total > 0, total, 1.0)), -jnp.inf)


def messages(
    log_initial: Float[Array, "k"],
    log_transition: Float[Array, "..."],
    log_like: Float[Array, "t k *n"],
    steps: Steps = None,
) -> Messages:
    """Run the recursion from the last step to the first.

    Args:
        log_initial: log p(z_1).
        log_transition: log p(z_{t+1} = j | z_t = i), (K, K) or (T−1, K, K, *n).
        log_like: log p(x_t | z_t), zero where nothing was observed.
        steps: Real steps.

    Returns:
        Evidence and kernels; whatever stands at padded steps has no meaning.
    """
    last, rest = _count(log_like, steps), log_like[1:]
    constant = _constant(log_transition, log_like)

    def step(
        carry: tuple[Array, Compensated], at: tuple[Array, ...]
    ) -> tuple[tuple[Array, Compensated], tuple[Array, Array]]:
        (beta, offset), (t, like, *own) = carry, at
        later = like + beta
        scores = (own[0] if own else constant) + later
        top = _top(scores, 1)
        weight = jnp.exp(scores - top[:, None])
        total = weight.sum(1)
        kernel = weight / jnp.where(total > 0, total, 1.0)[:, None]
        new = jnp.where(total > 0, top + jnp.log(jnp.where(total > 0, total, 1.0)), -jnp.inf)
        shift, real = _top(new, 0), t < last
        beta = jnp.where(real, new - shift, beta)
        return (beta, offset.add(jnp.where(real, shift, 0.0))), (later, kernel)

    # thousands of terms would lose the sixth digit in a plain sum of float32
    start = jnp.zeros_like(log_like[0]), compensated(log_like[0, 0])
    own = () if log_transition.ndim == 2 else (log_transition,)
    at = (jnp.arange(1, len(log_like)), rest, *own)
    (beta, offset), (later, kernels) = jax.lax.scan(step, start, at, reverse=True)
    first = _lead(log_initial, log_like[0]) + log_like[0] + beta
    evidence = jnp.where(last > 0, offset.sum + (offset.error + log_sum(first, 0)), 0.0)
    return Messages(evidence, first, later, kernels)


def smooth(
    log_initial: Float[Array, "k"],
    log_transition: Float[Array, "..."],
    log_like: Float[Array, "t k *n"],
    steps: Steps = None,
) -> Smoothed:
    """Return the marginals of states and of pairs of neighbours given the whole sequence.

    Args:
        log_initial: log p(z_1).
        log_transition: log p(z_{t+1} = j | z_t = i), (K, K) or (T−1, K, K, *n).
        log_like: log p(x_t | z_t).
        steps: Real steps.

    Example:
        >>> import jax.numpy as jnp
        >>> even = jnp.log(jnp.full(2, 0.5))
        >>> smooth(even, jnp.log(jnp.eye(2)), jnp.log(jnp.array([[0.3, 0.1], [0.5, 0.5]]))).marginals.tolist()
        [[0.75, 0.25], [0.75, 0.25]]
    """
    got = messages(log_initial, log_transition, log_like, steps)
    return _smooth(got, log_transition.ndim == 2, _count(log_like, steps))


def _smooth(got: Messages, summed: bool, last: Int[Array, "*n"]) -> Smoothed:
    first = jnp.exp(log_normalize(got.first, 0)) * (last > 0)

    def step(carry: tuple[Array, Array], at: tuple[Array, Array]) -> tuple[tuple[Array, Array], Any]:
        (gamma, total), (t, kernel) = carry, at
        pair = jnp.where(t < last, gamma[:, None] * kernel, 0.0)
        new = pair.sum(0)
        # rows of kernels sum to one up to rounding, which a long chain would gather
        new = new / jnp.where(t < last, jnp.maximum(new.sum(0), jnp.finfo(new.dtype).tiny), 1.0)
        carry = jnp.where(t < last, new, gamma), total + pair if summed else total
        return carry, (new, None if summed else pair)

    k, n = first.shape[0], first.shape[1:]
    total = jnp.zeros((k, k, *n) if summed else (), first.dtype)
    at = (jnp.arange(1, len(got.kernels) + 1), got.kernels)
    (_, total), (rest, pairs) = jax.lax.scan(step, (first, total), at)
    return Smoothed(got.log_evidence, jnp.concatenate([first[None], rest]), total if summed else pairs)


def chain_marginals(
    first: Float[Array, "k"], kernels: Float[Array, "s k k"], steps: Int[Array, ""] | int
) -> tuple[Float[Array, "s+1 k"], Float[Array, "s k k"]]:
    """Return p(z_t) and p(z_t = i, z_{t+1} = j) of a Markov chain, zero at padded steps.

    Args:
        first: log p(z_1), up to a constant.
        kernels: log p(z_{t+1} = j | z_t = i), each row up to a constant.
        steps: Real steps.
    """
    k = len(first)
    # the first step is one more kernel, so that all are computed by the same code to the same bits
    all_kernels = jnp.concatenate([jnp.broadcast_to(first, (1, k, k)), kernels])

    def step(gamma: Array, at: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        t, kernel = at
        pair = gamma[:, None] * jnp.exp(log_normalize(kernel))
        new = pair.sum(0) / jnp.maximum(pair.sum(), jnp.finfo(pair.dtype).tiny)
        return new, (jnp.where(t < steps, new, 0.0), jnp.where(t < steps, pair, 0.0))

    start = jnp.zeros_like(first).at[0].set(1.0)
    _, (marginals, pairs) = jax.lax.scan(step, start, (jnp.arange(len(all_kernels)), all_kernels))
    return marginals, pairs[1:]


@jax.custom_vjp
def evidence(
    log_initial: Float[Array, "k"],
    log_transition: Float[Array, "..."],
    log_like: Float[Array, "t k"],
    steps: Int[Array, ""],
) -> Scalar:
    """Return log p(x) of one sequence, in nats.

    Its gradient is the expected counts (Fisher's identity), one more pass and always finite: it is zero
    where no path explains x, and in every entry that is −∞.

    Args:
        log_initial: log p(z_1).
        log_transition: log p(z_{t+1} = j | z_t = i), (K, K) or (T−1, K, K).
        log_like: log p(x_t | z_t).
        steps: Real steps.
    """
    return messages(log_initial, log_transition, log_like, steps).log_evidence


def _evidence_forward(
    log_initial: Array, log_transition: Array, log_like: Array, steps: Array
) -> tuple[Scalar, Smoothed]:
    smoothed = smooth(log_initial, log_transition, log_like, steps)
    return smoothed.log_evidence, smoothed


def _evidence_backward(smoothed: Smoothed, cotangent: Scalar) -> tuple[Array, Array, Array, None]:
    gamma, pairs = smoothed.marginals, smoothed.pairs
    return cotangent * gamma[0], cotangent * pairs, cotangent * gamma, None


evidence.defvjp(_evidence_forward, _evidence_backward)


def filtering(
    log_initial: Float[Array, "k"],
    log_transition: Float[Array, "..."],
    log_like: Float[Array, "t k *n"],
    steps: Steps = None,
) -> Filtered:
    """Return what is known of every state from the observations up to it.

    Args:
        log_initial: log p(z_1).
        log_transition: log p(z_{t+1} = j | z_t = i), (K, K) or (T−1, K, K, *n).
        log_like: log p(x_t | z_t).
        steps: Real steps.
    """
    last = _count(log_like, steps)
    constant = _constant(log_transition, log_like)

    def update(predicted: Array, like: Array, t: Array, before: Array) -> tuple[Array, Array]:
        joint = predicted + like
        total = log_sum(joint, 0)
        return jnp.where(t < last, log_normalize(joint, 0), before), jnp.where(t < last, total, 0.0)

    def step(alpha: Array, at: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        t, like, *own = at
        predicted = log_sum(alpha[:, None] + (own[0] if own else constant), 0)
        alpha, total = update(predicted, like, t, alpha)
        return alpha, (alpha, total)

    prior = jnp.broadcast_to(_lead(log_initial, log_like[0]), log_like[0].shape)
    alpha, total = update(prior, log_like[0], jnp.zeros((), jnp.int32), prior)
    own = () if log_transition.ndim == 2 else (log_transition,)
    at = (jnp.arange(1, len(log_like)), log_like[1:], *own)
    _, (alphas, totals) = jax.lax.scan(step, alpha, at)
    return Filtered(jnp.concatenate([alpha[None], alphas]), jnp.concatenate([total[None], totals]))


def viterbi(
    log_initial: Float[Array, "k"],
    log_transition: Float[Array, "..."],
    log_like: Float[Array, "t k"],
    steps: Int[Array, ""] | int | None = None,
) -> Int[Array, "t"]:
    """Return the most probable path given one sequence (Viterbi 1967), −1 at padded steps.

    Args:
        log_initial: log p(z_1), up to a constant.
        log_transition: log p(z_{t+1} = j | z_t = i), (K, K) or (T−1, K, K).
        log_like: log p(x_t | z_t).
        steps: Real steps.
    """
    last = _count(log_like, steps)

    def back(delta: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
        t, like, *own = at
        scores = (own[0] if own else log_transition) + (like + delta)
        new = scores.max(1)
        return jnp.where(t < last, new - _top(new, 0), delta), scores.argmax(1)

    own = () if log_transition.ndim == 2 else (log_transition,)
    at = (jnp.arange(1, len(log_like)), log_like[1:], *own)
    delta, pointers = jax.lax.scan(back, jnp.zeros_like(log_like[0]), at, reverse=True)
    first = (log_initial + log_like[0] + delta).argmax()
    _, rest = jax.lax.scan(lambda z, pointer: (pointer[z], pointer[z]), first, pointers)
    return _ended(jnp.concatenate([first[None], rest]), last)


def sample_path(
    first: Float[Array, "k"], kernels: Float[Array, "s k k"], steps: Int[Array, ""] | int, *, key: PRNGKey
) -> Int[Array, "s+1"]:
    """Draw a path of a Markov chain, −1 at padded steps. Each step has its own randomness, whatever T is.

    Args:
        first: log p(z_1), up to a constant.
        kernels: log p(z_{t+1} = j | z_t = i), each row up to a constant.
        steps: Real steps.
        key: Randomness.
    """
    t, k = jnp.arange(len(kernels) + 1), len(first)
    noise = jax.vmap(lambda t: jax.random.gumbel(jax.random.fold_in(key, t), (k,), first.dtype))(t)

    def step(z: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        kernel, noise = at
        z = (kernel[z] + noise).argmax()
        return z, z

    start = (first + noise[0]).argmax()
    _, rest = jax.lax.scan(step, start, (kernels, noise[1:]))
    return _ended(jnp.concatenate([start[None], rest]), jnp.asarray(steps))


def path_log_prob(
    first: Float[Array, "k"], kernels: Float[Array, "*s k k"], path: Int[Array, "t"]
) -> Float[Array, "t"]:
    """Return log p(z_1), log p(z_2 | z_1), …, in nats; zero at padded steps, where the path holds −1.

    Args:
        first: log p(z_1), up to a constant.
        kernels: log p(z_{t+1} = j | z_t = i), (T−1, K, K) or (K, K), each row up to a constant.
        path: States.
    """
    before, after = path[:-1], path[1:]
    rows = kernels[before] if kernels.ndim == 2 else kernels[jnp.arange(len(before)), before]
    start = log_normalize(first)[path[:1]]
    rest = jnp.take_along_axis(log_normalize(rows), jnp.maximum(after, 0)[:, None], 1)[:, 0]
    return jnp.where(path >= 0, jnp.concatenate([start, rest]), 0.0)


def _top(values: Array, axis: int) -> Array:
    """Return the maximum, or 0 where it is −∞, so that it can be subtracted. A constant to derivatives."""
    top = jax.lax.stop_gradient(values).max(axis)
    return jnp.where(jnp.isfinite(top), top, 0.0)


def _count(log_like: Array, steps: Steps) -> Array:
    return jnp.full(log_like.shape[2:], len(log_like) if steps is None else 0) + (
        0 if steps is None else steps
    )


def _constant(log_transition: Array, log_like: Array) -> Array:
    """Return a constant matrix with axes for the batch; per-step ones have them already."""
    return log_transition.reshape(log_transition.shape + (1,) * (log_like.ndim - 2))


def _lead(log_initial: Array, like: Array) -> Array:
    return log_initial.reshape(log_initial.shape + (1,) * (like.ndim - 1))


def _ended(path: Array, last: Array) -> Array:
    return jnp.where(jnp.arange(len(path)) < last, path, -1)
