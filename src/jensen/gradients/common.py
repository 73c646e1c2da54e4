"""What the estimators share: draws as a function of model and posterior, and how losses are descended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jensen.core import (
    AbstractInference,
    Datum,
    Estimate,
    HasBatchTerm,
    HasFamily,
    Losses,
    PicksLaw,
    Terms,
    Verdict,
    live,
)
from jensen.dist import (
    AbstractCarrying,
    AbstractDensity,
    AbstractDistribution,
    AbstractEnumerable,
    Reparameterized,
    stop,
)
from jensen.typing import PRNGKey, Scalar

Wrap = Callable[[Any], AbstractDistribution]


class Evaluation(NamedTuple):
    """Losses at some draws, with what they were made of."""

    losses: Losses
    value: Scalar
    terms: Terms
    q: Any


def make_draws(
    inference: AbstractInference, datum: Datum, *, key: PRNGKey, num_data: Any, wrap: Wrap
) -> Callable[[Any, Any], tuple[Terms, Any]]:
    """Return ``draws(model, posterior) -> (terms, q)``, always with the same randomness."""
    to_q, to_draws = jax.random.split(key)
    share = inference.share(num_data)

    def draws(model: Any, posterior: Any) -> tuple[Terms, Any]:
        model = live(model, posterior)
        q = posterior(model, datum, key=to_q)
        return inference.objective.draw(model, wrap(q), datum, key=to_draws, share=share), q

    return draws


def descend(inference: AbstractInference, evaluate: Callable[[Any, Any], Evaluation]) -> Estimate:
    """Turn losses into one surrogate whose gradient each parameter group feels as it should.

    A loss shared by model and posterior is evaluated once. Two losses are evaluated each with the other
    side held constant.
    """
    model, posterior = inference.model, inference.posterior
    out = evaluate(model, posterior)
    if out.losses.shared:
        surrogate = out.losses.model
    else:
        model_loss = evaluate(model, stop(posterior)).losses.model
        posterior_loss = evaluate(stop(model), posterior).losses.posterior
        surrogate = model_loss + posterior_loss
    return Estimate(surrogate, stop(out.value), None, out.terms, out.q)


def without_own(q: Any, posterior: Any, model: Any, datum: Datum) -> Any:
    """Return q with the posterior's own parameters held constant, and alive what it takes from the model.

    A prior's networks within q cancel in log p(z) − log q(z). With their score dropped they would not, and
    where the prior is narrow what remains is all noise.

    Args:
        q: The law the posterior returned for this model and datum.
        posterior: The posterior.
        model: The model.
        datum: The datum.
    """
    if not made_of_model(posterior):
        return stop(q)
    still = stop(posterior)
    return still.family_given(model, datum)(still.parameters(datum))


def made_of_model(posterior: Any) -> bool:
    """Whether a posterior's laws hold parameters of the model, as a ladder's hold its prior's networks."""
    return isinstance(posterior, PicksLaw) and not isinstance(posterior, HasFamily)


def not_reparameterized(inference: AbstractInference, name: str) -> Verdict | None:
    """Refuse laws without a differentiable sample, naming what works instead."""
    law = inference.posterior.law(inference.model)
    if issubclass(law, Reparameterized):
        return None
    instead = "Enumerate or ScoreFunction" if issubclass(law, AbstractEnumerable) else "ScoreFunction"
    if issubclass(law, AbstractCarrying):
        instead = "StraightThrough()"
    return Verdict("refused", f"{name}: {law.__name__} is not reparameterizable; use gradients.{instead}")


def has_no_score(inference: AbstractInference, name: str) -> Verdict | None:
    """Refuse laws that can be sampled but not evaluated: their score cannot be taken apart."""
    law = inference.posterior.law(inference.model)
    if issubclass(law, AbstractDensity):
        return None
    return Verdict("refused", f"{name}: {law.__name__} has no log_prob to score; use gradients.Reparam()")


def couples_data(inference: AbstractInference) -> bool:
    """Whether the objective has a term across data."""
    return isinstance(inference.objective, HasBatchTerm) and inference.objective.couples_data
