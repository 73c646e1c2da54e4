"""Temporal ensembling of overlapping chunks that never averages different ways to act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import InputError
from jensen.typing import Array, Bool, Float, Int


@dataclass(frozen=True)
class Ensemble:
    r"""Smooth an action over the chunks that predicted it, where they agree (after Zhao et al. 2023).

    Averaging all overlapping chunks, as is usual, averages a chunk that passes on the left with one that
    passes on the right. Here one chunk is committed to, and an action is the mean of those chunks only that
    stay within ``spread`` of it, column by column, at every step they share: Σ_i w_i a_i / Σ_i w_i with
    w_i = exp(−decay · age_i). The newest chunk becomes the committed one if it agrees with it; else the
    committed one goes on to its end. So an executed action is never farther than ``spread`` from one that a
    single chunk predicted, and another way is taken only when a chunk has been carried out.

    Args:
        spread: How far two predictions of one action may lie apart, in units of the model's rows: one number
            or (A,). Choose it between the noise of one way and the distance between two.
        decay: By how much, per step of age, older predictions count less.

    Raises:
        InputError: A spread that is not positive, or a negative decay.
    """

    spread: Any
    decay: float = 0.1

    def __post_init__(self):
        spread = np.asarray(self.spread, np.float64)
        if not (spread > 0).all() or self.decay < 0:
            raise InputError(f"Ensemble: spread {self.spread} must be positive, decay {self.decay} 0 or more")


class Plans(NamedTuple):
    """Chunks under way.

    Attributes:
        chunks: The M newest, newest first.
        ages: Steps since each was made; H or more where there is none.
        lead: The chunk committed to.
        lead_age: Steps since it was made.
    """

    chunks: Float[Array, "m h a"]
    ages: Int[Array, "m"]
    lead: Float[Array, "h a"]
    lead_age: Int[Array, ""]


def no_plans(count: int, horizon: int, width: int) -> Plans:
    """Return plans with none under way."""
    chunks = jnp.zeros((count, horizon, width))
    return Plans(chunks, jnp.full(count, horizon), chunks[0], jnp.asarray(horizon))


def push(plans: Plans, chunk: Float[Array, "h a"], ensemble: Ensemble) -> Plans:
    """Add the newest chunk, and commit to it if it agrees with the committed one, or that has ended."""
    chunks = jnp.concatenate([chunk[None], plans.chunks[:-1]])
    ages = jnp.concatenate([jnp.zeros_like(plans.ages[:1]), plans.ages[:-1]])
    fresh = jnp.zeros_like(plans.lead_age)
    ended = plans.lead_age >= len(chunk)
    follow = ended | _agree(chunk, fresh, plans.lead, plans.lead_age, ensemble)
    lead = jnp.where(follow, chunk, plans.lead)
    return Plans(chunks, ages, lead, jnp.where(follow, fresh, plans.lead_age))


def execute(plans: Plans, ensemble: Ensemble) -> tuple[Plans, Float[Array, "a"]]:
    """Return the action for now, and the plans one step older."""
    horizon = len(plans.lead)
    ended = plans.lead_age >= horizon
    plans = plans._replace(
        lead=jnp.where(ended, plans.chunks[0], plans.lead),
        lead_age=jnp.where(ended, plans.ages[0], plans.lead_age),
    )
    agree = jax.vmap(lambda chunk, age: _agree(chunk, age, plans.lead, plans.lead_age, ensemble))
    used = agree(plans.chunks, plans.ages) & (plans.ages < horizon)
    weight = jnp.where(used, jnp.exp(-ensemble.decay * plans.ages), 0.0)
    now = jax.vmap(lambda chunk, age: chunk[jnp.minimum(age, horizon - 1)])(plans.chunks, plans.ages)
    action = weight @ now / weight.sum()  # the committed chunk itself is always among them
    return plans._replace(ages=plans.ages + 1, lead_age=plans.lead_age + 1), action


def _agree(
    one: Float[Array, "h a"],
    one_age: Int[Array, ""],
    other: Float[Array, "h a"],
    other_age: Int[Array, ""],
    ensemble: Ensemble,
) -> Bool[Array, ""]:
    """Say whether two chunks stay within the spread of each other at every step they share."""
    ahead = jnp.arange(len(one))
    i, j = one_age + ahead, other_age + ahead
    both = (i < len(one)) & (j < len(one))
    near = jnp.abs(one[i % len(one)] - other[j % len(one)]) <= jnp.asarray(ensemble.spread)
    return jnp.all(near | ~both[:, None])
