"""Checks of a model of one's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractCarryModel,
    AbstractLatentModel,
    AbstractModel,
    Datum,
    HasExactEvidence,
    HasExactPosterior,
    HasMarkovLatents,
    HasObservation,
    Simulates,
)
from jensen.dist import AbstractDistribution, draw
from jensen.errors import InputError, check_key
from jensen.nets import trainable
from jensen.testing.invariance import hide, on_device, pad, stacked
from jensen.testing.laws import BLOCK, check_box, check_law
from jensen.testing.report import Checks, Report, finite
from jensen.typing import Array, PRNGKey, PyTree

ENTRIES = 3
"""Columns of x whose density is integrated."""


def check_model(
    model: AbstractModel,
    datum: Datum,
    *,
    key: PRNGKey,
    z: PyTree = None,
    draws: int = 20_000,
    skip: Collection[str] = (),
) -> Report:
    """Check a model against its contract, at one datum.

    Asked are, as far as the model has the capability: that log-densities are finite scalars with finite
    gradients; that log p(x, z) is prior plus likelihood; that the prior's density is that of its draws; that
    the likelihood of single columns is that of simulated ones; that log p(x, z) − log p(z | x) is log p(x) at
    every z, or log p(x) the mean of p(x | z) over the prior; that hidden entries and padding change nothing;
    that it can be compiled and vectorized. Where the prior needs a draw's carry, ``check_posterior`` asks.

    Args:
        model: The model; small instances are tested quickest and best.
        datum: One datum; with ``steps`` below its length, padding is checked too.
        key: Randomness.
        z: Latents to evaluate at, for models that give no law to draw them from.
        draws: How many draws averages are taken over.
        skip: Names of checks not to ask.

    Returns:
        What was checked; print it for a list.

    Raises:
        ContractError: At the first check that fails: what, where, what to do.
        InputError: If ``skip`` names no check, or z is needed and not given.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> model = jn.models.Decoder(3, 2, widths=(), key=jax.random.key(0))
        >>> report = check_model(model, jn.Datum(jnp.ones(3)), key=jax.random.key(1))
        >>> "log_joint is prior plus likelihood" in report.passed
        True
    """
    check_key(key)
    datum = on_device(datum)
    checks = Checks(f"model {type(model).__name__}", skip)
    to_z, to_prior, to_x = jax.random.split(key, 3)
    law = _law_of(model, datum)
    if isinstance(law, AbstractDistribution):
        z = draw(law, key=to_z).z if z is None else z
    if z is None:
        raise InputError(f"check_model: {type(model).__name__} gives no law of z to draw from; pass z=")
    _check_point(checks, model, datum, z)
    _check_variants(checks, model, datum, z)
    if isinstance(model, AbstractLatentModel) and not isinstance(model, HasMarkovLatents | HasExactPosterior):
        assert law is not None
        seen = check_law(checks, law, key=to_prior, draws=draws)
        if isinstance(model, HasExactEvidence):
            _check_average(checks, model, datum, seen.z)
    if isinstance(model, HasExactPosterior) and isinstance(model, HasExactEvidence):
        _check_identity(checks, model, datum, to_prior)
    if isinstance(model, HasObservation) and np.ndim(datum.x) == 1:
        _check_columns(checks, model, datum, z, key=to_x, draws=draws)
    if isinstance(model, Simulates):
        _, x = model.simulate(datum, key=to_x)
        checks.require(
            "simulate",
            np.shape(x) == np.shape(datum.x) and finite(x),
            "simulated x must be finite, of the shape of the datum's",
            f"shape {np.shape(x)}, the datum's is {np.shape(datum.x)}",
        )
    return checks.report()


def _law_of(model: Any, datum: Datum) -> AbstractDistribution | None:
    if isinstance(model, HasExactPosterior):
        return model.posterior(datum)
    plain = isinstance(model, AbstractLatentModel) and not isinstance(model, AbstractCarryModel)
    return model.prior_of(datum.cond) if plain and not isinstance(model, HasMarkovLatents) else None


@eqx.filter_jit
def _log_joint(model: Any, datum: Datum, z: PyTree) -> Array:
    return model.log_joint(z, datum)


def _check_point(checks: Checks, model: Any, datum: Datum, z: PyTree) -> None:
    value = _log_joint(model, datum, z)
    checks.require(
        "log_joint is a finite number",
        value.shape == () and finite(value),
        "log_joint(z, datum) must return one finite number in nats for one datum",
        f"shape {value.shape}, value {np.asarray(value)}",
    )
    parts, rest = eqx.partition(model, trainable(model))
    slopes = eqx.filter_jit(jax.grad(lambda parts: eqx.combine(parts, rest).log_joint(z, datum)))(parts)
    checks.require(
        "finite gradient",
        finite(*jax.tree.leaves(slopes)),
        "the gradient of log_joint in the parameters is NaN or infinite; look for log 0, √0, 0·∞",
    )
    if isinstance(model, AbstractLatentModel) and not isinstance(model, AbstractCarryModel):
        prior = jnp.sum(model.prior_of(datum.cond).log_prob(z))
        both = prior + model.log_likelihood(z, datum)
        checks.require(
            "log_joint is prior plus likelihood",
            bool(np.isclose(both, value, rtol=1e-4, atol=1e-3)),
            "log_joint must be prior_of(cond).log_prob(z) summed over groups, plus log_likelihood",
            f"{float(value):.5g} and {float(both):.5g}",
        )


def _check_variants(checks: Checks, model: Any, datum: Datum, z: PyTree) -> None:
    value = float(_log_joint(model, datum, z))

    def same(name: str, other: float, value: float, advice: str) -> None:
        agree = bool(np.isclose(other, value, rtol=1e-4, atol=1e-3))
        checks.require(name, agree, advice, f"{value:.5g} and {other:.5g}")

    many = eqx.filter_jit(jax.vmap(lambda d: model.log_joint(z, d)))(stacked(datum))
    advice = "under jax.vmap the result changes: write for one datum, with no batch axes"
    same("vectorized", float(many[1]), value, advice)
    if not isinstance(model, AbstractLatentModel | HasExactEvidence) or (pair := hide(datum)) is None:
        checks.omit("hidden entries", "the model is a black box, or x has no entries to hide")
    else:
        one, other = (float(_log_joint(model, each, z)) for each in pair)
        same("hidden entries", other, one, "values behind mask=False are read: drop them from the likelihood")
    if (padded := pad(datum)) is None:
        checks.omit("padding", "the datum has no padded steps")
    else:
        other = float(_log_joint(model, padded, z))
        same("padding", other, value, "what stands after the last real step changes the density")


def _check_average(checks: Checks, model: Any, datum: Datum, zs: PyTree) -> None:
    """Check log p(x) against the mean of p(x | z) over draws from the prior."""
    each = jax.jit(lambda zs: jax.lax.map(lambda z: model.log_likelihood(z, datum), zs, batch_size=BLOCK))(zs)
    weights = np.exp(np.asarray(each, np.float64) - float(model.log_evidence(datum)))
    checks.mean_is(
        "evidence", weights, 1.0, "log_evidence is not the log of the mean of p(x | z) over the prior"
    )


def _check_identity(checks: Checks, model: Any, datum: Datum, key: PRNGKey) -> None:
    """Check log p(x, z) − log p(z | x) = log p(x) at some z."""

    def off(key: PRNGKey) -> Array:
        q = model.posterior(datum)
        drawn = draw(q, key=key)
        return model.log_joint(drawn.z, datum) - drawn.log_q.sum()

    each = np.asarray(jax.jit(jax.vmap(off))(jax.random.split(key, 20)))
    evidence = float(model.log_evidence(datum))
    checks.require(
        "evidence",
        bool(np.allclose(each, evidence, rtol=1e-3, atol=1e-3)),
        "log_joint(z) − log posterior(z) must be log_evidence at every z",
        f"between {each.min():.5g} and {each.max():.5g}, log_evidence is {evidence:.5g}",
    )


def _check_columns(checks: Checks, model: Any, datum: Datum, z: PyTree, *, key: PRNGKey, draws: int) -> None:
    """Check the density of single columns, the others hidden, against simulated ones."""
    columns = np.eye(len(datum.x), dtype=bool)[:ENTRIES]

    @jax.jit
    def simulated(keys: Any) -> tuple[Array, Array]:
        def one(key: PRNGKey) -> tuple[Array, Array]:
            x = model.likelihood(z, datum.cond).sample(key=key)
            return x, jax.vmap(lambda mask: model.log_likelihood(z, Datum(x, datum.cond, mask=mask)))(columns)

        return jax.lax.map(one, keys, batch_size=BLOCK)

    x, log_p = (np.asarray(a, np.float64) for a in simulated(jax.random.split(key, draws)))
    for j in range(len(columns)):
        name, values = f"likelihood of column {j}", np.unique(x[:, j])
        if len(values) > draws // 20:
            check_box(checks, name, x[:, [j]], log_p[:, j])
            continue
        for value in values:
            there = x[:, j] == value
            # P(x = value) two ways: how often it came, and what the density says of it
            chance = np.exp(log_p[np.argmax(there), j])
            if chance * draws > 10 or there.sum() > 20:
                checks.mean_is(
                    name if value == values[0] else f"{name} at {value:g}",
                    there.astype(float),
                    chance,
                    "log_likelihood of the column is not how often the likelihood's sample gives its value",
                    slack=1e-4 + 0.5 / draws,
                )
