"""Antithetic pairs for binary latents."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import AbstractGradient, AbstractInference, Datum, Estimate, Losses, MeanOverDraws, Verdict
from jensen.dist import AbstractDensity, Bernoulli, kl_divergence, register_kl, stop
from jensen.gradients.baselines import NoBaseline
from jensen.gradients.common import Evaluation, couples_data, descend, make_draws
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class DisARM(AbstractGradient):
    """½ (f(b) − f(b̃)) (bᵢ − b̃ᵢ) σ(|αᵢ|) in place of f ∇log q, for logits α. Unbiased.

    b = 1[u < σ(α)] and b̃ = 1[1 − u < σ(α)] share their noise, so that they differ as much as two draws can;
    what the noise adds is integrated out. ``num_samples`` counts the draws, two a pair: at the same number of
    passes its variance is below that of ``ScoreFunction(LeaveOneOut())``.

    References:
        Dong, Mnih & Tucker 2020.

    Example:
        >>> import jax, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(4), jax.random.key(0)
        >>> model = jn.models.Decoder(5, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(4), data_dim=5, widths=(), key=key)
        >>> jn.Inference(model, q, jn.objectives.ELBO(2), DisARM()).check().kind
        'unbiased'
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
        objective = inference.objective
        pairs = eqx.tree_at(lambda i: i.objective.num_samples, inference, objective.num_samples // 2)
        # one key, and so the same noise in both
        one, other = (
            make_draws(pairs, datum, key=key, num_data=num_data, wrap=lambda q, side=side: Side(q, side))
            for side in (jnp.zeros(()), jnp.ones(()))
        )

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            (first, q), (second, _) = one(model, posterior), other(model, posterior)
            terms = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)
            if objective.linear:  # the direct −∇log q is pure noise: its expectation is zero
                terms = eqx.tree_at(lambda t: t.log_q, terms, stop(terms.log_q))
            losses = objective.losses(terms, step)
            f, f_other = jnp.split(NoBaseline().signals(objective, terms, step), 2)
            slope = (f - f_other) @ (first.z - second.z) * jax.nn.sigmoid(jnp.abs(q.logits))
            scores = stop(slope) @ (q.logits - stop(q.logits))
            both = Losses.both(losses.model + scores)
            each = both if losses.shared else Losses(losses.model, losses.posterior + scores)
            return Evaluation(each, objective.bound(terms), terms, q)

        return descend(inference, evaluate)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand bits, a mean over pairs of draws, and no term across data."""
        law, objective = inference.posterior.law(inference.model), inference.objective
        instead = "use gradients.ScoreFunction(gradients.LeaveOneOut())"
        if not issubclass(law, Bernoulli):
            return Verdict("refused", f"DisARM is for bits, not {law.__name__}; use families.Bernoulli")
        if not isinstance(objective, MeanOverDraws):
            name = type(objective).__name__
            return Verdict(
                "refused", f"DisARM: {name} is no mean over draws; {instead}, or objectives.ELBO(2)"
            )
        if objective.num_samples % 2:
            return Verdict(
                "refused",
                f"DisARM draws in pairs, num_samples is {objective.num_samples}; use an even number"
                " in objectives.ELBO(2)",
            )
        if couples_data(inference):
            return Verdict(
                "refused", "DisARM: a term across the batch has no score; use free_bits_over='datum'"
            )
        return Verdict("unbiased")


class Side(AbstractDensity):
    """Bits from uniform noise u, or from 1 − u where ``mirrored`` is one; the sample is a constant."""

    base: Bernoulli
    mirrored: Scalar

    def log_prob(self, z: Float[Array, "d"]) -> Scalar:
        """Return the log-probability, whichever side."""
        return self.base.log_prob(z)

    def sample_and_log_prob(self, *, key: PRNGKey) -> tuple[Float[Array, "d"], Scalar]:
        """Draw every bit."""
        uniform = jax.random.uniform(key, self.base.logits.shape)
        uniform = jnp.where(self.mirrored > 0, 1 - uniform, uniform)
        z = stop((uniform < self.base.mean).astype(self.base.logits.dtype))
        return z, self.log_prob(z)


@register_kl(Side, Bernoulli)
def _of_either_side(q: Side, p: Bernoulli, z: Any) -> Any:
    return kl_divergence(q.base, p, z)
