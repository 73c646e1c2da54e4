"""Markov chains over finitely many states: the law of a path, as prior and as exact posterior."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jensen.algorithms import hmm
from jensen.dist.discrete import times_log
from jensen.dist.kl import register_kl
from jensen.dist.protocol import AbstractDensity
from jensen.errors import InputError
from jensen.typing import Array, Float, Int, PRNGKey


class MarkovPath(AbstractDensity):
    """p(z_{1:T}) = p(z_1) ∏ p(z_{t+1} | z_t) over states 0..K−1, kernels free to change with t.

    A path is (T,) integers, −1 at padded steps; log-probabilities have one entry per step, zero where
    padded. With one kernel (K, K) the chain is homogeneous and has no length: it scores paths of any, and
    cannot be drawn from.

    Attributes:
        first: log p(z_1), up to a constant.
        kernels: log p(z_{t+1} = j | z_t = i), each row up to a constant, (T−1, K, K) or (K, K).
        steps: Real steps; ``None`` for all.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> law = MarkovPath(jnp.zeros(2), jnp.broadcast_to(jnp.log(jnp.eye(2)), (3, 2, 2)))
        >>> (law.log_prob(jnp.array([1, 1, 1, 1])) / jnp.log(4.0)).tolist()
        [-0.5, 0.0, 0.0, 0.0]
    """

    first: Float[Array, "k"]
    kernels: Float[Array, "*s k k"]
    steps: Int[Array, ""] | None = None

    @property
    def num_states(self) -> int:
        """K."""
        return self.first.shape[-1]

    def log_prob(self, z: Int[Array, "t"]) -> Float[Array, "t"]:
        """Return log p(z_1), log p(z_2 | z_1), …, in nats; zero where the path holds −1."""
        return hmm.path_log_prob(self.first, self.kernels, z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Int[Array, "t"], Float[Array, "t"]]:
        """Draw a path with its log-probability, step by step.

        Raises:
            InputError: If the chain has no length.
        """
        first, kernels, steps = self._finite()
        z = hmm.sample_path(first, kernels, steps, key=key)
        return z, self.log_prob(z)

    @property
    def marginals(self) -> Float[Array, "t k"]:
        """p(z_t = k), zero at padded steps."""
        return hmm.chain_marginals(*self._finite())[0]

    @property
    def pairs(self) -> Float[Array, "s k k"]:
        """p(z_t = i, z_{t+1} = j), zero at padded steps."""
        return hmm.chain_marginals(*self._finite())[1]

    @property
    def mode(self) -> Int[Array, "t"]:
        """The most probable path."""
        first, kernels, steps = self._finite()
        silence = jnp.zeros((len(kernels) + 1, self.num_states), first.dtype)
        return hmm.viterbi(first, hmm.log_normalize(kernels), silence, steps)

    def _finite(self) -> tuple[Array, Array, Any]:
        if self.kernels.ndim == 2:
            raise InputError(
                "MarkovPath: a homogeneous chain has no length; repeat its kernel T − 1 times, or simulate"
            )
        return self.first, self.kernels, len(self.kernels) + 1 if self.steps is None else self.steps


@register_kl(MarkovPath, MarkovPath)
def _markov_path(q: MarkovPath, p: MarkovPath, z: Any) -> Float[Array, "t"]:
    """Return KL(q(z_1) ‖ p(z_1)), then E_q KL(q(· | z_t) ‖ p(· | z_t)), zero at padded steps."""
    start = _relative(hmm.log_normalize(q.first), hmm.log_normalize(p.first))
    rows = _relative(hmm.log_normalize(q.kernels), hmm.log_normalize(p.kernels))
    marginals = q.marginals
    real = marginals.sum(-1) > 0
    rest = jnp.where(real[1:], (marginals[:-1] * rows).sum(-1), 0.0)
    return jnp.concatenate([jnp.where(real[0], start, 0.0)[None], rest])


def _relative(log_q: Array, log_p: Array) -> Array:
    probability, log_p = jnp.exp(log_q), jnp.broadcast_to(log_p, log_q.shape)
    return (times_log(probability, log_q) - times_log(probability, log_p)).sum(-1)
