"""The exact expectation over finitely many latents."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractCarryModel,
    AbstractGradient,
    AbstractInference,
    AbstractLatentModel,
    Datum,
    Estimate,
    HasCondition,
    HasFamily,
    HasMarkovLatents,
    Losses,
    MeanOverDraws,
    Verdict,
    live,
    score,
)
from jensen.dist import AbstractCarrying, AbstractEnumerable, AbstractRelaxable, Draw
from jensen.errors import CombinationError
from jensen.gradients.common import Evaluation, couples_data, descend
from jensen.typing import Array, Int, PRNGKey, PyTree

MAX_VALUES = 4096
"""Most combinations of draws that are summed over."""


class Enumerate(AbstractGradient):
    """Sum over every value of z under q: E_q[loss] = Σ_z q(z) loss(z). Exact.

    Under a bound with K draws inside the logarithm, the sum runs over all |Z|^K tuples of draws and is
    refused past 4,096 of them.
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
        """Sum for one datum."""
        objective, share = inference.objective, inference.share(num_data)

        def evaluate(model: Any, posterior: Any) -> Evaluation:
            model = live(model, posterior)
            q = posterior(model, datum, key=key)
            values = q.support()
            log_q = jax.vmap(lambda z: q.log_prob(z).reshape(-1))(values)
            terms = jax.vmap(lambda z, lq: score(model, q, Draw(z, lq), datum, share))(values, log_q)
            tuples = _tuples(q.support_size, _draws(inference))
            probability = jnp.exp(log_q.sum(-1)[tuples].sum(-1))
            drawn = jax.tree.map(lambda leaf: leaf[tuples], terms)
            losses = jax.vmap(lambda t: objective.losses(t, step))(drawn)
            bounds = jax.vmap(objective.bound)(drawn)
            each = Losses(probability @ losses.model, probability @ losses.posterior)
            shared = objective.losses(jax.tree.map(lambda leaf: leaf[0], drawn), step).shared
            return Evaluation(Losses.both(each.model) if shared else each, probability @ bounds, terms, q)

        return descend(inference, evaluate)

    def rule(self, inference: AbstractInference) -> Verdict:
        """Demand few enough values of z."""
        law = inference.posterior.law(inference.model)
        if not issubclass(law, AbstractEnumerable):
            return Verdict(
                "refused", f"Enumerate: {law.__name__} has infinitely many values; use gradients.Reparam()"
            )
        if issubclass(law, AbstractCarrying):
            use = "StraightThrough()" if issubclass(law, AbstractRelaxable) else "Reparam()"
            return Verdict(
                "refused", f"Enumerate: {law.__name__} brings a carry with each draw; use gradients.{use}"
            )
        if couples_data(inference):
            return Verdict(
                "refused", "Enumerate: no draws to average over a batch; use free_bits_over='datum'"
            )
        size, draws = _size(inference), _draws(inference)
        if size is not None and size**draws > MAX_VALUES:
            return Verdict("refused", _too_many(size, draws))
        return Verdict("exact")


def _size(inference: AbstractInference) -> int | None:
    """Return how many values z has, as far as it is known without data."""
    model, posterior = inference.model, inference.posterior
    if isinstance(posterior, HasFamily):
        return posterior.family(posterior.family.initial_params()).support_size
    # a carry's prior needs a draw to be written down, a chain's needs a sequence
    if not isinstance(model, AbstractLatentModel) or isinstance(model, AbstractCarryModel | HasMarkovLatents):
        return None
    # whatever the condition, z has as many values
    cond = jnp.zeros(model.cond_dim) if isinstance(model, HasCondition) else None
    prior = model.prior_of(cond) if issubclass(model.prior_law, AbstractEnumerable) else None
    return prior.support_size if isinstance(prior, AbstractEnumerable) else None


def _too_many(size: int, draws: int) -> str:
    return (
        f"Enumerate: {size} values of z to the power of {draws} draws is more than {MAX_VALUES}; "
        "use gradients.ScoreFunction(gradients.LeaveOneOut())"
    )


def _draws(inference: AbstractInference) -> int:
    """An average over draws has the expectation of one draw; a log of an average has not."""
    return 1 if isinstance(inference.objective, MeanOverDraws) else inference.objective.num_samples


def _tuples(size: int, draws: int) -> np.ndarray:
    if size**draws > MAX_VALUES:
        raise CombinationError(_too_many(size, draws))
    return np.array(list(itertools.product(range(size), repeat=draws)), dtype=np.int32)
