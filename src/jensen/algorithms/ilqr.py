"""The iterative linear-quadratic regulator: a locally optimal course of actions, with feedback around it.

Dynamics are made linear and costs quadratic around the course at hand, the Riccati recursion gives a better
course, and so on. Bounds on actions are kept inside the recursion, not by clipping its answer: an action at
its bound has no feedback, and those before it know.

References:
    Li & Todorov 2004, Iterative linear quadratic regulator design.
    Tassa, Erez & Todorov 2012 (regularization), Tassa, Mansard & Todorov 2014 (bounds).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jensen.typing import Array, Bool, Float, Int, Scalar

Dynamics: TypeAlias = Callable[[Array, Array], Array]
"""(x_t, u_t) -> x_{t+1}, differentiable."""

Running: TypeAlias = Callable[[Array, Array], Scalar]
"""(x_t, u_t) -> the cost of a step, twice differentiable."""

Bounds: TypeAlias = tuple[Float[Array, "m"], Float[Array, "m"]]
"""Lowest and highest actions."""

_SHARES = tuple(0.5**i for i in range(8))
"""How much of the step the line search tries."""

_LEAST, _SURE, _MOST = 1e-6, 1e-3, 1e8
"""Where regularization starts, up to where it lets a step's promise count, where the search is given up."""


class Solution(NamedTuple):
    """A course, and how to keep to it: u_t = actions[t] + gains[t] (x − states[t]).

    Attributes:
        states: x_0 … x_T.
        actions: u_0 … u_{T−1}.
        gains: Feedback at every step; zero in the rows of actions at a bound.
        value: Total cost.
        iterations: Backward passes made.
        converged: Whether no better course is in sight: the decrease promised is below the tolerance.
    """

    states: Float[Array, "t1 n"]
    actions: Float[Array, "t m"]
    gains: Float[Array, "t m n"]
    value: Scalar
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]


class _Steps(NamedTuple):
    """A backward pass: the open-loop step, the feedback, what is promised, the least pivot of Q_uu."""

    feedforward: Float[Array, "t m"]
    gains: Float[Array, "t m n"]
    promise: Scalar
    definite: Bool[Array, ""]


class _Search(NamedTuple):
    states: Float[Array, "t1 n"]
    actions: Float[Array, "t m"]
    value: Scalar
    damping: Scalar
    iteration: Int[Array, ""]
    converged: Bool[Array, ""]


class Problem(NamedTuple):
    """A finite-horizon problem of control: min Σ_t running(x_t, u_t) + terminal(x_T).

    Attributes:
        dynamics: (x_t, u_t) -> x_{t+1}.
        running: (x_t, u_t) -> cost.
        terminal: x_T -> cost.
        bounds: Of actions; None where any is allowed.
    """

    dynamics: Dynamics
    running: Running
    terminal: Callable[[Array], Scalar]
    bounds: Bounds | None = None


def ilqr(
    problem: Problem,
    start: Float[Array, "n"],
    actions: Float[Array, "t m"],
    *,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> Solution:
    """Improve a course of actions until no better one is in sight.

    Args:
        problem: Dynamics, costs and bounds.
        start: x_0.
        actions: The course to start from, clipped to the bounds. From zeros, a problem that is symmetric
            about them may stay where it is.
        iterations: Most backward passes.
        tolerance: Decrease of the cost, relative to it, below which the search ends.

    Returns:
        The course and its feedback. Where the dynamics blow up from the start, ``value`` is not finite and
        ``converged`` is False.

    Example:
        >>> problem = Problem(lambda x, u: x + u, lambda x, u: (x**2).sum() + (u**2).sum(), lambda x: x @ x)
        >>> found = ilqr(problem, jnp.ones(1), jnp.zeros((20, 1)))
        >>> round(float(found.gains[0, 0, 0]), 3), bool(found.converged)
        (-0.618, True)
    """
    if problem.bounds is not None:
        actions = jnp.clip(actions, *problem.bounds)
    first = _rolled(problem, start, actions)
    shares = jnp.asarray(_SHARES, first.value.dtype)
    zero = jnp.zeros((), first.value.dtype)
    begun = first._replace(damping=zero, iteration=jnp.zeros((), jnp.int32), converged=jnp.array(False))

    def going_on(search: _Search) -> Bool[Array, ""]:
        return (search.iteration < iterations) & ~search.converged & (search.damping < _MOST)

    def improve(search: _Search) -> _Search:
        steps = _backward(problem, search)
        # under heavy damping every step is short, and promises little wherever it is made
        sure = steps.definite & (search.damping <= _SURE)
        near = sure & (steps.promise <= tolerance * jnp.abs(search.value) + 1e-12)
        tried = jax.vmap(lambda share: _followed(problem, search, steps, share))(shares)
        costs = jnp.where(jnp.isfinite(tried.value) & steps.definite, tried.value, jnp.inf)
        best = jax.tree.map(lambda leaf: leaf[jnp.argmin(costs)], tried)
        better = costs.min() < search.value
        kept: _Search = jax.tree.map(lambda new, old: jnp.where(better, new, old), best, search)
        damping = jnp.where(better, _less(search.damping), _more(search.damping))
        return kept._replace(damping=damping, iteration=search.iteration + 1, converged=near)

    found = jax.lax.while_loop(going_on, improve, begun)
    gains = _backward(problem, found).gains
    return Solution(found.states, found.actions, gains, found.value, found.iteration, found.converged)


def _less(damping: Scalar) -> Scalar:
    return jnp.where(damping > _LEAST, damping / 10, 0.0)


def _more(damping: Scalar) -> Scalar:
    return jnp.maximum(damping * 10, _LEAST)


def _rolled(problem: Problem, start: Float[Array, "n"], actions: Float[Array, "t m"]) -> _Search:
    """Follow the actions alone."""
    planned = jnp.broadcast_to(start, (len(actions) + 1, *start.shape))
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    still = _Search(planned, actions, zero, zero, none, jnp.array(False))
    alone = jnp.zeros((*actions.shape, *start.shape), actions.dtype)
    steps = _Steps(jnp.zeros_like(actions), alone, jnp.zeros(()), jnp.array(True))
    return _followed(problem, still, steps, jnp.ones(()))


def _followed(problem: Problem, search: _Search, steps: _Steps, share: Scalar) -> _Search:
    """Go a share of the step along every action, with feedback on where that leads."""

    def go(x: Array, t: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        planned, action, feedforward, gain = t
        u = action + share * feedforward + gain @ (x - planned)
        u = u if problem.bounds is None else jnp.clip(u, *problem.bounds)
        return problem.dynamics(x, u), (x, u, problem.running(x, u))

    along = (search.states[:-1], search.actions, steps.feedforward, steps.gains)
    last, (states, actions, costs) = jax.lax.scan(go, search.states[0], along)
    value = costs.sum() + problem.terminal(last)
    return search._replace(states=jnp.concatenate([states, last[None]]), actions=actions, value=value)


def _backward(problem: Problem, search: _Search) -> _Steps:
    """Solve the linear-quadratic problem around the course, from its end back."""
    x, u = search.states[:-1], search.actions
    n, m = x.shape[-1], u.shape[-1]
    a, b = jax.vmap(jax.jacfwd(problem.dynamics, (0, 1)))(x, u)

    def joined(xu: Array) -> Scalar:
        return problem.running(xu[:n], xu[n:])

    xu = jnp.concatenate([x, u], -1)
    slope, curvature = jax.vmap(jax.grad(joined))(xu), jax.vmap(jax.hessian(joined))(xu)
    low, high = (-jnp.inf, jnp.inf) if problem.bounds is None else problem.bounds
    room = (jnp.broadcast_to(low, u.shape) - u, jnp.broadcast_to(high, u.shape) - u)

    def back(carry: tuple[Array, Array], t: tuple[Array, ...]) -> tuple[tuple[Array, Array], _Steps]:
        v_x, v_xx = carry
        a, b, slope, curvature, low, high = t
        ab = jnp.concatenate([a, b], -1)
        q, qq = slope + ab.T @ v_x, curvature + ab.T @ v_xx @ ab
        q_x, q_u, q_xx, q_uu, q_ux = q[:n], q[n:], qq[:n, :n], qq[n:, n:], qq[n:, :n]
        damped = q_uu + search.damping * jnp.eye(m)
        k, free, definite = _boxed(damped, q_u, low, high)
        gain = -_solved(_only(damped, free), jnp.where(free[:, None], q_ux, 0.0))[0]
        v_x = q_x + gain.T @ (q_uu @ k + q_u) + q_ux.T @ k
        v_xx = q_xx + gain.T @ q_uu @ gain + gain.T @ q_ux + q_ux.T @ gain
        promise = -(q_u @ k + 0.5 * k @ q_uu @ k)
        return (v_x, 0.5 * (v_xx + v_xx.T)), _Steps(k, gain, promise, definite)

    last = search.states[-1]
    end = (jax.grad(problem.terminal)(last), jax.hessian(problem.terminal)(last))
    _, steps = jax.lax.scan(back, end, (a, b, slope, curvature, *room), reverse=True)
    return steps._replace(promise=steps.promise.sum(), definite=steps.definite.all())


def _boxed(
    matrix: Float[Array, "m m"], slope: Float[Array, "m"], low: Float[Array, "m"], high: Float[Array, "m"]
) -> tuple[Float[Array, "m"], Bool[Array, "m"], Bool[Array, ""]]:
    """Return the k in the box that minimizes ½ k'Hk + g'k, where it is free, and whether H is definite.

    Unit steps of a projected Newton method; one is exact for one action, and a few more than there are
    actions nearly always are. Where they are not, the line search sees to the rest.
    """
    m = len(slope)
    k, least = _solved(matrix, -slope[:, None])
    k, free = jnp.clip(k[:, 0], low, high), jnp.ones(m, bool)
    for _ in range(m + 1):
        pull = slope + matrix @ k
        free = ~(((k <= low) & (pull > 0)) | ((k >= high) & (pull < 0)))
        held = jnp.where(free, 0.0, k)
        # numbers of the free alone: those held keep their place, and pull on the others
        right = jnp.where(free, -(slope + matrix @ held), 0.0)
        k = jnp.clip(held + _solved(_only(matrix, free), right[:, None])[0][:, 0], low, high)
    return k, free, least > 0


def _only(matrix: Float[Array, "m m"], free: Bool[Array, "m"]) -> Float[Array, "m m"]:
    """Return the matrix with the identity in the place of rows and columns that are not free."""
    return jnp.where(free[:, None] & free, matrix, jnp.eye(len(free), dtype=matrix.dtype))


def _solved(matrix: Float[Array, "m m"], right: Float[Array, "m k"]) -> tuple[Float[Array, "m k"], Scalar]:
    """Return H⁻¹ B, and the least pivot met: positive where H is positive definite.

    Gauss and Jordan's elimination, written out: actions are few, and no LAPACK call is made per step.
    """
    m = len(matrix)
    both, least = jnp.concatenate([matrix, right], -1), jnp.asarray(jnp.inf, matrix.dtype)
    for i in range(m):
        pivot = both[i, i]
        least = jnp.minimum(least, jnp.where(jnp.isnan(pivot), -jnp.inf, pivot))
        row = both[i] / jnp.where(pivot > 0, pivot, 1.0)
        others = both[:, i].at[i].set(0.0)
        both = (both - others[:, None] * row).at[i].set(row)
    return both[:, m:], least
