"""Gradients through discrete samples as if they were their means."""

from __future__ import annotations

from typing import Any

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Verdict
from jensen.dist import AbstractRelaxable
from jensen.gradients.common import not_reparameterized
from jensen.gradients.pathwise import along_path
from jensen.typing import Array, Int, PRNGKey, PyTree


class StraightThrough(AbstractGradient):
    """Sample hard values going forward, take the gradient of their means going back. Biased, low variance.

    It is how world models with categorical states are trained: the bias falls as q becomes sure of itself.
    Where z has few values ``gradients.Enumerate`` is exact, and ``gradients.ScoreFunction`` is unbiased.

    References:
        Bengio, Léonard & Courville 2013; Hafner et al. 2021.

    Example:
        >>> import jax, jensen as jn
        >>> prior, key = jn.models.priors.OneHot(4), jax.random.key(0)
        >>> model = jn.models.Decoder(5, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.OneHot(4), data_dim=5, widths=(), key=key)
        >>> jn.Inference(model, q, jn.objectives.ELBO(), StraightThrough()).check().kind
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
        return along_path(
            inference, datum, key=key, step=step, num_data=num_data, wrap=lambda q: q.straight_through()
        )

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a discrete law that can pass a gradient through; say that it is biased."""
        law = inference.posterior.law(inference.model)
        if issubclass(law, AbstractRelaxable):
            return Verdict("biased", "StraightThrough takes a sample's gradient to be that of its mean")
        if not_reparameterized(inference, "StraightThrough") is None:
            return Verdict(
                "refused",
                f"StraightThrough: {law.__name__} is reparameterizable, no bias is needed; "
                "use gradients.Reparam()",
            )
        return Verdict(
            "refused",
            f"StraightThrough: {law.__name__} has no straight-through sample; use families.OneHot, or "
            "gradients.ScoreFunction(gradients.LeaveOneOut())",
        )
