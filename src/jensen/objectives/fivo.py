"""The filtering bound: a particle filter's log-evidence."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from jensen.algorithms import smc
from jensen.core import AbstractInference, AbstractObjective, Datum, Losses, Terms, Verdict
from jensen.dist import AbstractDistribution
from jensen.errors import InputError, at_least
from jensen.objectives.stepwise import is_proposal, is_stepwise, moves_of
from jensen.typing import Array, Int, PRNGKey, Scalar


class FIVO(AbstractObjective):
    """log p(x_{1:T}) ≥ E log Ẑ, Ẑ the evidence estimate of K particles that q(z_t | past) proposes, in nats.

    Particles are resampled along the way, so that a long sequence costs no more particles a step than a short
    one: where IWAE over whole paths needs K to grow exponentially with T, here it grows linearly. E[Ẑ] =
    p(x), as under IWAE. The gradient passes through particles and weights but not through the choice of
    survivors, which biases it; the term left out has a variance that swamps the rest.

    Args:
        num_samples: K, particles per sequence.
        resample_below: Resample before a step when the effective sample size is at most this share of K;
            0 never resamples, which is IWAE.

    Raises:
        InputError: If K is not positive or the share not between 0 and 1.

    References:
        Maddison et al. 2017; Le et al. 2018; Naesseth et al. 2018.

    Example:
        >>> FIVO(num_samples=8).resample_below
        0.5
    """

    num_samples: int
    resample_below: float

    def __init__(self, num_samples: int, *, resample_below: float = 0.5):
        at_least("FIVO", 1, num_samples=num_samples)
        if not 0 <= resample_below <= 1:
            raise InputError(f"FIVO: resample_below is {resample_below}; it must lie between 0 and 1")
        self.num_samples = num_samples
        self.resample_below = resample_below

    def draw(self, model: Any, q: AbstractDistribution, datum: Datum, *, key: PRNGKey, share: Any) -> Terms:
        """Run the particle filter.

        The draws are the paths the final particles descend from; the filter itself is the carry.
        """
        particles = smc.particle_filter(
            moves_of(model, q, datum),
            len(datum.x),
            self.num_samples,
            datum.steps,
            resample_below=self.resample_below,
            key=key,
        )
        z, (log_p, log_q) = smc.genealogy(particles.ancestors, (particles.z, particles.detail))
        penalty = jnp.zeros(self.num_samples)
        return Terms(log_p.sum(-1), log_q, penalty, z, carry=particles)

    def bound(self, terms: Terms) -> Scalar:
        """Return log Ẑ, in nats."""
        return terms.carry.log_evidence

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative bound."""
        return Losses.both(-self.bound(terms))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse what cannot be taken step by step; name the bias of the term that is dropped."""
        model, law = type(inference.model).__name__, inference.posterior.law(inference.model)
        if not is_stepwise(inference.model):
            return Verdict(
                "refused", f"FIVO: {model} is no model of sequences step by step; use objectives.IWAE"
            )
        if not is_proposal(law):
            name = type(inference.posterior).__name__
            return Verdict(
                "refused",
                f"FIVO: {name} does not propose z_t from the steps before it; use posteriors.Filtering or "
                "posteriors.Smoothing, or objectives.IWAE",
            )
        gradient = type(inference.gradient).__name__
        if gradient in ("StickTheLanding", "ScoreFunction"):
            return Verdict(
                "refused", f"FIVO: {gradient} wraps whole paths, not their steps; use gradients.Reparam()"
            )
        return Verdict("biased", "FIVO drops the gradient of resampling; objectives.IWAE drops nothing")
