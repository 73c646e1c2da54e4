"""Drawing latents and scoring them: the one place where model and posterior meet."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core.datum import Datum
from jensen.core.model import AbstractCarryModel, AbstractLatentModel
from jensen.core.terms import Terms
from jensen.dist import AbstractDistribution, Draw, balanced_kl, draw, kl_divergence, scored_steps
from jensen.typing import Array, Float, PRNGKey


def score(
    model: Any,
    q: AbstractDistribution,
    drawn: Draw,
    datum: Datum,
    share: Any = 1.0,
    *,
    balance: float | None = None,
) -> Terms:
    """Evaluate model and posterior at a draw.

    Args:
        model: The model.
        q: The law the draw came from; it decides whether the KL has a closed form.
        drawn: The draw.
        datum: The datum.
        share: What part of the prior and of q this datum answers for: 1, or 1/N when one z is behind
            the whole data set.
        balance: Share of the closed-form KL's gradient that trains the prior; the terms say whether it was
            shared out so.

    Returns:
        The terms of one draw.
    """
    z, scored = drawn.z, _scored(datum, drawn.log_q)
    if not isinstance(model, AbstractLatentModel):
        return Terms(model.log_joint(z, datum), drawn.log_q * share, drawn.penalty, z, carry=drawn.carry)
    if isinstance(model, AbstractCarryModel):
        prior, log_likelihood = model.prior_given(drawn, datum), model.log_likelihood_given(drawn, datum)
    else:
        prior, log_likelihood = model.prior_of(datum.cond), model.log_likelihood(z, datum)
    # a law that does not know where the sequence ends is one of the steps before its end, given none after
    log_q = drawn.log_q if scored is None else jnp.where(scored > 0, drawn.log_q, 0.0)
    log_prior = jnp.atleast_1d(prior.log_prob(z)) * share
    if log_q.shape != log_prior.shape:  # a q without layers under a prior of layers: one group
        log_q, log_prior = log_q.sum(keepdims=True), log_prior.sum(keepdims=True)
    balanced = None if balance is None else balanced_kl(q, prior, z, balance)
    kl = kl_divergence(q, prior, z) if balanced is None else balanced
    return Terms(
        log_joint=log_likelihood + log_prior.sum(),
        log_q=log_q * share,
        penalty=drawn.penalty,
        z=z,
        log_likelihood=log_likelihood,
        log_prior=log_prior,
        kl=None if kl is None else kl * share,
        carry=drawn.carry,
        share=None if isinstance(share, float) and share == 1.0 else jnp.asarray(share, log_likelihood.dtype),
        scored=scored,
        balanced=balanced is not None,
    )


def independent_draws(
    model: Any,
    q: AbstractDistribution,
    datum: Datum,
    num: int,
    *,
    key: PRNGKey,
    share: Any = 1.0,
    balance: float | None = None,
) -> Terms:
    """Draw ``num`` times independently from q and score each draw, stacked on a leading axis."""

    def one(key: PRNGKey) -> Terms:
        return score(model, q, draw(q, key=key), datum, share, balance=balance)

    if num == 1:
        # the same key as the first of many would be; no vmap keeps the compiled step small
        return jax.tree.map(lambda leaf: leaf[None], one(jax.random.split(key, 1)[0]))
    return jax.vmap(one)(jax.random.split(key, num))


def _scored(datum: Datum, log_q: Float[Array, "groups"]) -> Float[Array, "groups"] | None:
    """Return 1 for each group that counts, where groups are steps; ``None`` where all do."""
    x = datum.x
    if x.ndim < 2 or log_q.shape != (len(x),):
        return None
    scored = scored_steps(len(x), datum.steps, datum.burn_in)
    return None if scored is None else scored.astype(log_q.dtype)
