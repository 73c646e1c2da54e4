"""Checks of an objective of one's own."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from jensen.core import Datum, HasBatchTerm, Inference, LogMeanOfWeights, MeanOverDraws, Terms
from jensen.errors import check_key
from jensen.testing.expectation import evidence_of
from jensen.testing.invariance import on_device
from jensen.testing.laws import BLOCK
from jensen.testing.report import LIMIT, Checks, Report, finite
from jensen.typing import Array, PRNGKey


def check_objective(
    inference: Inference,
    datum: Datum,
    *,
    key: PRNGKey,
    evidence: float | None = None,
    draws: int = 20_000,
    skip: Collection[str] = (),
) -> Report:
    """Check an objective against its contract, at one datum under a model and a posterior.

    Asked are: that terms come with an axis of draws and add up; that draws do not share noise; that the bound
    lies below log p(x) on average; that a ``MeanOverDraws`` reports the evidence lower bound, averages over
    its draws, and is ``plain`` or ``linear`` if it says so; that a ``LogMeanOfWeights`` is the log of the
    mean weight.

    Args:
        inference: Four choices, among them the objective.
        datum: One datum of the model.
        key: Randomness.
        evidence: log p(x | c), in nats, where it is known and the model cannot say; discrete latents are
            summed over, one or two continuous entries integrated over a grid.
        draws: How many estimates of the bound averages are taken over.
        skip: Names of checks not to ask.

    Returns:
        What was checked; print it for a list.

    Raises:
        ContractError: At the first check that fails: what, where, what to do.
        InputError: If ``skip`` names no check.

    Example:
        >>> import jax, jax.numpy as jnp, jensen as jn
        >>> prior, key = jn.models.priors.Bernoulli(2), jax.random.key(0)
        >>> model = jn.models.Decoder(3, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(2), data_dim=3, widths=(), key=key)
        >>> inference = jn.Inference(model, q, jn.objectives.IWAE(2), jn.gradients.ScoreFunction())
        >>> "below the evidence" in check_objective(inference, jn.Datum(jnp.ones(3)), key=key).passed
        True
    """
    check_key(key)
    datum = on_device(datum)
    objective = inference.objective
    checks = Checks(f"objective {type(objective).__name__}", skip)
    to_one, to_many = jax.random.split(key)
    terms = eqx.filter_jit(_terms)(inference, datum, to_one)
    _check_terms(checks, objective, terms)
    bound, log_w = _bounds(inference, datum, jax.random.split(to_many, draws))
    checks.require("finite", finite(bound, log_w), "the bound is NaN or infinite")
    _check_noise(checks, inference, log_w)
    if isinstance(objective, MeanOverDraws):
        advice = "bound(terms) must be the plain bound: its mean is that of log p(x, z) − log q(z)"
        slack = 1e-4 * (1 + float(np.abs(log_w).mean()))
        checks.mean_is("bound", bound - log_w.mean(1), 0.0, advice, slack=slack)
        _check_mean(checks, objective, terms)
    elif isinstance(objective, LogMeanOfWeights):
        right = logsumexp(terms.log_w, axis=0) - np.log(objective.num_samples)
        off = float(abs(objective.bound(terms) - right))
        checks.require("bound", off < 1e-3, "bound(terms) must be log (1/K) Σ w", f"off by {off:.2g}")
    else:
        checks.omit("bound", "the objective says neither MeanOverDraws nor LogMeanOfWeights")
    known = evidence_of(inference, datum, key=to_one) if evidence is None else evidence
    if known is None:
        checks.omit("below the evidence", "log p(x) is not known; pass evidence=")
    else:
        mean, se = float(bound.mean()), float(bound.std() / np.sqrt(draws))
        checks.require(
            "below the evidence",
            mean <= float(known) + LIMIT * se + 1e-4 * (1 + abs(float(known))),
            "the bound is above log p(x): a log-density is counted twice, left out, or turned around",
            f"mean {mean:.4g} ± {se:.2g}, log p(x) is {float(known):.4g}",
        )
    return checks.report()


def _terms(inference: Any, datum: Datum, key: PRNGKey) -> Terms:
    to_q, to_draws = jax.random.split(key)
    model = inference.bound_model()
    q = inference.posterior(model, datum, key=to_q)
    return inference.objective.draw(model, q, datum, key=to_draws, share=1.0)


def _bounds(inference: Inference, datum: Datum, keys: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the bound and the log-weights of its draws, key by key."""

    @eqx.filter_jit
    def run(inference: Any, keys: Any) -> tuple[Array, Array]:
        def one(key: PRNGKey) -> tuple[Array, Array]:
            terms = _terms(inference, datum, key)
            return inference.objective.bound(terms), terms.log_w

        return jax.lax.map(one, keys, batch_size=BLOCK)

    bound, log_w = run(inference, keys)
    return np.asarray(bound, np.float64), np.asarray(log_w, np.float64)


def _check_terms(checks: Checks, objective: Any, terms: Terms) -> None:
    k = objective.num_samples
    shapes = {"log_joint": terms.log_joint.shape, "log_q": terms.log_q.shape[:1]}
    wrong = [name for name, shape in shapes.items() if shape != (k,)]
    checks.require(
        "axis of draws",
        not wrong,
        f"draw(...) must stack num_samples = {k} draws on a leading axis",
        ", ".join(f"{name} has shape {shapes[name]}" for name in wrong),
    )
    if terms.log_likelihood is not None and terms.log_prior is not None:
        both = terms.log_likelihood + terms.log_prior.sum(-1)
        agree = np.allclose(both, terms.log_joint, rtol=1e-4, atol=1e-3)
        checks.require(
            "terms add up", agree, "log_joint must be log_likelihood plus log_prior summed over groups"
        )
    else:
        checks.omit("terms add up", "the model does not part its prior from its likelihood")
    losses = objective.losses(terms, jnp.zeros((), jnp.int32))
    later = objective.losses(terms, jnp.asarray(10**6, jnp.int32))
    numbers = [objective.bound(terms), losses.model, losses.posterior, later.model, later.posterior]
    checks.require(
        "bound and losses are finite numbers",
        all(np.shape(number) == () for number in numbers) and finite(*numbers),
        "bound(terms) and both losses must be one finite number each, at the first step and long after",
        ", ".join(f"{np.asarray(number)}" for number in numbers),
    )


def _check_noise(checks: Checks, inference: Inference, log_w: np.ndarray) -> None:
    if log_w.shape[1] < 2 or log_w.std() < 1e-5:
        checks.omit("draws do not share noise", "there is a single draw, or no noise")
        return
    pair = log_w[:, :2] - log_w[:, :2].mean(0)
    shared = float((pair[:, 0] * pair[:, 1]).mean() / max(float((pair**2).mean()), 1e-30))
    checks.require(
        "draws do not share noise",
        abs(shared) < LIMIT / np.sqrt(len(pair)) + 0.01,
        "weights of two draws move together: split the key between draws",
        f"correlation {shared:.3f}",
    )


def _check_mean(checks: Checks, objective: Any, terms: Terms) -> None:
    """Check that losses average over draws, and that the claims ``plain`` and ``linear`` hold."""
    step = jnp.zeros((), jnp.int32)
    whole = objective.losses(terms, step).posterior
    one = jax.tree.map(lambda leaf: leaf[:, None], terms)
    each = jax.vmap(lambda t: objective.losses(t, step).posterior)(one).mean()
    close = bool(np.isclose(whole, each, rtol=1e-4, atol=1e-4))
    advice = "under MeanOverDraws the loss of several draws must be the mean of their losses"
    checks.require("mean over draws", close, advice, f"{float(whole):.5g} and {float(each):.5g}")
    if objective.plain:
        bound = float(objective.bound(terms)) - float(terms.penalty.mean())
        advice = "an objective that says it is plain must descend −bound"
        checks.require("plain", bool(np.isclose(whole, -bound, rtol=1e-4, atol=1e-4)), advice)
    else:
        checks.omit("plain", "not claimed")
    if not objective.linear or (isinstance(objective, HasBatchTerm) and objective.couples_data):
        checks.omit("linear", "not claimed")
        return

    def at(t: float) -> float:
        moved = eqx.tree_at(
            lambda a: (a.log_q, a.log_joint), terms, (terms.log_q + t, terms.log_joint - 0.5 * t)
        )
        return float(objective.losses(moved, step).posterior)

    bend = at(1.0) + at(-1.0) - 2 * at(0.0)
    checks.require(
        "linear",
        abs(bend) < 1e-3 * (1 + abs(at(0.0))),
        "an objective that says it is linear must be so in log q and log p: drop the claim",
        f"bends by {bend:.2g}",
    )
