"""Checks of a posterior of one's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jensen.core import AbstractModel, AbstractPosterior, Datum, live, score
from jensen.dist import AbstractDensity, Draw, Reparameterized, draw
from jensen.errors import check_key
from jensen.nets import trainable
from jensen.testing.invariance import hide, on_device, pad, stacked
from jensen.testing.laws import BLOCK, check_law
from jensen.testing.report import Checks, Report, finite
from jensen.typing import Array, PRNGKey


def check_posterior(
    posterior: AbstractPosterior,
    model: AbstractModel,
    datum: Datum,
    *,
    key: PRNGKey,
    draws: int = 20_000,
    skip: Collection[str] = (),
) -> Report:
    """Check a posterior against its contract, on one datum of a model.

    Asked are: that the law is of the type ``law(model)`` announces; that draws are finite, differ by key and
    by nothing else; that the density given with a draw is that of ``log_prob`` and that of the draws; that
    the closed-form KL is the mean of log q − log p, group by group; that the gradient through a draw is that
    of the mean, where the law says it is reparameterized; that hidden entries and padding change nothing;
    that it can be compiled and vectorized.

    Args:
        posterior: The posterior; small instances are tested quickest and best. Densities are integrated up to
            12 entries of z.
        model: A model for whose latents it is.
        datum: One datum of that model; with ``steps`` below its length, padding is checked too.
        key: Randomness.
        draws: How many draws averages are taken over.
        skip: Names of checks not to ask.

    Returns:
        What was checked; print it for a list.

    Raises:
        ContractError: At the first check that fails: what, where, what to do.
        InputError: If ``skip`` names no check.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> model = jn.models.Decoder(3, 2, widths=(), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(jn.families.DiagGaussian(2), data_dim=3, key=jax.random.key(1))
        >>> report = check_posterior(q, model, jn.Datum(jnp.ones(3)), key=jax.random.key(2))
        >>> "closed-form KL" in report.passed
        True
    """
    check_key(key)
    datum = on_device(datum)
    checks = Checks(f"posterior {type(posterior).__name__}", skip)
    to_q, to_law, to_path, to_rest = jax.random.split(key, 4)
    seen_by = live(model, posterior)
    law = posterior(seen_by, datum, key=to_q)
    promised = posterior.law(model)
    checks.require(
        "law",
        isinstance(law, promised),
        "law(model) must name the type of what calling the posterior gives",
        f"{type(law).__name__}, announced is {promised.__name__}",
    )
    check_law(checks, law, (seen_by, datum), key=to_law, draws=draws)
    if isinstance(law, Reparameterized) and isinstance(law, AbstractDensity):
        _check_path(checks, posterior, model, datum, key=to_path, draws=draws)
    else:
        checks.omit("gradient through the draw", f"{type(law).__name__} claims none")
    _check_invariance(checks, posterior, model, datum, to_rest)
    return checks.report()


def _check_path(
    checks: Checks, posterior: Any, model: Any, datum: Datum, *, key: PRNGKey, draws: int
) -> None:
    """Check E[v·dz] = E[(v·z) d log q(z)] along a direction of the parameters, by pairs."""
    params, static = eqx.partition(posterior, trainable(posterior))
    flat, unravel = ravel_pytree(params)
    to_u, to_v, to_q, to_draws = jax.random.split(key, 4)
    if not flat.size:
        checks.omit("gradient through the draw", "the posterior has no parameters")
        return
    direction = jax.random.normal(to_u, flat.shape) / jnp.sqrt(flat.size)

    def law_at(vector: Array) -> Any:
        own = eqx.combine(unravel(vector), static)
        return own(live(model, own), datum, key=to_q)

    def along(vector: Array, key: PRNGKey) -> Array:
        return ravel_pytree(draw(law_at(vector), key=key).z)[0]

    weight = jax.random.normal(to_v, jax.eval_shape(along, flat, key).shape)

    @jax.jit
    def pairs(keys: Any) -> tuple[Array, Array, Array]:
        def one(key: PRNGKey) -> tuple[Array, Array, Array]:
            z = draw(law_at(flat), key=key).z
            moved = jax.grad(lambda p: along(p, key) @ weight)(flat)
            scored = jax.grad(lambda p: jnp.sum(law_at(p).log_prob(z)))(flat)
            return ravel_pytree(z)[0] @ weight, moved @ direction, scored @ direction

        return jax.lax.map(one, keys, batch_size=BLOCK)

    value, moved, scored = (np.asarray(a, np.float64) for a in pairs(jax.random.split(to_draws, draws)))
    checks.require(
        "finite gradient",
        finite(moved, scored),
        "the gradient of a draw or of its log-density in the parameters is NaN or infinite",
    )
    checks.mean_is(
        "gradient through the draw",
        moved - (value - value.mean()) * scored,
        0.0,
        "the law says it is reparameterized, but the gradient of its draws is not that of their mean: "
        "let the sample depend on the parameters, or do not inherit dist.Reparameterized",
        slack=1e-4 * float(np.abs(moved).max()),
    )


def _check_invariance(checks: Checks, posterior: Any, model: Any, datum: Datum, key: PRNGKey) -> None:
    def of(datum: Datum) -> tuple[Any, ...]:
        own = live(model, posterior)
        q = posterior(own, datum, key=key)
        out: Draw = draw(q, key=key)
        terms = score(own, q, out, datum)
        return out.z, terms.log_joint, terms.log_q

    once, both = eqx.filter_jit(of), eqx.filter_jit(eqx.filter_vmap(of))
    before = once(datum)
    _require_same(
        checks,
        "vectorized",
        jax.tree.map(lambda leaf: leaf[0], both(stacked(datum))),
        before,
        "under jax.vmap the result changes: write for one datum, with no batch axes",
    )
    if (pair := hide(datum)) is None:
        checks.omit("hidden entries", "x has no entries to hide")
    else:
        _require_same(
            checks,
            "hidden entries",
            once(pair[0]),
            once(pair[1]),
            "values behind mask=False are read; fill them before they enter a network or a density",
        )
    if (padded := pad(datum)) is None:
        checks.omit("padding", "the datum has no padded steps")
    else:
        steps = int(np.asarray(datum.steps))
        kept = [jax.tree.map(lambda leaf: leaf[:steps], once(each)[0]) for each in (datum, padded)]
        _require_same(
            checks,
            "padding",
            kept[0],
            kept[1],
            "what stands after the last real step changes the draw before it",
        )


def _require_same(checks: Checks, name: str, one: Any, other: Any, advice: str) -> None:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    same = all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)
    checks.require(name, same, advice)
