"""Soft Bellman recursions: control as inference in tables, all in logarithms.

Every step is "optimal" with probability ∝ exp(r(s, a)/τ), and actions have an even prior. What is known of
the future is the backward message β(s, a) = p(optimal from here on | s, a). V = τ log β(s) and
Q = τ log β(s, a) are values in the rewards' units (Levine 2018):

    Q(s, a) = r(s, a) + γ ahead(V)(s, a),    V(s) = τ log Σ_a exp(Q(s, a)/τ),    π(a | s) = exp((Q − V)/τ).

Two recursions differ in what stands for the future of a chance event. ``optimistic`` takes τ log E exp(V/τ):
the exact posterior p(a | s, optimal), which may suppose that luck was as good as the outcome. ``expected``
takes E V: the variational posterior, which may choose actions but not the dynamics, and so the policy that
earns the most reward plus τ times entropy. In deterministic dynamics they agree; as τ → 0 the second becomes
dynamic programming, and τ = 0 is exactly that.

A reward of −∞ forbids an action. A state from which nothing is allowed is worth −∞, and its row of the policy
is empty. An episode that ended is worth 0. With γ < 1 the optimistic recursion discounts outside of the
logarithm: no posterior of any model, but it agrees with the other where nothing is random.

Source:
    Ziebart (2010), Modeling purposeful adaptive behavior with the principle of maximum causal entropy.
    Levine (2018), Reinforcement learning and control as probabilistic inference, arXiv:1805.00909.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jensen.algorithms import mdp as hard
from jensen.algorithms.hmm import log_sum
from jensen.algorithms.mdp import MDP
from jensen.typing import Array, Float, Scalar

_ROUNDING = 8.0
"""Units in the last place, of the greatest value, that a solved equation may be off by."""


class Soft(NamedTuple):
    """Soft values and the policy they make. Over a horizon every array gains a leading axis, the step.

    Attributes:
        values: V(s) = τ log β(s), in the rewards' units.
        action_values: Q(s, a) = τ log β(s, a).
        log_policy: log π(a | s), nats; −∞ throughout a state where nothing is allowed.
    """

    values: Float[Array, "*t s"]
    action_values: Float[Array, "*t s a"]
    log_policy: Float[Array, "*t s a"]

    @property
    def policy(self) -> Float[Array, "*t s a"]:
        """π(a | s)."""
        return jnp.exp(self.log_policy)

    def messages(self, temperature: float | Scalar) -> tuple[Float[Array, "*t s"], Float[Array, "*t s a"]]:
        """Return the backward messages log β(s) and log β(s, a), in nats."""
        return self.values / temperature, self.action_values / temperature


class Ahead(NamedTuple):
    """What comes after an action.

    Attributes:
        values: What it is worth, (S, A).
        kernel: p(s' | s, a), or the posterior one: how ``values`` changes with V(s').
    """

    values: Float[Array, "s a"]
    kernel: Float[Array, "s a s"]


Outlook = Callable[[MDP, Array, Any], Ahead]
"""How a chance event is valued, given V(s') and the temperature: ``expected`` or ``optimistic``."""


def expected(mdp: MDP, values: Float[Array, "s"], temperature: float | Scalar) -> Ahead:
    """Value chance by its mean, E V(s'): the variational posterior. The temperature plays no part."""
    return Ahead(hard.expected(mdp, values), mdp.transitions)


def optimistic(mdp: MDP, values: Float[Array, "s"], temperature: float | Scalar) -> Ahead:
    """Value chance by τ log E exp(V(s')/τ): the exact posterior; the best that can happen as τ → 0."""
    over = hard.ended(mdp)
    possible = mdp.transitions > 0
    best = jnp.where(possible, values, -jnp.inf).max(-1)
    top = jax.lax.stop_gradient(jnp.maximum(best, jnp.where(over > 0, 0.0, -jnp.inf)))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    heat, warm = _heat(temperature, values)
    # what is impossible is taken out before the exponential: an infinite power of it would still be NaN
    rise = _in_heat(jnp.where(possible, values - top[..., None], -jnp.inf), heat)
    weight = jnp.where(warm, mdp.transitions * jnp.exp(rise), mdp.transitions * (rise == 0))
    end = over * jnp.where(warm, jnp.exp(-top / heat), top == 0)
    total = weight.sum(-1) + end
    some = jnp.where(total > 0, total, 1.0)
    found = jnp.where(total > 0, top + jnp.where(warm, heat * jnp.log(some), 0.0), -jnp.inf)
    return Ahead(jnp.where(best < jnp.inf, found, best), weight / some[..., None])


def choose(action_values: Float[Array, "*t s a"], temperature: float | Scalar) -> Soft:
    """Return V = τ log Σ exp(Q/τ) and π = exp((Q − V)/τ); the maximum, and even odds among equals, for τ = 0.

    Args:
        action_values: Q(s, a); −∞ where forbidden.
        temperature: τ ≥ 0, in the rewards' units per nat.

    Example:
        >>> q = jnp.array([[0.0, 1.0]])
        >>> [round(v, 4) for v in choose(q, 0.5).values.tolist()], choose(q, 0.0).policy.tolist()
        ([1.0635], [[0.0, 1.0]])
    """
    heat, warm = _heat(temperature, action_values)
    best = action_values.max(-1, keepdims=True)
    top = jax.lax.stop_gradient(jnp.where(jnp.isfinite(best), best, 0.0))
    scaled = _in_heat(action_values - top, heat)
    total = log_sum(scaled)[..., None]
    # what has overflowed is not taken for what is forbidden
    values = jnp.where(warm & (best < jnp.inf), top + heat * total, best)
    finite = jnp.isfinite(total)
    softly = jnp.where(finite, scaled - jnp.where(finite, total, 0.0), -jnp.inf)
    equals = (action_values == best) & jnp.isfinite(best)
    ties = jnp.maximum(equals.sum(-1, keepdims=True, dtype=scaled.dtype), 1.0)
    firmly = jnp.where(equals, -jnp.log(ties), -jnp.inf)
    return Soft(values[..., 0], action_values, jnp.where(warm, softly, firmly))


def backup(
    mdp: MDP,
    values: Float[Array, "s"],
    *,
    temperature: float | Scalar,
    discount: float | Scalar,
    outlook: Outlook = expected,
) -> Soft:
    """Return the soft values one step before these."""
    ahead = outlook(mdp, values, temperature)
    return choose(mdp.rewards + _discounted(ahead.values, discount), temperature)


def backward(
    mdp: MDP,
    horizon: int,
    *,
    temperature: float | Scalar,
    discount: float | Scalar = 1.0,
    outlook: Outlook = expected,
) -> Soft:
    """Return the soft values and the policy of each step of a horizon, the first first.

    Args:
        mdp: The problem.
        horizon: Number of steps.
        temperature: τ ≥ 0.
        discount: γ.
        outlook: ``expected`` for the variational posterior, ``optimistic`` for the exact one.
    """
    mdp, temperature, discount = _in_one_type(mdp, temperature, discount)

    def step(values: Array, _: None) -> tuple[Array, Soft]:
        soft = backup(mdp, values, temperature=temperature, discount=discount, outlook=outlook)
        return soft.values, soft

    return jax.lax.scan(step, jnp.zeros_like(mdp.start), None, length=horizon, reverse=True)[1]


def solve(
    mdp: MDP,
    *,
    temperature: float | Scalar,
    discount: float | Scalar,
    outlook: Outlook = expected,
    max_steps: int = 100,
) -> Soft:
    """Return the soft values of an episode without a horizon: V = backup(V), by Newton's method.

    With ``expected`` that is soft policy iteration, which rises from the first policy's values and converges
    in a handful of steps. Derivatives by rewards, temperature, discount and dynamics are those of the
    solution itself (the implicit function theorem): by a reward, the discounted occupancy.

    In float32 values are off by about 10⁻⁷/(1 − γ) of themselves; in float64 (``jax.enable_x64``, as
    ``control.soft_control`` does, and ``mdp.exact_rows``) by 10⁻¹⁵/(1 − γ).

    Args:
        mdp: The problem.
        temperature: τ ≥ 0.
        discount: γ < 1, or 1 where episodes end soon enough; see ``duration``.
        outlook: ``expected`` or ``optimistic``.
        max_steps: Where it stops at the latest.
    """
    mdp, temperature, discount = _in_one_type(mdp, temperature, discount)
    held = jax.lax.stop_gradient((mdp, temperature, discount))

    def goes_on(carry: tuple[Array, Array, Array]) -> Array:
        values, error, count = carry
        return (error > _tolerance(values)) & (count < max_steps)

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        return *_newton(*held, outlook, carry[0]), carry[2] + 1

    begin = (jnp.zeros_like(mdp.start), jnp.full_like(mdp.start, jnp.inf, shape=()), jnp.zeros((), jnp.int32))
    values, _, _ = jax.lax.while_loop(goes_on, step, begin)
    # one more step, through which derivatives go
    values, _ = _newton(mdp, temperature, discount, outlook, values)
    return backup(mdp, values, temperature=temperature, discount=discount, outlook=outlook)


def residual(
    mdp: MDP,
    soft: Soft,
    *,
    temperature: float | Scalar,
    discount: float | Scalar,
    outlook: Outlook = expected,
) -> Scalar:
    """Return max |backup(V) − V|, as a share of the greatest |V|, or of 1 where that is less.

    Near rounding where ``solve`` ended at a solution; whether there is one, ``duration`` tells.
    """
    again = backup(mdp, soft.values, temperature=temperature, discount=discount, outlook=outlook).values
    both = jnp.isfinite(again) & jnp.isfinite(soft.values)
    error = jnp.where(both, again - soft.values, jnp.where(again == soft.values, 0.0, jnp.inf))
    size = jnp.abs(jnp.where(both, soft.values, 0.0)).max()
    return jnp.abs(error).max() / jnp.maximum(size, 1.0)


def duration(
    mdp: MDP,
    soft: Soft,
    *,
    temperature: float | Scalar,
    discount: float | Scalar,
    outlook: Outlook = expected,
) -> Scalar:
    """Return the greatest expected number of steps, discounted, from any state that allows one.

    With γ < 1 that is 1/(1 − γ) at most. With γ = 1, where episodes cannot end or the entropy of going on
    outweighs what it costs, no finite values solve the equation: the number is then huge, negative or NaN.
    """
    alive, solved = jnp.isfinite(soft.values), (soft.values < jnp.inf).all()
    kernel = outlook(mdp, soft.values, temperature).kernel
    moves = discount * jnp.einsum("sa,sat->st", soft.policy, kernel) * alive
    steps = jnp.linalg.solve(jnp.eye(mdp.num_states, dtype=moves.dtype) - moves, alive.astype(moves.dtype))
    return jnp.where(solved & (steps >= 0).all(), steps.max(), jnp.nan)


def _newton(
    mdp: MDP, temperature: float | Scalar, discount: float | Scalar, outlook: Outlook, values: Array
) -> tuple[Array, Scalar]:
    """Return better values, and how far the old ones were from solving their equation."""
    held = jax.lax.stop_gradient(values)
    ahead = outlook(mdp, held, temperature)
    soft = choose(mdp.rewards + _discounted(ahead.values, discount), temperature)
    lost = soft.values == -jnp.inf
    error = jnp.where(lost, 0.0, soft.values - jnp.where(jnp.isfinite(held), held, 0.0))
    moves = jnp.einsum("sa,sat->st", soft.policy, ahead.kernel)
    system = jax.lax.stop_gradient(jnp.eye(mdp.num_states, dtype=moves.dtype) - discount * moves)
    new = jnp.where(lost, -jnp.inf, held + jnp.linalg.solve(system, error))
    fell = lost & jnp.isfinite(held)
    return new, jnp.where(fell, jnp.inf, jnp.abs(jax.lax.stop_gradient(error))).max()


def _discounted(values: Array, discount: float | Scalar) -> Array:
    """Return γ V; nothing, where γ = 0, of what is worth −∞."""
    counts = (jnp.asarray(discount) > 0) | jnp.isfinite(values)
    return discount * jnp.where(counts, values, 0.0)


def _tolerance(values: Array) -> Scalar:
    size = jnp.abs(jnp.where(jnp.isfinite(values), values, 0.0)).max()
    return _ROUNDING * jnp.finfo(values.dtype).eps * jnp.maximum(size, 1.0)


def _in_heat(gaps: Array, heat: Scalar) -> Array:
    """Return gaps/τ, −∞ as it is: a derivative by τ must not divide it."""
    there = gaps != -jnp.inf
    return jnp.where(there, jnp.where(there, gaps, 0.0) / heat, -jnp.inf)


def _heat(temperature: float | Scalar, values: Array) -> tuple[Scalar, Array]:
    """Return τ, or 1 where it is 0, and whether it is not: what divides by τ stays finite."""
    given = jnp.asarray(temperature, jnp.result_type(values, jnp.float32))
    warm = given > 0
    return jnp.where(warm, given, 1.0), warm


def _in_one_type(
    mdp: MDP, temperature: float | Scalar, discount: float | Scalar
) -> tuple[MDP, Scalar, Scalar]:
    """Return all in the widest of the problem's types: a loop must give back the type it was given."""
    kind = jnp.result_type(*mdp, jnp.float32)
    return (
        MDP(*(jnp.asarray(part, kind) for part in mdp)),
        jnp.asarray(temperature, kind),
        jnp.asarray(discount, kind),
    )
