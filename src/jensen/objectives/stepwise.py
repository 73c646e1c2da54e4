"""Model and posterior one step at a time, as particle filters move them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.algorithms.smc import Moved, Moves
from jensen.core import Datum, HasMarkovLatents, HasRecurrence
from jensen.dist import AbstractDensity, AbstractRecurrentPath, log_prob_observed
from jensen.typing import Array, Int, PRNGKey, PyTree


def is_stepwise(model: Any) -> bool:
    """Whether a model can be moved step by step."""
    return isinstance(model, HasMarkovLatents | HasRecurrence)


def is_proposal(law: type) -> bool:
    """Whether a posterior's law proposes z_t from what came before it."""
    return issubclass(law, AbstractRecurrentPath)


def moves_of(model: Any, q: Any, datum: Datum) -> Moves:
    """Return how one particle moves: guided by q where it is drawn step by step, else by the dynamics.

    The weight of a step is log p(z_t | past) + log p(x_t | z_t) − log q(z_t | past); of a bootstrap step
    log p(x_t | z_t). Its detail is the pair (log p, log q) of the step, in nats; with the dynamics as
    proposal both hold the prior.

    Args:
        model: One with Markov latents or a recurrence.
        q: The law of the path; any law that is not drawn step by step is not looked at.
        datum: One sequence.
    """
    guide = q if isinstance(q, AbstractRecurrentPath) else None
    recurrence: Any = model if guide is None else guide.recurrence
    markov = not isinstance(model, HasRecurrence)  # some are both; the carry then saves a look back
    inputs = _inputs(model, guide, datum)

    def arrive(before: Any, t: Int[Array, ""]) -> PyTree:
        """Return the carry of step t; z_{t−1} itself where nothing else is carried."""
        if guide is None and markov:
            return None
        state = recurrence.start() if before is None else before
        return recurrence.advance(*state, _at(inputs, t))

    def prior(before: Any, carry: PyTree, t: Int[Array, ""]) -> AbstractDensity:
        if not markov:
            return model.prior_from(carry)
        return model.initial(datum) if before is None else model.transition(before[1], t - 1, datum)

    def proposal(before: Any, carry: PyTree, t: Int[Array, ""]) -> Any:
        if guide is None:
            return prior(before, carry, t)
        return guide.family(guide.head(guide.recurrence.features(carry), guide.evidence[t]))

    def likelihood(z: Any, carry: PyTree, t: Int[Array, ""]) -> Array:
        if markov:
            return model.log_likelihood_at(z, t, datum)
        # padding may hold anything: it is filled before the density sees it, and the filter drops the rest
        x = jnp.where(True if datum.steps is None else t < datum.steps, jnp.asarray(datum.x)[t], 0.0)
        mask = None if datum.mask is None else jnp.asarray(datum.mask)[t]
        return log_prob_observed(model.observation_from(z, carry), x, mask)

    def weigh(before: Any, carry: PyTree, t: Int[Array, ""], z: Any, log_q: Array) -> Moved:
        log_like = likelihood(z, carry, t)
        log_prior = log_q if guide is None else prior(before, carry, t).log_prob(z).sum()
        weight = log_like if guide is None else log_prior + log_like - log_q
        return Moved((carry, z), z, weight, (log_prior + log_like, log_q))

    def propose(before: Any, t: Int[Array, ""], *, key: PRNGKey) -> Moved:
        carry = arrive(before, t)
        z, log_q = proposal(before, carry, t).sample_and_log_prob(key=key)
        return weigh(before, carry, t, z, log_q.sum())

    def follow(before: Any, t: Int[Array, ""], z: Any) -> Moved:
        carry = arrive(before, t)
        return weigh(before, carry, t, z, proposal(before, carry, t).log_prob(z).sum())

    return Moves(propose, follow)


def _inputs(model: Any, guide: Any, datum: Datum) -> PyTree:
    if guide is not None:
        return guide.inputs
    return model.inputs(datum.cond, len(datum.x)) if isinstance(model, HasRecurrence) else None


def _at(inputs: PyTree, t: Int[Array, ""]) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[t], inputs)
