"""q*, the best member of the family for each row: two climbs, judged by an independent estimate."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasFamily, IndexesData, PicksLaw, Refines
from jensen.diagnose.elbo import plain_elbo
from jensen.diagnose.estimate import Effort
from jensen.diagnose.progress import Progress
from jensen.diagnose.rows import count, per_row
from jensen.families import Unshared, embed, has_weights
from jensen.fit.per_datum import optimal_parameters
from jensen.posteriors import PerDatum
from jensen.typing import PRNGKey

TOLERANCE = 0.1
"""Nats a climb may still gain, or its two starts may end apart, before it is called unfinished."""

RESOLUTION = 0.25
"""Largest standard error of that gain, in nats: with more noise nobody can tell whether the climb goes on."""


class Optimum(NamedTuple):
    """The best member found for each row.

    Attributes:
        params: Family parameters, (N, p).
        converged: Whether a climb that ended no lower than the best, within the tolerance, had stopped
            gaining, (N,).
        apart: How far the bounds of the two starts ended from each other, in nats, (N,).
    """

    params: Any
    converged: Any
    apart: Any


def family_of(posterior: PicksLaw, model: Any, datum: Datum) -> Any:
    """Return the family that is searched: a flow may choose its own weights for each datum.

    That it shares them over data in the posterior is part of the amortization.
    """
    family = posterior.family_given(model, datum)
    free = isinstance(posterior, HasFamily) and has_weights(family)
    return Unshared(family) if free else family


def _own(posterior: Any, model: Any, datum: Datum, family: Any, *, key: Any) -> Any:
    """Return the posterior's own parameters, as the searched family counts them."""
    refines = isinstance(posterior, Refines)
    own = posterior.refine(model, datum, key=key) if refines else posterior.parameters(datum)
    return jnp.pad(own, (0, family.num_params - len(own)))


@eqx.filter_jit
def _climb(
    model: Any, posterior: Any, fresh: bool, effort: Effort, rows: tuple[Datum, Any], keys: Any
) -> Optimum:
    def one(row: tuple[Datum, Any], key: Any) -> Optimum:
        datum, poorer = row
        family = family_of(posterior, model, datum)
        perturb, first, second, judge = jax.random.split(key, 4)
        # the second start: the best member of a poorer family, where there is one, else the family's own
        plain = family.initial_params() if poorer is None else embed(family, poorer)
        noise = jax.random.normal(perturb, plain.shape)
        own = plain + 0.3 * noise if fresh else _own(posterior, model, datum, family, key=perturb)
        starts = jnp.stack([own, plain])
        climbs = jax.vmap(
            lambda start, key: optimal_parameters(
                model, family, datum, start, key=key,
                steps=effort.steps, num_samples=effort.draws, learning_rate=effort.learning_rate,
            )
        )(starts, jnp.stack([first, second]))  # fmt: skip
        # the starts are members too; equal noise for all, as only their differences matter here
        members = jnp.concatenate([climbs.params, starts])
        value, _ = jax.lax.map(
            lambda p: plain_elbo(model, family(p), datum, effort.samples, key=judge), members
        )
        best = jnp.argmax(jnp.where(jnp.isfinite(value), value, -jnp.inf))
        arrived = (climbs.gain < TOLERANCE + 3 * climbs.gain_se) & (climbs.gain_se < RESOLUTION)
        near = value[:2] > value[best] - TOLERANCE
        done = (arrived & near).any() & jnp.isfinite(value[best])
        return Optimum(members[best], done, jnp.abs(value[0] - value[1]))

    return jax.vmap(one)(rows, keys)


def optimize(
    model: Any,
    posterior: PicksLaw,
    rows: Datum,
    effort: Effort,
    *,
    fresh: bool,
    key: PRNGKey,
    progress: Progress,
    poorer: Any = None,
) -> Optimum:
    """Find q* for each row.

    Args:
        model: The model as the draws see it.
        posterior: Its family is searched; its own parameters are the first start, the family's the second.
        rows: Stacked rows.
        effort: Steps, draws and learning rate.
        fresh: The posterior knows nothing of these rows: a perturbed start takes the place of its own.
        key: Randomness.
        progress: Told of every block.
        poorer: Laws of a poorer family to start from in place of the family's own start, stacked.
    """
    return per_row(
        lambda rows, keys: _climb(model, posterior, fresh, effort, rows, keys),
        (rows, poorer),
        key=key,
        progress=progress,
        label="best member of the family",
    )


@eqx.filter_jit
def laws_of(model: Any, posterior: Any, rows: Datum, best: Optimum) -> Any:
    """Return the laws that were found, stacked over rows."""

    def one(datum: Datum, params: Any) -> Any:
        return family_of(posterior, model, datum)(params)

    # a law may hold networks, and so leaves that are no arrays
    return eqx.filter_vmap(one)(jax.tree.map(jnp.asarray, rows), jnp.asarray(best.params))


def tabled(posterior: HasFamily, params: np.ndarray, rows: Datum, *, key: PRNGKey) -> tuple[PerDatum, Datum]:
    """Return the found members as a posterior of their own, and the rows renumbered to match."""
    family = Unshared(posterior.family) if has_weights(posterior.family) else posterior.family
    table = PerDatum(family, num_data=count(rows), key=key)
    table = eqx.tree_at(lambda q: q.table, table, jnp.asarray(params))
    return table, eqx.tree_at(
        lambda d: d.index, rows, np.arange(count(rows), dtype=np.int32), is_leaf=lambda leaf: leaf is None
    )


def knows(posterior: Any, num_data: int, split: str) -> bool:
    """Whether a posterior can speak of these rows: one with parameters per training row only of those."""
    return not isinstance(posterior, IndexesData) or (split == "train" and posterior.num_data == num_data)
