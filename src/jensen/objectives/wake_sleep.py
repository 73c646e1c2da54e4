"""Reweighted wake-sleep."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jensen.core import AbstractInference, Losses, Terms, Verdict
from jensen.dist import stop
from jensen.errors import InputError
from jensen.objectives.together import DrawsIndependently, adds_over_data
from jensen.typing import Array, Int, Scalar


class ReweightedWakeSleep(DrawsIndependently):
    """The model climbs log (1/K) Σ wₖ, the posterior Σ w̃ₖ log q(zₖ): from the same draws, both waking.

    w̃ are the normalized weights, so that q descends KL(p(z | x) ‖ q) rather than KL(q ‖ p(z | x)): it covers
    the posterior rather than keep to a mode, and no gradient need pass through a draw. That suits discrete
    latents. What is climbed is the expectation under weights normalized over K draws, biased by O(1/K). The
    bound reported is IWAE's. The sleep phase, which trains q on dreams of the model, is not part of it.

    Args:
        num_samples: K, draws per datum.

    Raises:
        InputError: If K is below 2: one draw has weight one, whatever it is.

    References:
        Bornschein & Bengio 2015; Le et al. 2019.

    Example:
        >>> ReweightedWakeSleep(10).num_samples
        10
    """

    num_samples: int

    def __init__(self, num_samples: int):
        if num_samples < 2:
            raise InputError(f"ReweightedWakeSleep: num_samples is {num_samples}; it must be at least 2")
        self.num_samples = num_samples

    def bound(self, terms: Terms) -> Scalar:
        """Return log (1/K) Σ wₖ, in nats."""
        return logsumexp(terms.log_w, axis=0) - jnp.log(float(self.num_samples))

    def losses(self, terms: Terms, step: Int[Array, ""]) -> Losses:
        """Return the negative bound, and −Σ w̃ₖ log q(zₖ); mean penalties in both."""
        penalty = terms.penalty.mean()
        weight = stop(jax.nn.softmax(terms.log_w))
        return Losses(penalty - self.bound(terms), penalty - weight @ terms.log_q.sum(-1))

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand draws that are held; name the bias."""
        if refusal := adds_over_data(self, inference):
            return refusal
        name = type(inference.gradient).__name__
        if name != "HeldDraws":
            return Verdict(
                "refused",
                f"ReweightedWakeSleep weighs its draws, {name} moves them; use gradients.HeldDraws()",
            )
        return Verdict(
            "biased",
            f"ReweightedWakeSleep follows two losses, with weights normalized over {self.num_samples} draws",
        )
