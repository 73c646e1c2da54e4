"""Predictive moments of exact models of sequences, in closed form. Traced code."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import Datum
from jensen.diagnose.ahead import past
from jensen.models.sequence import HMM, LinearGaussianSSM
from jensen.models.sequence.linear_gaussian_steps import at
from jensen.typing import Array, Float


def has_moments(model: Any) -> bool:
    """Whether E[x_{t+h} | x_{1:t}] has a closed form."""
    return isinstance(model, HMM | LinearGaussianSSM)


def moments(
    model: Any, datum: Datum, horizon: int
) -> tuple[Float[Array, "h *means"], Float[Array, "h d"] | None]:
    """Return mean and, of Gaussians, standard deviation of x_{t+1}, …, x_{t+h} given x_{1:t}.

    Args:
        model: One that ``has_moments``.
        datum: One context with the inputs to come; if no step of it is real, the prior speaks.
        horizon: Steps to go on.
    """
    times = jnp.asarray(datum.steps) - 1 + jnp.arange(horizon)
    return (_gaussian if isinstance(model, LinearGaussianSSM) else _mixture)(model, datum, times)


def _gaussian(model: Any, datum: Datum, times: Array) -> tuple[Array, Array]:
    """Move the filtered Gaussian by m ← A m + B u + b, P ← A P Aᵀ + Q; x ~ N(C m + …, C P Cᵀ + R)."""
    filtered = model.filtered(past(datum))

    def step(state: tuple[Array, Array], t: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        mean, cov = state
        a, c = at(model.dynamics, t).matrix, model.frame.scale[:, None] * at(model.emission, t + 1).matrix
        law, first = model.transition(mean, t, datum), model.initial(datum)
        cov = a @ cov @ a.T + law.tril @ law.tril.T
        mean = jnp.where(t < 0, first.loc, law.loc)
        cov = jnp.where(t < 0, first.tril @ first.tril.T, cov)
        seen = model.observation_at(mean, t + 1, datum)
        variance = seen.scale**2 + jnp.einsum("di,ij,dj->d", c, cov, c)
        return (mean, cov), (seen.mean, jnp.sqrt(variance))

    start = filtered.mean[times[0]], filtered.covariance[times[0]]
    return jax.lax.scan(step, start, times)[1]


def _mixture(model: Any, datum: Datum, times: Array) -> tuple[Array, None]:
    """Move the filtered probabilities by the transition matrix; E[x] mixes the states' means."""
    states = jnp.arange(model.num_states)
    kernel = jax.vmap(lambda k: model.transition(k, times[0], datum).probs)(states)

    def step(p: Array, t: Array) -> tuple[Array, Array]:
        p = jnp.where(t < 0, model.initial(datum).probs, p @ kernel)
        means = jax.vmap(lambda k: model.observation_at(k, t + 1, datum).mean)(states)
        return p, jnp.tensordot(p, means, 1)

    start = jnp.exp(model.filtered(past(datum)).log_marginals[times[0]])
    return jax.lax.scan(step, start, times)[1], None
