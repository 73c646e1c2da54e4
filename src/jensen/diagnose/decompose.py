"""The work behind a gap report: q*, log p(x), and the bounds, on the same rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from jensen.core import Datum, HasFamily, Inference, MeanOverDraws, PicksLaw, SharesLatent
from jensen.diagnose.elbo import plain_elbo
from jensen.diagnose.estimate import Effort, Estimate
from jensen.diagnose.evidence import Evidence, evaluate, pooled, summarize
from jensen.diagnose.gap_result import Gap
from jensen.diagnose.optimum import TOLERANCE, Optimum, family_of, knows, optimize, tabled
from jensen.diagnose.progress import Progress
from jensen.diagnose.rows import count, look, per_row, steps_of, weight_of
from jensen.diagnose.simulated import Bracket, simulated
from jensen.errors import check_key
from jensen.fit.data import Data
from jensen.posteriors import Exact, Filtering, VectorQuantized
from jensen.typing import PRNGKey

POINT = (
    "q is a single point: importance sampling returns the bound itself, so the gap cannot be seen; "
    "it is not zero"
)
"""Said of vector-quantized posteriors where the codes are too many to be summed over."""
CAUSAL = (
    "q sees the past only, and what that costs is in the total: pass smoothing=, a fitted Smoothing, or run "
    "`jensen gap RUN --smoothing`"
)


class _Scores(NamedTuple):
    """Per row, in nats: the bound of q, of q*, and the objective's own."""

    elbo: np.ndarray
    best: np.ndarray
    training: np.ndarray


class Seen(NamedTuple):
    """What one decomposition leaves for another.

    Attributes:
        model: The model as the draws see it.
        rows: The rows looked at.
        key: The noise the bounds were scored on.
        evidence: log p(x) of the rows.
        posterior: The posterior, and
        best: the best member of its family for each row; ``None`` where there is none.
    """

    model: Any
    rows: Datum
    key: PRNGKey
    evidence: Evidence
    posterior: Any
    best: Optimum | None


class Known(NamedTuple):
    """What need not be found again.

    Attributes:
        evidence: log p(x) of the rows.
        pointed: Whether a point posterior gave it.
        poorer: Laws that q* is climbed to from, stacked; ``None`` for the family's own start.
    """

    evidence: Evidence
    pointed: bool
    poorer: Any = None


def decompose(
    inference: Inference,
    x: Any,
    rows: int | None,
    effort: Effort,
    split: str,
    *,
    key: PRNGKey,
    progress: Progress,
    known: Known | None = None,
) -> tuple[Gap, Seen]:
    """Decompose as ``gap`` does, from what is known of these rows."""
    check_key(key)
    to_rows, to_best, to_score, to_evidence, to_simulate = jax.random.split(key, 5)
    shared = isinstance(inference.posterior, SharesLatent)
    inference, chosen = look(inference, x, None if shared else rows, key=to_rows)
    model, posterior, looked = inference.bound_model(), inference.posterior, chosen
    if shared:
        model, looked = pooled(inference, chosen)
    best, poorer = None, None if known is None else known.poorer
    if isinstance(posterior, PicksLaw):
        fresh = isinstance(posterior, HasFamily) and not knows(posterior, Data.of(x).num_data, split)
        best = optimize(
            model, posterior, looked, effort, fresh=fresh, key=to_best, progress=progress, poorer=poorer
        )
        if isinstance(posterior, HasFamily) and fresh:
            posterior, looked = tabled(posterior, best.params, looked, key=to_best)
    if known is None:
        evidence = evaluate(model, posterior, looked, "auto", effort, key=to_evidence, progress=progress)
    else:
        evidence = known.evidence
    if isinstance(posterior, Exact):
        exact = evidence.per_datum["log_evidence"]
        scores = _Scores(exact, exact, exact)
    else:
        scores = score_rows(
            inference, model, posterior, looked, best, effort, key=to_score, progress=progress
        )
    pointed = is_point(inference.posterior) if known is None else known.pointed
    bracket = None
    if known is None:
        bracket = simulated(model, inference.posterior, chosen, effort, key=to_simulate, progress=progress)
    out = _assemble(inference, evidence, scores, best, bracket, looked, effort, split)
    if pointed and evidence.method == "importance":
        out = replace(out, flags=(*out.flags, POINT))
    return out, Seen(model, looked, to_score, evidence, inference.posterior, best)


def is_point(posterior: Any) -> bool:
    """Say whether all of q is on one z, so that importance sampling by it sees no gap."""
    return isinstance(posterior, VectorQuantized)


def score_rows(
    inference: Inference,
    model: Any,
    posterior: Any,
    rows: Datum,
    best: Optimum | None,
    effort: Effort,
    *,
    key: PRNGKey,
    progress: Progress,
) -> _Scores:
    """Score q and q* on equal fresh noise, and the objective's own bound where it is another one."""
    other = None if isinstance(inference.objective, MeanOverDraws) else inference.objective
    scale = rows.x.shape[1] if isinstance(inference.posterior, SharesLatent) else 1
    params = None if best is None else best.params
    out = per_row(
        lambda both, keys: _score_block(model, posterior, other, effort, both, keys),
        (rows, params),
        key=key,
        progress=progress,
        label="bounds",
    )
    return _Scores(*(np.asarray(values, np.float64) / scale for values in out))


@eqx.filter_jit
def _score_block(model: Any, posterior: Any, other: Any, effort: Effort, both: Any, keys: Any) -> Any:
    def one(both: Any, key: Any) -> Any:
        datum, params = both
        to_q, draws, train = jax.random.split(key, 3)
        q = posterior(model, datum, key=to_q)
        value, _ = plain_elbo(model, q, datum, effort.samples, key=draws)
        if params is None:
            best = value * np.nan
        else:
            member = family_of(posterior, model, datum)(params)
            best, _ = plain_elbo(model, member, datum, effort.samples, key=draws)
        if other is None:
            return value, best, value

        def bound(key: Any) -> Any:
            return other.bound(other.draw(model, q, datum, key=key, share=1.0))

        repeats = max(1, effort.samples // other.num_samples)
        return value, best, jax.lax.map(bound, jax.random.split(train, repeats)).mean()

    return jax.vmap(one)(both, keys)


def _assemble(
    inference: Inference,
    evidence: Evidence,
    scores: _Scores,
    best: Optimum | None,
    bracket: Bracket | None,
    rows: Datum,
    effort: Effort,
    split: str,
) -> Gap:
    n = count(rows)
    converged = np.ones(n, bool) if best is None else best.converged
    kept = converged if converged.any() else np.ones(n, bool)
    known = converged.any() and np.isfinite(scores.best[kept]).all()
    log_p = evidence.per_datum["log_evidence"]
    pooled_rows = isinstance(inference.posterior, SharesLatent)
    steps = None if pooled_rows else steps_of(inference.model, rows)
    columns = {
        **evidence.per_datum,
        "elbo": scores.elbo,
        "best_elbo": scores.best,
        "approximation": log_p - scores.best,
        "amortization": scores.best - scores.elbo,
        "total": log_p - scores.elbo,
        "converged": converged,
        **({} if steps is None else {"steps": steps}),
        "index": np.arange(n) if rows.index is None else np.asarray(rows.index),
    }
    weight = weight_of(rows)
    weight = None if weight is None or weight.ndim > 1 else weight[kept]

    def mean(name: str) -> Estimate:
        return Estimate.mean(columns[name][kept], weight)

    nothing = Estimate(float("nan"), float("nan"))
    approximation, amortization = (
        mean(name) if known else nothing for name in ("approximation", "amortization")
    )
    scale = evidence.num_data // n
    seen = {name: values[kept] for name, values in evidence.per_datum.items()}
    other = not isinstance(inference.objective, MeanOverDraws)
    return Gap(
        log_evidence=summarize(seen, evidence.method, effort, weight, int(kept.sum()) * scale),
        elbo=mean("elbo"),
        approximation=approximation,
        amortization=amortization,
        total=mean("total"),
        training_bound=Estimate.mean(scores.training[kept], weight) if other else None,
        simulated=bracket,
        per_datum=columns,
        flags=_flags(
            evidence, best, converged, approximation, amortization, "rows" if steps is None else "sequences"
        )
        + ((CAUSAL,) if isinstance(inference.posterior, Filtering) else ()),
        num_data=int(kept.sum()) * scale,
        split=split,
        mean_steps=None if steps is None else Estimate.mean(steps[kept], weight).value,
    )


def _flags(
    evidence: Evidence,
    best: Optimum | None,
    converged: np.ndarray,
    approximation: Estimate,
    amortization: Estimate,
    noun: str,
) -> tuple[str, ...]:
    flags = []
    if lost := int((~converged).sum()):
        what = "left out of every average" if converged.any() else "no gap can be split"
        flags.append(f"q* had not converged on {lost} of {len(converged)} {noun}: {what}; raise Effort.steps")
    if best is not None and (apart := int((best.apart > TOLERANCE).sum())):
        flags.append(
            f"the two climbs to q* ended over {TOLERANCE} nats apart on {apart} of {len(converged)} "
            f"{noun}: the better one counts"
        )
    for gap, order in ((amortization, "L[q] ≤ L[q*]"), (approximation, "L[q*] ≤ log p(x)")):
        if gap.value < -3 * gap.se - 0.005:
            flags.append(f"{order} is violated: {gap} nats lie between them")
    if evidence.upper_kind is None:
        flags.append("log p(x) is a lower bound only, and the gaps above it are too: no upper side is known")
    return tuple(flags)
