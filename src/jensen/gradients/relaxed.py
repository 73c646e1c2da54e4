"""Gradients through a continuous relaxation of discrete samples."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Verdict
from jensen.dist import (
    AbstractDensity,
    Bernoulli,
    OneHot,
    Reparameterized,
    kl_divergence,
    register_kl,
    stop,
)
from jensen.errors import InputError, positive
from jensen.gradients.common import make_draws, not_reparameterized
from jensen.gradients.pathwise import along_path
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar, Schedule


class Relaxed(AbstractGradient):
    """softmax((logits + Gumbel noise)/τ) in place of the one-hot argmax; for bits, a sigmoid alike. Biased.

    As τ falls to 0 samples harden and the bias goes, while the variance grows. A schedule anneals it:
    ``temperature=jn.objectives.Linear(1.0, 0.3, 10_000)``. The KL stays that of the discrete laws, and the
    bound reported is that of the hard samples of the same noise, one more pass without a gradient.

    Args:
        temperature: τ, a number or a function of the step.
        forward: ``"soft"`` lets the model see the relaxed sample; ``"hard"`` the discrete one, with the
            gradient of the relaxed (straight-through Gumbel-softmax).

    Raises:
        InputError: If the temperature is not positive, or on another ``forward``.

    References:
        Jang, Gu & Poole 2017; Maddison, Mnih & Teh 2017.

    Example:
        >>> import jax, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(4), jax.random.key(0)
        >>> model = jn.models.Decoder(5, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(4), data_dim=5, widths=(), key=key)
        >>> jn.Inference(model, q, jn.objectives.ELBO(), Relaxed(temperature=0.5)).check().kind
        'biased'
    """

    temperature: float | Schedule
    forward: Literal["soft", "hard"]

    def __init__(self, temperature: float | Schedule = 0.5, *, forward: Literal["soft", "hard"] = "soft"):
        if not callable(temperature):
            positive("Relaxed", temperature=temperature)
        if forward not in ("soft", "hard"):
            raise InputError(f"Relaxed: forward is {forward!r}; choose soft or hard")
        self.temperature = temperature
        self.forward = forward

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
        tau = self.temperature(step) if callable(self.temperature) else jnp.asarray(self.temperature)
        wrap = (lambda q: HardForward(q, tau)) if self.forward == "hard" else (lambda q: Softened(q, tau))
        out = along_path(inference, datum, key=key, step=step, num_data=num_data, wrap=wrap)
        if self.forward == "hard":
            return out
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=lambda q: q)
        terms, _ = draws(stop(inference.model), stop(inference.posterior))
        return Estimate(out.surrogate, stop(inference.objective.bound(terms)), None, out.terms, out.q)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a law that can be relaxed; say that it is biased."""
        law = inference.posterior.law(inference.model)
        if issubclass(law, OneHot | Bernoulli):
            return Verdict(
                "biased", "Relaxed differentiates a relaxed sample; a lower temperature is less biased"
            )
        if not_reparameterized(inference, "Relaxed") is None:
            return Verdict(
                "refused", f"Relaxed: {law.__name__} is reparameterizable as it is; use gradients.Reparam()"
            )
        return Verdict(
            "refused",
            f"Relaxed: {law.__name__} cannot be relaxed; use families.OneHot or families.Bernoulli, and for "
            "paths gradients.StraightThrough()",
        )


class Softened(AbstractDensity, Reparameterized):
    """A discrete law sampled softly. log q is the discrete one's, linear in z, at the soft sample."""

    base: Any
    temperature: Scalar

    def log_prob(self, z: Float[Array, "d"]) -> Array:
        """Return the discrete law's log-probability, extended to what lies between its values."""
        return self.base.log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Array]:
        """Draw softly, with the noise of the discrete law's own draw."""
        z = soft(self.base, self.temperature, key=key)
        return z, self.log_prob(z)


class HardForward(AbstractDensity, Reparameterized):
    """A discrete law with hard samples that carry the gradient of soft ones."""

    base: Any
    temperature: Scalar

    def log_prob(self, z: Float[Array, "d"]) -> Array:
        """Return the discrete law's log-probability."""
        return self.base.log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Array]:
        """Draw hard, plus soft − soft, of which only the first is differentiated."""
        relaxed = soft(self.base, self.temperature, key=key)
        hard, _ = self.base.sample_and_log_prob(key=key)
        z = stop(hard) + (relaxed - stop(relaxed))
        return z, self.log_prob(z)


def soft(law: OneHot | Bernoulli, temperature: Scalar, *, key: PRNGKey) -> Float[Array, "d"]:
    """Draw the relaxed sample: as the temperature falls to 0, what the law itself draws from the key."""
    if isinstance(law, OneHot):
        return jax.nn.softmax((law.logits + law.noise(key=key)) / temperature).reshape(-1)
    uniform = jax.random.uniform(key, law.logits.shape)
    return jax.nn.sigmoid((law.logits - jax.scipy.special.logit(uniform)) / temperature)


@register_kl(Softened, OneHot)
@register_kl(Softened, Bernoulli)
@register_kl(HardForward, OneHot)
@register_kl(HardForward, Bernoulli)
def _of_the_discrete(q: Softened | HardForward, p: OneHot | Bernoulli, z: Any) -> Any:
    return kl_divergence(q.base, p, z)
