"""Soft control of linear systems with quadratic rewards, in closed form.

Dynamics are s' = A s + B a + w with w ~ N(0, W); the reward of a step is −(sᵀ C s + aᵀ R a)/2. Soft values
stay quadratic, V_t(s) = v_t − sᵀ P_t s/2, and the policy is Gaussian: a ~ N(−K_t s, τ Q_aa⁻¹) with
Q_aa = R + γ BᵀPB. Chance is valued as in ``soft_bellman``: the variational posterior takes the mean, which
leaves P as it is and costs γ tr(P W)/2; the exact one takes τ log E exp(V/τ), which puts P (I + W P/τ)⁻¹ in
place of P: it hopes that noise will help, and controls less.

Source:
    Todorov (2009), Efficient computation of optimal actions; Levine (2018), arXiv:1805.00909, section 3.
    Jacobson (1973), for the exponential of quadratic costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jensen.typing import Array, Float, Scalar


class LinearQuadratic(NamedTuple):
    """A linear system with quadratic rewards.

    Attributes:
        dynamics: A.
        control: B.
        noise: W, the covariance of w.
        state_cost: C, positive semi-definite; also what the state after the last step costs.
        action_cost: R, positive definite.
    """

    dynamics: Float[Array, "n n"]
    control: Float[Array, "n m"]
    noise: Float[Array, "n n"]
    state_cost: Float[Array, "n n"]
    action_cost: Float[Array, "m m"]


class GaussianPolicy(NamedTuple):
    """The soft-optimal policy of every step, the first first, and its values.

    Attributes:
        gain: K_t; the mean of a is −K_t s.
        covariance: τ Q_aa⁻¹.
        curvature: P_t.
        offset: v_t, entropy and noise included, in the reward's units.
    """

    gain: Float[Array, "t m n"]
    covariance: Float[Array, "t m m"]
    curvature: Float[Array, "t n n"]
    offset: Float[Array, "t"]


Chance = Callable[[LinearQuadratic, Array, Any], tuple[Array, Scalar]]
"""P and the offset before the noise, given P after it and the temperature."""


def expected(problem: LinearQuadratic, curvature: Array, temperature: Any) -> tuple[Array, Scalar]:
    """Value noise by its mean: the variational posterior."""
    return curvature, -jnp.trace(curvature @ problem.noise) / 2


def optimistic(problem: LinearQuadratic, curvature: Array, temperature: Any) -> tuple[Array, Scalar]:
    """Value noise by τ log E exp(V/τ): the exact posterior; τ > 0."""
    spread = jnp.eye(len(curvature), dtype=curvature.dtype) + problem.noise @ curvature / temperature
    softer = jnp.linalg.solve(spread.T, curvature.T).T
    return (softer + softer.T) / 2, -temperature * jnp.linalg.slogdet(spread)[1] / 2


def backward(
    problem: LinearQuadratic,
    horizon: int,
    *,
    temperature: float | Scalar,
    discount: float | Scalar = 1.0,
    chance: Chance = expected,
) -> GaussianPolicy:
    """Return the soft-optimal policy of each step of a horizon.

    Args:
        problem: The system and its costs.
        horizon: Number of steps.
        temperature: τ; 0 gives the linear-quadratic regulator, and needs ``expected``.
        discount: γ.
        chance: ``expected`` for the variational posterior, ``optimistic`` for the exact one.

    Example:
        >>> one = jnp.eye(1)
        >>> found = backward(LinearQuadratic(one, one, one, one, one), 1, temperature=0.5)
        >>> found.gain.item(), found.covariance.item()
        (0.5, 0.25)
    """
    # a loop must give back the type it was given
    kind = jnp.result_type(*problem, jnp.float32)
    problem = LinearQuadratic(*(jnp.asarray(part, kind) for part in problem))
    heat, discount = jnp.asarray(temperature, kind), jnp.asarray(discount, kind)
    a, b, _, c, r = problem

    def step(after: tuple[Array, Scalar], _: None) -> tuple[tuple[Array, Scalar], GaussianPolicy]:
        curvature, offset = after
        p, lost = chance(problem, curvature, heat)
        q = r + discount * b.T @ p @ b
        cross = discount * b.T @ p @ a
        gain = jnp.linalg.solve(q, cross)
        before = c + discount * a.T @ p @ a - cross.T @ gain
        before = (before + before.T) / 2
        # τ log ∫ exp(−aᵀ Q a/2τ) da, which is 0 where τ is
        warm = jnp.where(heat > 0, heat, 1.0)
        volume = warm / 2 * (len(q) * jnp.log(2 * jnp.pi * warm) - jnp.linalg.slogdet(q)[1])
        offset = discount * (offset + lost) + jnp.where(heat > 0, volume, 0.0)
        policy = GaussianPolicy(gain, heat * jnp.linalg.inv(q), before, offset)
        return (before, offset), policy

    end = (c, jnp.zeros((), kind))
    return jax.lax.scan(step, end, None, length=horizon, reverse=True)[1]
