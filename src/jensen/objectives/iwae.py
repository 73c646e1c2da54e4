"""The importance-weighted bound."""

from __future__ import annotations

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jensen.core import AbstractInference, LogMeanOfWeights, Losses, Terms, Verdict
from jensen.errors import at_least
from jensen.objectives.together import DrawsIndependently
from jensen.typing import Array, Int, Scalar


class IWAE(LogMeanOfWeights, DrawsIndependently):
    """log p(x) ≥ E log (1/K) Σₖ p(x, zₖ)/q(zₖ), zₖ ~ q independent, in nats.

    Tightens with K and is the ELBO at K = 1. The KL is never analytic: it does not separate from the log.

    Args:
        num_samples: K, draws per datum.

    Raises:
        InputError: If K is not positive.

    References:
        Burda, Grosse & Salakhutdinov 2016.

    Example:
        >>> IWAE(num_samples=8).num_samples
        8
    """

    num_samples: int

    def __init__(self, num_samples: int):
        at_least("IWAE", 1, num_samples=num_samples)
        self.num_samples = num_samples

    def bound(self, terms: Terms) -> Scalar:
        """Return log (1/K) Σ wₖ, in nats."""
        return logsumexp(terms.log_w, axis=0) - jnp.log(float(self.num_samples))

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative bound, plus mean penalties."""
        return Losses.both(terms.penalty.mean() - self.bound(terms))

    def rule(self, inference: AbstractInference) -> Verdict:
        """No objection from this side."""
        return Verdict("exact")
