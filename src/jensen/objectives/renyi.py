"""The variational Rényi bound."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jensen.core import AbstractInference, Losses, Terms, Verdict
from jensen.errors import InputError, at_least
from jensen.objectives.together import DrawsIndependently, adds_over_data
from jensen.typing import Array, Int, Scalar


class Renyi(DrawsIndependently):
    """log p(x) ≥ L_α = 1/(1−α) log E_q[w^{1−α}] ≥ E 1/(1−α) log (1/K) Σₖ wₖ^{1−α}, in nats, for 0 ≤ α < 1.

    w = p(x, z)/q(z), and L_α is log p(x) less the Rényi divergence of order α from q to p(z | x): the
    evidence at α = 0, the ELBO at α = 1, lower still for α > 1. What K draws give lies between the ELBO
    (K = 1) and L_α (K = ∞), and is a lower bound for any K; it is what is climbed and what is reported.
    α = 0 is ``IWAE(K)``.

    Args:
        alpha: α, 0 or more: near 0 q covers the posterior's mass, large α makes it keep to a mode.
        num_samples: K, draws per datum.

    Raises:
        InputError: If α is negative, where it is no lower bound, or K is not positive.

    References:
        Li & Turner 2016.

    Example:
        >>> import jax.numpy as jnp
        >>> from jensen.core import Terms
        >>> w = Terms(jnp.log(jnp.array([1.0, 9.0])), jnp.zeros((2, 1)), jnp.zeros(2), None)
        >>> round(float(jnp.exp(Renyi(0.5, num_samples=2).bound(w))), 3)  # the mean root, squared
        4.0
    """

    alpha: float
    num_samples: int

    def __init__(self, alpha: float, *, num_samples: int):
        if not 0 <= alpha < float("inf"):
            raise InputError(f"Renyi: alpha is {alpha}; it must be 0 or more, below that it bounds nothing")
        at_least("Renyi", 1, num_samples=num_samples)
        self.alpha = alpha
        self.num_samples = num_samples

    def bound(self, terms: Terms) -> Scalar:
        """Return 1/(1−α) log (1/K) Σ wₖ^{1−α}, in nats; the mean of log wₖ at α = 1."""
        if self.alpha == 1:
            return terms.log_w.mean()
        power = 1.0 - self.alpha
        return (logsumexp(power * terms.log_w, axis=0) - jnp.log(float(self.num_samples))) / power

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative bound, plus mean penalties."""
        return Losses.both(terms.penalty.mean() - self.bound(terms))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Say that K draws climb a bound between the ELBO and L_α."""
        if refusal := adds_over_data(self, inference):
            return refusal
        if self.alpha in (0, 1) or self.num_samples == 1:
            return Verdict("exact")
        return Verdict(
            "biased",
            f"Renyi(alpha={self.alpha:g}): {self.num_samples} draws climb a bound between the ELBO and the "
            "Rényi bound, which more draws bring nearer",
        )
