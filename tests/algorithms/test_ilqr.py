"""iLQR against the Riccati recursion, a solver of bounded problems, and a pendulum to swing up."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jensen.algorithms.ilqr import Problem, _boxed, _solved, ilqr

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
quick = partial(jax.jit, compiler_options=QUICK)
T = 12
A = np.array([[1.0, 0.2, 0.0], [-0.1, 1.1, 0.1], [0.0, 0.3, 0.9]])
B = np.array([[0.1, 0.0], [0.4, 0.1], [0.0, 0.6]])
Q, R, LAST = np.diag([1.0, 0.5, 0.2]), np.array([[0.3, 0.1], [0.1, 0.4]]), 4.0
START = np.array([1.0, -2.0, 0.5])


def linear(bounds=None) -> Problem:
    return Problem(
        lambda x, u: A @ x + B @ u,
        lambda x, u: 0.5 * (x @ Q @ x + u @ R @ u),
        lambda x: 0.5 * LAST * x @ x,
        bounds,
    )


def riccati() -> tuple[np.ndarray, float]:
    v, gains = LAST * np.eye(3), []
    for _ in range(T):
        gain = -np.linalg.solve(R + B.T @ v @ B, B.T @ v @ A)
        v = Q + A.T @ v @ (A + B @ gain)
        gains.append(gain)
    return np.stack(gains[::-1]), 0.5 * START @ v @ START


def total(actions: np.ndarray) -> float:
    x, cost = START, 0.0
    for u in actions.reshape(T, 2):
        cost += 0.5 * (x @ Q @ x + u @ R @ u)
        x = A @ x + B @ u
    return cost + 0.5 * LAST * x @ x


def test_a_linear_quadratic_problem_is_riccati_s():
    found = quick(lambda u: ilqr(linear(), jnp.asarray(START, jnp.float32), u))(jnp.zeros((T, 2)))
    gains, value = riccati()
    np.testing.assert_allclose(found.gains, gains, rtol=1e-4, atol=1e-5)
    assert float(found.value) == pytest.approx(value, rel=1e-5)
    assert bool(found.converged) and int(found.iterations) <= 3
    assert total(np.asarray(found.actions, np.float64)) == pytest.approx(value, rel=1e-5)
    x, u = found.states, found.actions
    np.testing.assert_allclose(x[1:], x[:-1] @ A.T + u @ B.T, rtol=1e-4, atol=1e-5)


def test_bounds_are_part_of_the_problem():
    """A convex problem, whose optimum within the box a general solver finds; clipping Riccati's does not."""
    bounds = (jnp.array([-0.5, -0.8]), jnp.array([0.9, 0.3]))
    solve = quick(jax.vmap(lambda u: ilqr(linear(bounds), jnp.asarray(START, jnp.float32), u)))
    found = solve(jnp.stack([jnp.zeros((T, 2)), jnp.full((T, 2), 5.0)]))
    box = [(-0.5, 0.9), (-0.8, 0.3)] * T
    best = scipy.optimize.minimize(total, np.zeros(2 * T), bounds=box, method="L-BFGS-B", tol=1e-12)
    np.testing.assert_allclose(found.value, best.fun, rtol=2e-4)
    u = np.asarray(found.actions[0])
    assert (u >= np.asarray(bounds[0]) - 1e-6).all() and (u <= np.asarray(bounds[1]) + 1e-6).all()
    at_bound = (np.abs(u - bounds[0]) < 1e-6) | (np.abs(u - bounds[1]) < 1e-6)
    assert 3 < at_bound.sum() < 2 * T
    assert (np.asarray(found.gains[0])[at_bound] == 0).all()
    assert (np.abs(np.asarray(found.gains[0])[~at_bound]).sum(-1) > 0).all()
    gains, _ = riccati()
    x, clipped = START, []
    for gain in gains:
        clipped.append(np.clip(gain @ x, *map(np.asarray, bounds)))
        x = A @ x + B @ clipped[-1]
    assert total(np.stack(clipped)) > 1.001 * best.fun


def test_quadratics_in_a_box_and_small_systems():
    rng = np.random.default_rng(0)
    root, slope = rng.normal(size=(200, 3, 4)), rng.normal(size=(200, 3))
    matrix = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(3)
    low, high = -rng.random((200, 3)), rng.random((200, 3))
    k, free, definite = quick(jax.vmap(_boxed))(
        *(jnp.asarray(v, jnp.float32) for v in (matrix, slope, low, high))
    )
    pull = slope + np.einsum("nij,nj->ni", matrix, k)
    inside = (np.asarray(k) > low + 1e-5) & (np.asarray(k) < high - 1e-5)
    right = np.where(inside, np.abs(pull) < 1e-3, np.where(k <= low + 1e-5, pull > -1e-3, pull < 1e-3))
    assert definite.all() and right.all(1).mean() > 0.98 and (~free).any()
    found, least = quick(_solved)(jnp.asarray(matrix[0], jnp.float32), jnp.eye(3))
    np.testing.assert_allclose(found, np.linalg.inv(matrix[0]), rtol=1e-3, atol=1e-4)
    assert least > 0 and quick(_solved)(-jnp.eye(3), jnp.eye(3))[1] < 0


def pendulum(x: jax.Array, u: jax.Array) -> jax.Array:
    """Gymnasium's pendulum, upright at zero."""
    speed = jnp.clip(x[1] + 0.05 * (15.0 * jnp.sin(x[0]) + 3.0 * u[0]), -8.0, 8.0)
    return jnp.stack([x[0] + 0.05 * speed, speed])


def test_a_pendulum_is_swung_up_within_its_torque():
    """The torque cannot lift it at once: it has to swing back first."""
    problem = Problem(
        pendulum,
        lambda x, u: 1.0 - jnp.cos(x[0]) + 0.02 * x[1] ** 2 + 0.001 * u[0] ** 2,
        lambda x: 50.0 * (1.0 - jnp.cos(x[0])) + 5.0 * x[1] ** 2,
        (jnp.array([-2.0]), jnp.array([2.0])),
    )
    solve = quick(lambda x, u: ilqr(problem, x, u, iterations=200))
    found = solve(jnp.array([jnp.pi, 0.0]), 0.1 * jnp.ones((80, 1)))
    assert np.cos(found.states[-1, 0]) > 0.99 and abs(found.states[-1, 1]) < 0.3
    assert (np.abs(found.actions) <= 2.0).all() and np.cos(found.states[:, 0]).argmax() > 30
    lost = solve(jnp.array([jnp.nan, 0.0]), jnp.zeros((80, 1)))
    assert not bool(lost.converged) and not np.isfinite(lost.value)
