"""The score-function estimator: any latents, discrete ones too, at the price of variance."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from jensen.core import (
    AbstractGradient,
    AbstractInference,
    Datum,
    Estimate,
    Losses,
    MeanOverDraws,
    Verdict,
)
from jensen.dist import AbstractCarrying, AbstractDistribution, AbstractRelaxable, StoppedSample, stop
from jensen.gradients.baselines import AbstractBaseline, ForetellsLoss, LeaveOneOut, NoBaseline, centre
from jensen.gradients.common import Evaluation, couples_data, descend, has_no_score, make_draws
from jensen.typing import Array, Int, PRNGKey, PyTree


class ScoreFunction(AbstractGradient):
    """∇E_q[L] = E_q[(L − b) ∇log q(z) + ∇L], z held constant. Unbiased.

    Args:
        baseline: What is subtracted from the loss: ``NoBaseline()``, ``LeaveOneOut()`` of several draws, or
            of the steps before ``RunningMean()`` and, for each x its own, ``Learned(...)``.

    References:
        Williams 1992; Mnih & Gregor 2014.
    """

    baseline: AbstractBaseline

    def __init__(self, baseline: AbstractBaseline | None = None):
        self.baseline = NoBaseline() if baseline is None else baseline

    def init(self, inference: AbstractInference) -> PyTree:
        """Return the baseline's memory, where it has one."""
        return self.baseline.start() if isinstance(self.baseline, ForetellsLoss) else None

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
        objective, share = inference.objective, inference.share(num_data)
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=_stopped_sample)

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            terms, q = draws(model, posterior)
            log_q = terms.log_q.sum(-1) / share
            if isinstance(objective, MeanOverDraws) and objective.linear:
                # here the direct −∇log q is pure noise: its expectation is zero
                terms = eqx.tree_at(lambda t: t.log_q, terms, stop(terms.log_q))
            losses = objective.losses(terms, step)
            signals = stop(centre(self.baseline, self.baseline.signals(objective, terms, step), datum, state))
            scores = jnp.sum(signals * (log_q - stop(log_q)))
            both = Losses.both(losses.model + scores)
            each = both if losses.shared else Losses(losses.model, losses.posterior + scores)
            return Evaluation(each, objective.bound(terms), terms, q)

        out = descend(inference, evaluate)
        if not isinstance(self.baseline, ForetellsLoss):
            return out
        assert out.terms is not None
        seen = stop(self.baseline.signals(objective, out.terms, step).mean())
        error, memory = self.baseline.learn(datum, seen, state)
        return Estimate(out.surrogate + error, out.value, memory, out.terms, out.q)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a density, enough draws, and no term across data."""
        law = inference.posterior.law(inference.model)
        name = type(self.baseline).__name__
        if refusal := has_no_score(inference, "ScoreFunction"):
            return refusal
        if issubclass(law, AbstractCarrying):
            use = "StraightThrough()" if issubclass(law, AbstractRelaxable) else "Reparam()"
            return Verdict(
                "refused",
                f"ScoreFunction: the carry of {law.__name__} holds the draw it came from, which cannot be "
                f"held constant without cutting it; use gradients.{use}",
            )
        needed = self.baseline.min_samples
        if inference.objective.num_samples < needed:
            return Verdict(
                "refused",
                f"ScoreFunction({name}()) needs num_samples ≥ {needed}, the objective has "
                f"{inference.objective.num_samples}; raise it or use gradients.NoBaseline()",
            )
        baseline, over_draws = self.baseline, isinstance(inference.objective, MeanOverDraws)
        if isinstance(baseline, LeaveOneOut) and baseline.mean == "arithmetic" and over_draws:
            return Verdict(
                "refused",
                "LeaveOneOut('arithmetic') is a mean of weights, which are not averaged under "
                f"{type(inference.objective).__name__}; use gradients.LeaveOneOut()",
            )
        if couples_data(inference):
            return Verdict(
                "refused",
                "ScoreFunction: a term across the batch has no score here; use free_bits_over='datum'",
            )
        return Verdict("unbiased")


def _stopped_sample(q: Any) -> AbstractDistribution:
    return StoppedSample(q)
