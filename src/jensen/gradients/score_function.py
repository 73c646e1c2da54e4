"""The score-function estimator: any latents, discrete ones too, at the price of variance."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import (
    AbstractGradient,
    AbstractInference,
    AbstractObjective,
    Datum,
    Estimate,
    Losses,
    MeanOverDraws,
    Terms,
    Verdict,
)
from jensen.dist import AbstractCarrying, AbstractDistribution, StoppedSample, stop
from jensen.gradients.common import Evaluation, couples_data, descend, has_no_score, make_draws
from jensen.typing import Array, Float, Int, PRNGKey, PyTree, Scalar


class AbstractBaseline(eqx.Module):
    """What is subtracted from the loss before it multiplies a draw's score."""

    min_samples: eqx.AbstractVar[int]

    @abstractmethod
    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return, per draw, the loss it answers for less a baseline that does not depend on it."""


class NoBaseline(AbstractBaseline):
    """Nothing is subtracted."""

    min_samples: int = 1

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return each draw's own loss where losses average over draws, else the whole loss."""
        draws = terms.log_joint.shape[0]
        if isinstance(objective, MeanOverDraws):
            one = jax.tree.map(lambda leaf: leaf[:, None], terms)
            return jax.vmap(lambda t: objective.losses(t, step).posterior)(one) / draws
        return jnp.full((draws,), objective.losses(terms, step).posterior)


class LeaveOneOut(AbstractBaseline):
    """The loss that would have been, had this draw been like the mean of the others.

    Under the ELBO it is RLOO (Kool, van Hoof & Welling 2019); under the importance-weighted bound the mean
    of log-weights is the geometric mean of weights, which is VIMCO (Mnih & Rezende 2016).
    """

    min_samples: int = 2

    def signals(
        self, objective: AbstractObjective, terms: Terms, step: Int[Array, ""]
    ) -> Float[Array, "draws"]:
        """Return the loss less the loss with this draw replaced by the mean of the others."""
        draws = terms.log_joint.shape[0]
        whole = objective.losses(terms, step).posterior

        def without(k: Int[Array, ""]) -> Scalar:
            def replace(leaf: Array) -> Array:
                # not sum − leaf[k], which loses the digits that draws far from zero have in common
                others = leaf.at[k].set(0.0).sum(0) / (draws - 1)
                return leaf.at[k].set(others)

            numbers = eqx.tree_at(lambda t: (t.z, t.carry), terms, (None, None), is_leaf=lambda x: x is None)
            return objective.losses(jax.tree.map(replace, numbers), step).posterior

        return whole - jax.vmap(without)(jnp.arange(draws))


class ScoreFunction(AbstractGradient):
    """∇E_q[L] = E_q[(L − b) ∇log q(z) + ∇L], z held constant. Unbiased.

    Args:
        baseline: ``NoBaseline()`` or ``LeaveOneOut()``; what is subtracted from the loss.

    References:
        Williams 1992; Mnih & Gregor 2014.
    """

    baseline: AbstractBaseline

    def __init__(self, baseline: AbstractBaseline | None = None):
        self.baseline = NoBaseline() if baseline is None else baseline

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
        objective, share = inference.objective, inference.share(num_data)
        draws = make_draws(inference, datum, key=key, num_data=num_data, wrap=_stopped_sample)

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            terms, q = draws(model, posterior)
            log_q = terms.log_q.sum(-1) / share
            if isinstance(objective, MeanOverDraws) and objective.linear:
                # here the direct −∇log q is pure noise: its expectation is zero
                terms = eqx.tree_at(lambda t: t.log_q, terms, stop(terms.log_q))
            losses = objective.losses(terms, step)
            signals = stop(self.baseline.signals(objective, terms, step))
            scores = jnp.sum(signals * (log_q - stop(log_q)))
            both = Losses.both(losses.model + scores)
            each = both if losses.shared else Losses(losses.model, losses.posterior + scores)
            return Evaluation(each, objective.bound(terms), terms, q)

        return descend(inference, evaluate)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand a density, enough draws, and no term across data."""
        law = inference.posterior.law(inference.model)
        name = type(self.baseline).__name__
        if refusal := has_no_score(inference, "ScoreFunction"):
            return refusal
        if issubclass(law, AbstractCarrying):
            return Verdict(
                "refused",
                f"ScoreFunction: the carry of {law.__name__} holds the draw it came from, which cannot be "
                "held constant without cutting it; use gradients.Reparam()",
            )
        needed = self.baseline.min_samples
        if inference.objective.num_samples < needed:
            return Verdict(
                "refused",
                f"ScoreFunction({name}()) needs num_samples ≥ {needed}, the objective has "
                f"{inference.objective.num_samples}; raise it or use gradients.NoBaseline()",
            )
        if couples_data(inference):
            return Verdict(
                "refused",
                "ScoreFunction: a term across the batch has no score here; use free_bits_over='datum'",
            )
        return Verdict("unbiased")


def _stopped_sample(q: Any) -> AbstractDistribution:
    return StoppedSample(q)
