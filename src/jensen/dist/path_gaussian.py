"""Gaussian Markov chains: the law of a continuous path, as prior and as exact posterior."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms import kalman
from jensen.algorithms.kalman_engines import ENGINES
from jensen.algorithms.linalg import solve_lower
from jensen.dist.protocol import AbstractDensity, AbstractMoments, Reparameterized
from jensen.errors import InputError
from jensen.typing import Array, Float, Int, PRNGKey


class GaussianPath(AbstractDensity, AbstractMoments):
    """p(z_{1:T} | x_{1:T}) of a linear-Gaussian chain: p(z_T | x) ∏ p(z_t | z_{t+1}, x_{1:t}), backwards.

    A path is (T, n), zero at padded steps. Entry t of a log-density is log p(z_t | z_{t+1}, x_{1:t}), zero
    where padded; their sum is the log-density of the path.

    Attributes:
        filtered: What the filter left.
        steps: Number of real steps; ``None`` for all.
        engine: ``"serial"`` or ``"parallel"``, how the smoother runs.
    """

    filtered: kalman.Filtered
    steps: Int[Array, ""] | None = None
    engine: str = eqx.field(static=True, default="serial")

    @property
    def smoothed(self) -> kalman.Smoothed:
        """Means, covariances and lag-one cross-covariances given all observations."""
        return ENGINES[self.engine].smooth(self.filtered, self.steps)

    @property
    def mean(self) -> Float[Array, "t n"]:
        """E[z_t | x_{1:T}]."""
        return self.smoothed.mean

    @property
    def variance(self) -> Float[Array, "t n"]:
        """Var[z_t | x_{1:T}]."""
        return jnp.diagonal(self.smoothed.covariance, axis1=-2, axis2=-1)

    def log_prob(self, z: Float[Array, "t n"]) -> Float[Array, "t"]:
        """Return the log-density in nats, one entry a step."""
        return kalman.log_density(self.filtered, z, self.steps)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t n"], Float[Array, "t"]]:
        """Draw a path backwards, with its log-density."""
        z = kalman.sample(self.filtered, self.steps, key=key)
        return z, self.log_prob(z)


class GaussianChain(AbstractDensity, Reparameterized):
    """z_1 ~ N(m, P), z_{t+1} = A z_t + b_t + N(0, Q): entry t of a log-density is log p(z_t | z_{t−1}).

    Attributes:
        initial_mean: m.
        initial_root: Lower-triangular root of P.
        transition: A, or one a step.
        drift: b_t, or one b for all steps; a path of such a chain can be scored, not drawn.
        transition_root: Lower-triangular root of Q, or one a step.
        steps: Number of real steps; ``None`` for all.

    Example:
        >>> import jax.numpy as jnp
        >>> one = jnp.eye(1)
        >>> GaussianChain(jnp.zeros(1), one, one, jnp.zeros((2, 1)), one).log_prob(jnp.zeros((3, 1))).shape
        (3,)
    """

    initial_mean: Float[Array, "n"]
    initial_root: Float[Array, "n n"]
    transition: Float[Array, "*moves n n"]
    drift: Float[Array, "*steps n"]
    transition_root: Float[Array, "*noises n n"]
    steps: Int[Array, ""] | None = None

    def log_prob(self, z: Float[Array, "t n"]) -> Float[Array, "t"]:
        """Return the log-density in nats, one entry a step, zero where padded."""
        first = kalman.solve_lower(self.initial_root, (z[0] - self.initial_mean)[:, None]).T
        moved = z[1:] - kalman.apply(self.transition, z[:-1]) - self.drift
        if self.transition_root.ndim == 2:
            rest = kalman.solve_lower(self.transition_root, moved.T).T
        else:
            rest = kalman.solve_lower(self.transition_root, moved[..., None])[..., 0]
        scales = [
            jnp.log(jnp.abs(jnp.diagonal(root, axis1=-2, axis2=-1))).sum(-1)
            for root in (self.initial_root, self.transition_root)
        ]
        log_det = jnp.concatenate([scales[0][None], jnp.broadcast_to(scales[1], len(rest))])
        white = jnp.concatenate([first, rest])
        entries = -0.5 * (white**2).sum(-1) - log_det - 0.5 * z.shape[1] * np.log(2 * np.pi)
        return entries if self.steps is None else jnp.where(jnp.arange(len(z)) < self.steps, entries, 0.0)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t n"], Float[Array, "t"]]:
        """Draw a path forwards, with its log-density; zero where padded.

        Raises:
            InputError: If the chain has no length.
        """
        if self.drift.ndim == 1:
            raise InputError("GaussianChain: without a drift for every step it has no length to draw")
        t, n = len(self.drift) + 1, len(self.initial_mean)
        noise = jax.random.normal(key, (t, n), self.initial_mean.dtype)
        first = self.initial_mean + self.initial_root @ noise[0]
        shocks = self.drift + kalman.apply(self.transition_root, noise[1:])

        def step(z: Array, now: tuple[Array | None, Array]) -> tuple[Array, Array]:
            own, shock = now
            z = kalman.apply(self.transition if own is None else own, z) + shock
            return z, z

        moves = self.transition if self.transition.ndim == 3 else None
        z = jnp.concatenate([first[None], jax.lax.scan(step, first, (moves, shocks))[1]])
        if self.steps is not None:
            z = jnp.where(jnp.arange(t)[:, None] < self.steps, z, 0.0)
        return z, self.log_prob(z)


class GaussianMarkov(AbstractDensity, Reparameterized):
    """z_t = m_t + A_t (z_{t−1} − m_{t−1}) + L_t ε_t: any Gaussian path that is a Markov chain.

    Entry t of a log-density is log q(z_t | z_{t−1}), zero where padded.

    Attributes:
        loc: m_t, the mean of every step.
        pull: A_t; the first is not looked at.
        tril: L_t, lower triangular.
        steps: Number of real steps; ``None`` for all.
    """

    loc: Float[Array, "t n"]
    pull: Float[Array, "t n n"]
    tril: Float[Array, "t n n"]
    steps: Int[Array, ""] | None = None

    def log_prob(self, z: Float[Array, "t n"]) -> Float[Array, "t"]:
        """Return the log-density in nats, one entry a step, zero where padded."""
        away = z - self.loc
        moved = away.at[1:].add(-jnp.einsum("tij,tj->ti", self.pull[1:], away[:-1]))
        white = jax.vmap(solve_lower)(self.tril, moved[..., None])[..., 0]
        log_det = jnp.log(jnp.abs(jnp.diagonal(self.tril, axis1=-2, axis2=-1))).sum(-1)
        entries = -0.5 * (white**2).sum(-1) - log_det - 0.5 * z.shape[1] * np.log(2 * np.pi)
        return entries if self.steps is None else jnp.where(jnp.arange(len(z)) < self.steps, entries, 0.0)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "t n"], Float[Array, "t"]]:
        """Draw a path forwards, with its log-density; zero where padded."""
        noise = jax.random.normal(key, self.loc.shape, self.loc.dtype)
        shocks = jnp.einsum("tij,tj->ti", self.tril, noise)

        def step(away: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            away = at[0] @ away + at[1]
            return away, away

        z = self.loc + jax.lax.scan(step, jnp.zeros_like(shocks[0]), (self.pull, shocks))[1]
        if self.steps is not None:
            z = jnp.where(jnp.arange(len(z))[:, None] < self.steps, z, 0.0)
        return z, self.log_prob(z)
