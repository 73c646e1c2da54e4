"""Checks of one law over latents: its draws, its density, its divergence from a prior."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, score
from jensen.dist import AbstractDensity, AbstractDistribution, AbstractEnumerable, draw
from jensen.testing.report import LIMIT, Checks, finite
from jensen.typing import PRNGKey

BLOCK = 1000
MAX_DIM = 12
"""Entries of z past which the volume of a box says nothing."""
MAX_VALUES = 4096


class Drawn(NamedTuple):
    """Draws of a law, on the host, stacked.

    Attributes:
        z: The samples, a tree.
        log_q: Log-density that came with each draw, per group.
        again: Log-density asked for at each draw; ``None`` for laws that cannot say.
        log_p: The prior's, per group; ``None`` without one.
        kl: Closed-form divergence from the prior, per group; ``None`` where there is none.
    """

    z: Any
    log_q: np.ndarray
    again: np.ndarray | None
    log_p: np.ndarray | None
    kl: np.ndarray | None


@eqx.filter_jit
def _drawn(law: AbstractDistribution, scored: tuple[Any, Datum] | None, keys: Any) -> tuple[Any, ...]:
    def one(key: PRNGKey) -> tuple[Any, ...]:
        out = draw(law, key=key)
        again = law.log_prob(out.z).reshape(-1) if isinstance(law, AbstractDensity) else None
        if scored is None:
            return out.z, out.log_q, again, None, None
        terms = score(scored[0], law, out, scored[1])
        return out.z, out.log_q, again, terms.log_prior, terms.kl

    return jax.lax.map(one, keys, batch_size=BLOCK)


def check_law(
    checks: Checks,
    law: AbstractDistribution,
    scored: tuple[Any, Datum] | None = None,
    *,
    key: PRNGKey,
    draws: int,
) -> Drawn:
    """Draw many times from a law and check all that can be said of it.

    Args:
        checks: Where results go.
        law: The law.
        scored: A model and a datum, for whose latents the law is; ``None`` where its divergence from a prior
            is not asked for.
        key: Randomness.
        draws: How many draws.

    Returns:
        The draws.
    """
    keys = jax.random.split(key, draws)
    seen = Drawn(*jax.tree.map(np.asarray, _drawn(law, scored, keys)))
    checks.require(
        "finite draws",
        finite(*jax.tree.leaves(seen.z), seen.log_q),
        "a draw or its log-density is NaN or infinite; bound scales away from 0 and ∞",
    )
    _check_noise(checks, law, scored, seen, keys)
    if seen.again is None:
        checks.omit("log_prob", "the law cannot be asked for a density")
    else:
        off = _distance(seen.again, seen.log_q)
        checks.require(
            "log_prob",
            seen.again.shape == seen.log_q.shape and off < 1e-3,
            "log_prob(z) and the density that sample_and_log_prob gives with z must agree, group by group",
            f"they differ by {off:.2g}" if np.isfinite(off) else f"{seen.again.shape} and {seen.log_q.shape}",
        )
    _check_total(checks, law, seen)
    if seen.log_p is not None:
        _check_divergence(checks, seen)
    return seen


def _check_noise(checks: Checks, law: Any, scored: Any, seen: Drawn, keys: Any) -> None:
    again = jax.tree.map(np.asarray, _drawn(law, scored, keys))[0]
    same = all(map(np.array_equal, jax.tree.leaves(again), jax.tree.leaves(seen.z)))
    checks.require("same key, same draw", same, "randomness must come from key= alone")
    z = _vectors(seen.z)
    if z.shape[1] == 0:
        checks.omit("fresh noise", "z is empty")
        return
    spread = np.ptp(z, axis=0).max()
    checks.require(
        "fresh noise", bool(spread > 0), "draws with different keys are all the same; use key= in the draw"
    )


def _check_total(checks: Checks, law: Any, seen: Drawn) -> None:
    """Check that the density belongs to the draws: it sums to one over values, or over a box of them."""
    name, log_q = "density of the draws", seen.log_q.sum(-1)
    z = _vectors(seen.z)
    if isinstance(law, AbstractEnumerable):
        if law.support_size > MAX_VALUES:
            checks.omit(name, f"z has {law.support_size} values, too many to count")
            return
        _check_counts(checks, name, law, z)
    elif (
        not all(np.issubdtype(leaf.dtype, np.floating) for leaf in jax.tree.leaves(seen.z)) or not z.shape[1]
    ):
        checks.omit(name, "z is neither a float vector nor enumerable")
    elif z.shape[1] > MAX_DIM:
        checks.omit(name, f"z has {z.shape[1]} entries; give an instance with at most {MAX_DIM}")
    else:
        check_box(checks, name, z, log_q)


def check_box(checks: Checks, name: str, z: np.ndarray, log_q: np.ndarray) -> None:
    """Check ∫_B 1 dz = E[1_B(z)/q(z)] over a box B in the midst of the draws, in their own axes.

    Args:
        checks: Where results go.
        name: Of the check.
        z: Draws, (n, d); entries that never change, as those of padded steps, are left out.
        log_q: Their log-density, (n,).
    """
    z = z[:, np.ptp(z, axis=0) > 0]
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(z, rowvar=False)))
    checks.require(
        f"{name}: full rank",
        values[0] > 1e-8 * values[-1],
        "draws lie in a subspace: entries of z share their noise",
        f"smallest over largest variance {values[0] / values[-1]:.1g}",
    )
    half = len(z) // 2  # each half lays the box for the other
    parts = [(slice(half), slice(half, None)), (slice(half, None), slice(half))]
    checks.mean_is(
        name,
        np.concatenate([_box_weights(z[one], z[other], log_q[other]) for one, other in parts]),
        1.0,
        "the log-density is not that of the draws: check the scale, and the constants of the density",
    )


def _box_weights(laid: np.ndarray, z: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """Return 1_B(z)/(q(z) vol B) for a box about other draws; its mean is one."""
    root = np.linalg.cholesky(np.atleast_2d(np.cov(laid, rowvar=False)))
    own, at = (np.linalg.solve(root, (each - laid.mean(0)).T).T for each in (laid, z))
    low, high = np.quantile(own, 0.1, axis=0), np.quantile(own, 0.9, axis=0)
    inside = ((at > low) & (at < high)).all(1)
    log_volume = np.log(high - low).sum() + np.log(np.diag(root)).sum()
    return np.where(inside, np.exp(np.where(inside, -log_q - log_volume, 0.0)), 0.0)


def _check_counts(checks: Checks, name: str, law: AbstractEnumerable, z: np.ndarray) -> None:
    values = law.support()
    log_p = np.asarray(jax.vmap(lambda v: jnp.sum(law.log_prob(v)))(values), np.float64)
    expected = np.exp(log_p)
    checks.require(
        f"{name}: total",
        abs(expected.sum() - 1) < 1e-4,
        "probabilities of all values must sum to one",
        f"sum {expected.sum():.6f}",
    )
    rows = {tuple(row): i for i, row in enumerate(np.asarray(values, np.float64).reshape(len(log_p), -1))}
    places = [rows.get(tuple(row), -1) for row in z]
    checks.require(f"{name}: support", -1 not in places, "a draw is not among the values of support()")
    counts, n = np.bincount(places, minlength=len(log_p)), len(z)
    often = n * expected > 10
    left = np.array([counts[~often].sum()]), np.array([n * expected[~often].sum()])
    seen = np.concatenate([counts[often], left[0]])
    due = np.maximum(np.concatenate([n * expected[often], left[1]]), 1e-9)
    z_scores = (seen - due) / np.sqrt(np.maximum(due * (1 - due / n), 1.0))
    checks.require(
        name,
        np.abs(z_scores).max() < LIMIT + 0.5,
        "values are not drawn as often as log_prob says",
        f"worst count is {np.abs(z_scores).max():.1f} standard errors off",
    )


def _check_divergence(checks: Checks, seen: Drawn) -> None:
    assert seen.log_p is not None
    groups = {"log q": seen.log_q.shape[1], "log p(z)": seen.log_p.shape[1]}
    if seen.kl is not None:
        groups["closed-form KL"] = seen.kl.shape[1]
    checks.require(
        "groups",
        len(set(groups.values())) == 1,
        "posterior, prior and KL must part z into the same latent groups",
        ", ".join(f"{what} has {many}" for what, many in groups.items()),
    )
    ratio = seen.log_q - seen.log_p
    if seen.kl is None:
        checks.omit("closed-form KL", "there is none for these laws")
        return
    checks.mean_is(
        "closed-form KL",
        seen.kl - ratio,
        0.0,
        "KL(q ‖ p) must be the mean of log q − log p over draws of q, in this order, group by group",
        slack=1e-4 + 1e-4 * float(np.abs(seen.kl).max()),
    )


def _vectors(z: Any) -> np.ndarray:
    """Return the samples as float vectors, (n, d)."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(z)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], 1)


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return float("inf")
    return float(np.max(np.abs(one - other) / (1 + np.abs(other)), initial=0.0))
