"""Gradients through discrete samples as if they were their means."""

from __future__ import annotations

from typing import Any

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Verdict
from jensen.dist import (
    AbstractDensity,
    AbstractRelaxable,
    Bernoulli,
    Reparameterized,
    kl_divergence,
    register_kl,
    stop,
)
from jensen.gradients.common import not_reparameterized
from jensen.gradients.pathwise import along_path
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


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
        return along_path(inference, datum, key=key, step=step, num_data=num_data, wrap=_through)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a discrete law that can pass a gradient through; say that it is biased."""
        law = inference.posterior.law(inference.model)
        if issubclass(law, AbstractRelaxable | Bernoulli):
            return Verdict("biased", "StraightThrough takes a sample's gradient to be that of its mean")
        if not_reparameterized(inference, "StraightThrough") is None:
            return Verdict(
                "refused",
                f"StraightThrough: {law.__name__} is reparameterizable, no bias is needed; "
                "use gradients.Reparam()",
            )
        return Verdict(
            "refused",
            f"StraightThrough: {law.__name__} has no straight-through sample; use families.OneHot or "
            "families.Bernoulli, or gradients.ScoreFunction(gradients.LeaveOneOut())",
        )


class BitsThrough(AbstractDensity, Reparameterized):
    """Bits, hard in value, with the gradient of their probabilities."""

    base: Bernoulli

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return the log-probability, in nats."""
        return self.base.log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw every bit, plus p − p, of which only the first p is differentiated."""
        hard, _ = self.base.sample_and_log_prob(key=key)
        z = stop(hard) + (self.base.mean - stop(self.base.mean))
        return z, self.log_prob(z)


def _through(q: Any) -> Any:
    return BitsThrough(q) if isinstance(q, Bernoulli) else q.straight_through()


@register_kl(BitsThrough, Bernoulli)
def _of_bits(q: BitsThrough, p: Bernoulli, z: Any) -> Any:
    return kl_divergence(q.base, p, z)
