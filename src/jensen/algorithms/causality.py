r"""What seeing only the past costs a posterior: a closed form for linear-Gaussian chains, in float64.

Let q(z_{1:T} | x) = ∏ q(z_t | z_{t−1}, x_{1:t}) be any causal law. For data from the model itself the least
possible E_{p(x)} KL(q ‖ p(z | x)) solves a dynamic programme. With J_T = 0 and

    Z_t(z_{t−1}, x_{1:t}) = ∫ p(z_t | z_{t−1}) p(x_t | z_t) exp(−J_t(z_t, x_{1:t})) dz_t,
    J_{t−1}(z_{t−1}, x_{1:t−1}) = E[−log Z_t(z_{t−1}, x_{1:t}) | x_{1:t−1}],

the best step is q(z_t | ·) ∝ p(z_t | z_{t−1}) p(x_t | z_t) exp(−J_t), because the step's bound E_q[log p(z_t,
x_t | z_{t−1}) − J_t − log q] is log Z_t less KL(q ‖ that law). The best causal bound is E log Z_1(x_1), and
the cost E[log p(x_{1:T})] − E[log Z_1(x_1)]. The greedy step p(z_t | z_{t−1}, x_t) leaves J out and costs
more: the best one also asks from where the futures that may come can be followed.

For linear-Gaussian chains J_t is quadratic in (z_t, m_t), m_t = E[z_t | x_{1:t}] the Kalman filter's mean,
and all best steps are Gaussian. Means, drifts and inputs shift z and x alike and cost nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jensen.typing import ArrayLike


class LinearChain(NamedTuple):
    """z_1 ~ N(·, P), z_{t+1} = A z_t + N(0, Q), x_t = C z_t + N(0, R), up to shifts.

    Attributes:
        transition: A, (n, n).
        transition_covariance: Q, (n, n).
        emission: C, (d, n).
        emission_covariance: R, (d, d).
        initial_covariance: P, (n, n).
    """

    transition: ArrayLike
    transition_covariance: ArrayLike
    emission: ArrayLike
    emission_covariance: ArrayLike
    initial_covariance: ArrayLike


def cost_of_causality(chain: LinearChain, length: int) -> float:
    """Return the least E KL(q ‖ p(z | x)) of a posterior that sees the past only, in nats per sequence.

    Args:
        chain: The model; its own data are averaged over.
        length: T.

    Returns:
        Zero for T ≤ 1, positive where the future tells of the present.

    Example:
        >>> one = [[1.0]]
        >>> chain = LinearChain(one, one, one, one, one)
        >>> round(cost_of_causality(chain, 1), 6), round(cost_of_causality(chain, 2), 4)
        (0.0, 0.125)
    """
    if length < 1:
        return 0.0
    a, q, c, r, p = (np.asarray(m, np.float64) for m in chain)
    gains, spreads = _filter(a, q, c, r, p, length)
    n, d = len(a), len(c)
    value, constant = np.zeros((2 * n, 2 * n)), 0.0
    evidence = 0.0
    for t in reversed(range(length)):
        noise = p if t == 0 else q
        move = np.zeros_like(a) if t == 0 else a
        curvature, form = _integrated(move, noise, c, r, gains[t], value)
        evidence -= 0.5 * (np.linalg.slogdet(2 * np.pi * spreads[t])[1] + d)
        log_dets = [np.linalg.slogdet(m)[1] for m in (curvature, noise, r)]
        constant += 0.5 * (sum(log_dets) + d * math.log(2 * math.pi))
        constant += 0.5 * np.trace(form[2 * n :, 2 * n :] @ spreads[t])
        value = form[: 2 * n, : 2 * n]
    return float(evidence + constant)


def _filter(
    a: np.ndarray, q: np.ndarray, c: np.ndarray, r: np.ndarray, p: np.ndarray, length: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the Kalman gains and the covariances of the innovations."""
    gains, spreads = [], []
    for _ in range(length):
        s = c @ p @ c.T + r
        k = np.linalg.solve(s, c @ p).T
        left = np.eye(len(a)) - k @ c
        gains.append(k)
        spreads.append(s)
        p = a @ (left @ p @ left.T + k @ r @ k.T) @ a.T + q
    return gains, spreads


def _integrated(
    a: np.ndarray, q: np.ndarray, c: np.ndarray, r: np.ndarray, k: np.ndarray, value: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Integrate z_t out of the step's quadratic form in (z_t, z_{t−1}, m_{t−1}, e_t), e_t the innovation.

    Returns:
        The curvature in z_t, and the form left in (z_{t−1}, m_{t−1}, e_t).
    """
    n, d = len(a), len(c)
    eye, none = np.eye(n), np.zeros((n, n))
    moved = np.hstack([eye, -a, none, np.zeros((n, d))])
    seen = np.hstack([-c, np.zeros((d, n)), c @ a, np.eye(d)])
    ahead = np.vstack([np.hstack([eye, none, none, np.zeros((n, d))]), np.hstack([none, none, a, k])])
    form = moved.T @ np.linalg.solve(q, moved) + seen.T @ np.linalg.solve(r, seen) + ahead.T @ value @ ahead
    inner, cross, rest = form[:n, :n], form[:n, n:], form[n:, n:]
    return inner, rest - cross.T @ np.linalg.solve(inner, cross)
