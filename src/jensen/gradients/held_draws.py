"""The gradient of a loss at draws that are held constant."""

from __future__ import annotations

from typing import Any

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Verdict
from jensen.dist import AbstractCarrying, StoppedSample
from jensen.gradients.common import has_no_score
from jensen.gradients.pathwise import along_path
from jensen.typing import Array, Int, PRNGKey, PyTree


class HeldDraws(AbstractGradient):
    """∇ loss at the draws, held constant: no gradient passes through a draw or through how likely it was.

    For losses that weigh the draws themselves, as ``objectives.ReweightedWakeSleep`` does. Any latents.

    References:
        Bornschein & Bengio 2015.

    Example:
        >>> import jax, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(4), jax.random.key(0)
        >>> model = jn.models.Decoder(5, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(4), data_dim=5, widths=(), key=key)
        >>> jn.Inference(model, q, jn.objectives.ReweightedWakeSleep(5), HeldDraws()).check().kind
        'biased'
    """

    def init(self, inference: AbstractInference) -> None:
        """No memory."""

    def __call__(
        self,
        inference: AbstractInference,
        datum: Datum,
        *,
        key: PRNGKey,
        step: Int[Array, ""],
        num_data: Any,
        state: PyTree,
    ) -> Estimate:
        """Estimate for one datum."""
        return along_path(inference, datum, key=key, step=step, num_data=num_data, wrap=StoppedSample)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand an objective made for it, and a law whose draws can be held."""
        name = type(inference.objective).__name__
        if name != "ReweightedWakeSleep":
            return Verdict(
                "refused",
                f"HeldDraws under {name} leaves out how likely the draws are; use gradients.Reparam(), "
                "gradients.ScoreFunction(), or objectives.ReweightedWakeSleep",
            )
        if refusal := has_no_score(inference, "HeldDraws"):
            return refusal
        law = inference.posterior.law(inference.model)
        if issubclass(law, AbstractCarrying):
            return Verdict(
                "refused",
                f"HeldDraws: the carry of {law.__name__} holds the draw; use objectives.IWAE with "
                "gradients.Reparam()",
            )
        return Verdict("unbiased")
