"""Gradients through the sample: reparameterization, sticking-the-landing, doubly reparameterized."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import (
    AbstractCarryModel,
    AbstractGradient,
    AbstractInference,
    Datum,
    Estimate,
    HasMarkovLatents,
    LogMeanOfWeights,
    MeanOverDraws,
    Verdict,
    live,
    score,
)
from jensen.dist import StoppedScore, rescored, stop
from jensen.gradients.common import (
    Evaluation,
    Wrap,
    descend,
    has_no_score,
    make_draws,
    not_reparameterized,
    without_own,
)
from jensen.gradients.dimmed import dimmed_draws
from jensen.typing import Array, Int, PRNGKey, PyTree


class Reparam(AbstractGradient):
    """∇E_q[r(z)] = E_ε[∇ r(z(ε))]: differentiate through z = μ + σ·ε. Unbiased.

    References:
        Kingma & Welling 2014; Rezende, Mohamed & Wierstra 2014.
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
        return along_path(inference, datum, key=key, step=step, num_data=num_data, wrap=lambda q: q)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a reparameterizable law."""
        return not_reparameterized(inference, "Reparam") or Verdict("unbiased")


class StickTheLanding(AbstractGradient):
    """Reparameterization without the score of q, whose expectation is zero. Unbiased, noise-free at q = p.

    The score is that in the posterior's own parameters: what q takes from the model, as a ladder's from its
    prior, keeps its whole gradient.

    References:
        Roeder, Wu & Duvenaud 2017.
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
        to_q, to_draws = jax.random.split(key)
        objective, share = inference.objective, inference.share(num_data)

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            model = live(model, posterior)
            q = posterior(model, datum, key=to_q)
            pair = StoppedScore(q, without_own(q, posterior, model, datum))
            terms = objective.draw(model, pair, datum, key=to_draws, share=share)
            return Evaluation(objective.losses(terms, step), objective.bound(terms), terms, q)

        return descend(inference, evaluate)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Refuse objectives in which the dropped score does not average to zero."""
        if refusal := not_reparameterized(inference, "StickTheLanding") or has_no_score(
            inference, "StickTheLanding"
        ):
            return refusal
        objective = inference.objective
        if isinstance(objective, LogMeanOfWeights):
            return Verdict(
                "refused",
                f"StickTheLanding under {type(objective).__name__} is biased: the score's weight depends on "
                "the draw; use gradients.DoublyReparam()",
            )
        if isinstance(objective, MeanOverDraws):
            if objective.closed_form_kl == "analytic":
                return Verdict(
                    "refused",
                    "StickTheLanding with kl='analytic': there is no score left to drop; use kl='sampled' "
                    "or gradients.Reparam()",
                )
            if not objective.linear:
                return Verdict("biased", "StickTheLanding with free bits drops a score that is not zero-mean")
            return Verdict("unbiased")
        return Verdict(
            "refused",
            f"StickTheLanding under {type(objective).__name__} drops a score that is not zero-mean; "
            "use gradients.Reparam()",
        )


class DoublyReparam(AbstractGradient):
    """The importance-weighted bound's gradient with both scores reparameterized. Unbiased.

    The posterior's gradient is Σ w̃ₖ² ∂log wₖ/∂z ∂zₖ/∂φ, the model's Σ w̃ₖ ∇_θ log p(x, zₖ), with w̃ the
    normalized weights: the signal-to-noise ratio in φ no longer falls with K. Where q is made of the model's
    parameters too, as a ladder's is of its prior, these get Σ w̃ₖ ∇_θ log wₖ along the whole path.

    References:
        Tucker, Lawson, Gu & Maddison 2019.
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
        to_q, to_draws = jax.random.split(key)
        objective, share = inference.objective, inference.share(num_data)
        p, posterior = inference.bound_model(), inference.posterior
        q = posterior(p, datum, key=to_q)
        drawn, dial = dimmed_draws(
            q, posterior, p, datum, keys=jax.random.split(to_draws, objective.num_samples)
        )
        scored = without_own(q, posterior, p, datum)
        terms = jax.vmap(lambda one: score(p, scored, rescored(one, scored), datum, share))(drawn)
        weight = stop(jax.nn.softmax(terms.log_w))
        # both parts of the dial are zero; their slopes tell by what share the gradient passes to q
        surrogate = terms.penalty.mean() - jnp.sum(weight * (terms.log_w - dial.share)) + dial.whole
        return Estimate(surrogate, stop(objective.bound(terms)), None, terms, q)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand an importance-weighted bound and a reparameterizable law."""
        if refusal := not_reparameterized(inference, "DoublyReparam") or has_no_score(
            inference, "DoublyReparam"
        ):
            return refusal
        if not isinstance(inference.objective, LogMeanOfWeights):
            return Verdict(
                "refused",
                f"DoublyReparam is for importance-weighted bounds, not {type(inference.objective).__name__}; "
                "use gradients.StickTheLanding() or gradients.Reparam()",
            )
        model = inference.model
        if isinstance(model, AbstractCarryModel) and not isinstance(model, HasMarkovLatents):
            return Verdict(
                "refused",
                f"DoublyReparam: {type(model).__name__} takes its carry from the posterior's draw, so "
                "the two cannot be weighed apart; use gradients.Reparam()",
            )
        return Verdict("unbiased")


def along_path(
    inference: AbstractInference,
    datum: Datum,
    *,
    key: PRNGKey,
    step: Int[Array, ""],
    num_data: Any,
    wrap: Wrap,
) -> Estimate:
    """Estimate the gradient along the path of the sample, for one datum.

    Args:
        inference: The four choices.
        datum: The datum.
        key: Randomness.
        step: Number of the gradient step.
        num_data: Size of the data set.
        wrap: What is drawn from in place of q.
    """
    draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=wrap)

    def evaluate(model: Any, posterior: Any) -> Evaluation:
        terms, q = draws(model, posterior)
        return Evaluation(inference.objective.losses(terms, step), inference.objective.bound(terms), terms, q)

    return descend(inference, evaluate)
