"""Annealed importance sampling between q(z) and p(x, z), from below and from above, for one datum.

Forward from q: E[exp(log_weight)] = p(x). Backward from an exact posterior draw: E[exp(−log_weight)] =
1/p(x). By Jensen's inequality the first is low and the second high on average, so together they bracket log
p(x).

Three things void this, and none can be seen in the output: transitions tuned inside the weighted run; a pilot
run that saw the exact draw which starts the backward chain; noise shared between data whose estimates are
multiplied. Hence everything that shapes a transition is an *input* here (`Kernels`), fixed before the first
weighted chain.

Source:
    Neal (2001), Annealed importance sampling; Sohl-Dickstein and Culpepper (2012), Hamiltonian annealed
    importance sampling; Grosse, Ghahramani and Adams (2015), Sandwiching the marginal likelihood with
    bidirectional Monte Carlo.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms.hmc import Metric, Path, Point, evaluate, refresh, transition
from jensen.algorithms.weights import compensated, log_mean_exp
from jensen.typing import Array, Float, PRNGKey, Scalar


class Kernels(NamedTuple):
    """A frozen annealing run: temperatures and one transition for each of the inner ones.

    Attributes:
        betas: β_0 = 0 < … < β_T = 1.
        step_sizes: Leapfrog steps at β_1 … β_{T−1}, in units of the metric.
        metric: The preconditioner along the path.
        persistence: c in [0, 1), the share of momentum a transition keeps; 0 refreshes it fully.
    """

    betas: Float[Array, "T+1"]
    step_sizes: Float[Array, "T-1"]
    metric: Metric
    persistence: Scalar


class Annealed(NamedTuple):
    """One annealed chain.

    Attributes:
        log_weight: In nats.
        z: Where the chain ended: near the posterior after a forward run, near q after a backward one.
        acceptance: Acceptance probability at each inner temperature, in ascending order of β.
    """

    log_weight: Scalar
    z: Float[Array, "d"]
    acceptance: Float[Array, "T-1"]


class Estimate(NamedTuple):
    """Several chains of one datum, combined.

    Attributes:
        log_evidence: log of the mean weight, in nats.
        log_weights: Log-weight of every chain.
        acceptance: Mean acceptance probability per inner temperature.
    """

    log_evidence: Scalar
    log_weights: Float[Array, "K"]
    acceptance: Float[Array, "T-1"]


def schedule(num: int, kind: Literal["linear", "sigmoid"] = "sigmoid") -> Float[Array, "{num}+1"]:
    """Inverse temperatures from 0 to 1.

    Args:
        num: T, how many increments (T − 1 inner temperatures).
        kind: "linear", or "sigmoid", which is denser at both ends.

    Returns:
        β_0 = 0 < … < β_T = 1.

    Example:
        >>> schedule(4, "linear").tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    grid = jnp.linspace(0.0, 1.0, num + 1)
    if kind == "linear":
        return grid
    raw = jax.nn.sigmoid(4.0 * (2.0 * grid - 1.0))
    return jnp.clip((raw - raw[0]) / (raw[-1] - raw[0]), 0.0, 1.0)


def _anneal(
    path: Path,
    start: Point,
    increments: Float[Array, "T"],
    kernels: Kernels,
    *,
    num_leapfrog: int,
    key: PRNGKey,
) -> Annealed:
    """Alternate increments and transitions in the order ``kernels`` lists them.

    One code serves both directions. The full transition R½ (F M) R½ (half refreshment, trajectory M, flip F)
    has the time reversal F R½ (F M) R½ F, because R½ commutes with F and both parts are reversible: itself,
    in the flipped momentum, which starts from the same N(0, I). So going backward is the same walk with the
    lists reversed.
    """
    first, rest = jax.random.split(key)
    inner = kernels.step_sizes.shape[0]

    def body(carry, step):
        point, momentum, total = carry
        increment, beta, step_size, key = step
        total = total.add(increment * point.log_ratio)
        before, accept, after = jax.random.split(key, 3)
        moved = transition(
            path,
            point,
            refresh(momentum, kernels.persistence, key=before),
            beta,
            step_size=step_size,
            scale=kernels.metric.scale(beta),
            num_leapfrog=num_leapfrog,
            key=accept,
        )
        momentum = refresh(moved.momentum, kernels.persistence, key=after)
        return (moved.point, momentum, total), moved.acceptance

    carry = (start, jax.random.normal(first, start.z.shape, start.z.dtype), compensated(start.log_p))
    steps = (increments[:-1], kernels.betas[1:-1], kernels.step_sizes, jax.random.split(rest, inner))
    (point, _, total), acceptance = jax.lax.scan(body, carry, steps)
    return Annealed(total.add(increments[-1] * point.log_ratio).value, point.z, acceptance)


def ais_forward(path: Path, kernels: Kernels, *, num_leapfrog: int, key: PRNGKey) -> Annealed:
    """Anneal from q towards the posterior: E[exp(log_weight)] = p(x), exactly.

    log w = Σ_t (β_t − β_{t−1}) (log p(x, z_{t−1}) − log q(z_{t−1})), z_0 ~ q, z_t moved by a transition that
    leaves f_{β_t} invariant. It costs (T − 1) · ``num_leapfrog`` gradients of both ends. The increments are
    summed with compensation.

    Args:
        path: q and p(x, ·) of one datum; `jax.vmap` over data outside.
        kernels: The frozen run.
        num_leapfrog: Leapfrog steps per transition.
        key: Fresh randomness; never shared between data, nor with the pilot run.

    Returns:
        The chain. A start where p(x, z) is not finite has log-weight −∞.

    Example:
        >>> from jax.scipy.stats import norm
        >>> from jensen.algorithms.hmc import fixed_metric
        >>> path = Path(  # x = 1.5, x | z ~ N(z, 1), z ~ N(0, 1), q the prior
        ...     lambda key: jax.random.normal(key, (1,)),
        ...     lambda z: norm.logpdf(z).sum(),
        ...     lambda z: norm.logpdf(z).sum() + norm.logpdf(1.5, z[0]))
        >>> kernels = Kernels(schedule(50), jnp.full(49, 0.7), fixed_metric(jnp.ones(1)), jnp.array(0.0))
        >>> run = ais_forward(path, kernels, num_leapfrog=2, key=jax.random.key(0))
        >>> bool(abs(run.log_weight - norm.logpdf(1.5, 0, 2**0.5)) < 0.3)
        True
    """
    draw, rest = jax.random.split(key)
    start = evaluate(path, path.sample_q(draw))
    run = _anneal(path, start, jnp.diff(kernels.betas), kernels, num_leapfrog=num_leapfrog, key=rest)
    return run._replace(log_weight=jnp.where(start.possible, run.log_weight, -jnp.inf))


def ais_reverse(
    path: Path, kernels: Kernels, z_exact: Float[Array, "d"], *, num_leapfrog: int, key: PRNGKey
) -> Annealed:
    """Anneal from an exact posterior draw towards q: E[exp(−log_weight)] = 1/p(x), exactly.

    The same transitions as `ais_forward` in the reverse order of temperatures. With F the law of a forward
    chain and R that of a backward one, exp(log_weight) = p(x) R/F on the chain, whichever of the two produced
    it.

    Args:
        path: q and p(x, ·) of one datum.
        kernels: The frozen run; it must not depend on ``z_exact``.
        z_exact: A draw from p(z | x): the z that generated a simulated x, or one from an exact posterior.
            Anything else (a long chain, a draw of q) makes the upper side a heuristic that can fall below the
            truth.
        num_leapfrog: Leapfrog steps per transition.
        key: Fresh randomness.

    Returns:
        The chain. Where p(x, z_exact) is not finite the log-weight is +∞: an upper side that says nothing.
    """
    start = evaluate(path, z_exact)
    backward = kernels._replace(betas=kernels.betas[::-1], step_sizes=kernels.step_sizes[::-1])
    increments = jnp.diff(kernels.betas)[::-1]
    run = _anneal(path, start, increments, backward, num_leapfrog=num_leapfrog, key=key)
    log_weight = jnp.where(start.possible, run.log_weight, jnp.inf)
    return Annealed(log_weight, run.z, run.acceptance[::-1])


def lower(path: Path, kernels: Kernels, *, num_chains: int, num_leapfrog: int, key: PRNGKey) -> Estimate:
    """K independent forward chains: the mean of their weights is unbiased for p(x).

    Args:
        path: q and p(x, ·) of one datum.
        kernels: The frozen run.
        num_chains: K.
        num_leapfrog: Leapfrog steps per transition.
        key: Fresh randomness.

    Returns:
        log_evidence with E[exp(log_evidence)] = p(x).
    """
    keys = jax.random.split(key, num_chains)
    runs = jax.vmap(lambda key: ais_forward(path, kernels, num_leapfrog=num_leapfrog, key=key))(keys)
    return _combined(runs)


def upper(
    path: Path,
    kernels: Kernels,
    z_exact: Float[Array, "d"],
    *,
    num_chains: int,
    num_leapfrog: int,
    key: PRNGKey,
) -> Estimate:
    """One backward and K − 1 forward chains: the inverse of their mean weight is unbiased for 1/p(x).

    One exact draw is enough for any K. Let F be the law of a forward chain, R that of a backward one, and
    w = p(x) R/F. Chain 1 is backward. For any function g of K chains that does not depend on their order,

        E_{R F…F}[g] = E_{F…F}[g · w_1/p(x)] = E_{F…F}[g · w̄/p(x)],   w̄ = (1/K) Σ_k w_k,

    the last step by exchangeability of K forward chains. With g = 1/w̄ this is 1/p(x), the weights being
    positive. K = 1 is plain backward annealing; the gap shrinks about as 1/K. Averaging 1/w over several
    backward chains from the *same* draw would be valid too, but it averages the wrong way round: 1/w has the
    heavier tail.

    Args:
        path: q and p(x, ·) of one datum.
        kernels: The frozen run; it must not depend on ``z_exact``.
        z_exact: A draw from p(z | x).
        num_chains: K.
        num_leapfrog: Leapfrog steps per transition.
        key: Fresh randomness.

    Returns:
        log_evidence with E[exp(−log_evidence)] = 1/p(x); the first weight is the backward chain's.
    """
    keys = jax.random.split(key, num_chains)
    back = ais_reverse(path, kernels, z_exact, num_leapfrog=num_leapfrog, key=keys[0])
    back = jax.tree.map(lambda leaf: leaf[None], back)
    if num_chains == 1:
        return _combined(back)
    runs = jax.vmap(lambda key: ais_forward(path, kernels, num_leapfrog=num_leapfrog, key=key))(keys[1:])
    return _combined(jax.tree.map(lambda one, many: jnp.concatenate([one, many]), back, runs))


def _combined(runs: Annealed) -> Estimate:
    # Annealed holds one more axis here (the chains) than its annotations say.
    return Estimate(log_mean_exp(runs.log_weight), runs.log_weight, jnp.mean(runs.acceptance, axis=0))
