"""Where the bound is lost: log p(x) = L[q] + amortization gap + approximation gap, in nats per datum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from jensen.core import AbstractPosterior, Datum, HasFamily, Inference, MeanOverDraws, PicksLaw, SharesLatent
from jensen.diagnose.elbo import plain_elbo
from jensen.diagnose.estimate import Effort, Estimate, finite
from jensen.diagnose.evidence import Evidence, evaluate, pooled, summarize
from jensen.diagnose.optimum import TOLERANCE, Optimum, knows, optimize, tabled
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import count, inference_of, look, per_row, steps_of, weight_of
from jensen.diagnose.simulated import Bracket, simulated
from jensen.diagnose.table import gap_table
from jensen.errors import check_key
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.objectives import ELBO
from jensen.posteriors import Exact, Filtering
from jensen.typing import PRNGKey

UNITS = "nats per datum"
CAUSAL = (
    "q sees the past only, and what that costs is in the total: pass smoothing=, a fitted Smoothing, or run "
    "`jensen gap RUN --smoothing`"
)


@dataclass(frozen=True)
class Gap:
    """The decomposition log p(x) = elbo + amortization + approximation. All terms use the same rows.

    Attributes:
        log_evidence: log p(x), with both sides labelled.
        elbo: The plain bound (β = 1, one draw inside the logarithm), whatever was trained.
        approximation: log p(x) − L[q*], the family's loss; q* is its best member for each row.
        amortization: L[q*] − L[q], the inference network's loss.
        total: log p(x) − L[q] = KL(q ‖ p(z|x)).
        training_bound: The objective's own bound where it is another one (IWAE), else ``None``.
        simulated: Certified interval on data simulated from the model; ``None`` where it cannot be had.
        per_datum: ``log_evidence``, ``elbo``, ``best_elbo``, ``approximation``, ``amortization``, ``total``,
            ``converged``, ``index`` and the evidence's own columns, one entry per row looked at.
        flags: One line for each thing a reader must know before trusting the numbers.
        num_data: Rows averaged over.
        split: ``"train"``, ``"test"``, ...
        units: Always nats per datum; a sequence is one datum.
        mean_steps: Mean number of real steps of a sequence; ``None`` where data are no sequences.
        causality: L[q_smoothing] − L[q], what a q that sees the past only loses to the smoothing one it was
            compared with: a part of ``total``, not amortization. ``None`` without one.
    """

    log_evidence: Evidence
    elbo: Estimate
    approximation: Estimate
    amortization: Estimate
    total: Estimate
    training_bound: Estimate | None
    simulated: Bracket | None
    per_datum: dict[str, np.ndarray]
    flags: tuple[str, ...]
    num_data: int
    split: str
    units: str = UNITS
    mean_steps: float | None = None
    causality: Estimate | None = None

    @property
    def per_step(self) -> dict[str, float] | None:
        """The same terms in nats per real step, total nats over total steps; ``None`` without steps."""
        if not self.mean_steps:
            return None
        names = ("log_evidence", "elbo", "approximation", "amortization", "total")
        terms = {name: getattr(self, name).value for name in names}
        if self.causality is not None:
            terms["causality"] = self.causality.value
        return {name: value / self.mean_steps for name, value in terms.items()}

    def to_json(self) -> dict[str, Any]:
        """Return what ``gap.json`` holds; what is not known is ``None``."""
        terms = {
            name: getattr(self, name).to_json() for name in ("elbo", "approximation", "amortization", "total")
        }
        each = self.per_step
        steps = {} if each is None else {
            "per_step": {name: finite(value) for name, value in each.items()}, "mean_steps": self.mean_steps
        }  # fmt: skip
        return {
            "log_evidence": self.log_evidence.to_json(),
            **terms,
            "simulated": None if self.simulated is None else self.simulated.to_json(),
            "units": self.units,
            "num_data": self.num_data,
            "split": self.split,
            **steps,
            **({} if self.causality is None else {"causality": self.causality.to_json()}),
        }

    def __str__(self) -> str:
        return gap_table(self)


class _Scores(NamedTuple):
    """Per row, in nats: the bound of q, of q*, and the objective's own."""

    elbo: np.ndarray
    best: np.ndarray
    training: np.ndarray


def gap(
    inference: Inference | Fitted,
    x: Any,
    *,
    key: PRNGKey,
    rows: int | None = 100,
    effort: Effort | None = None,
    split: str = "test",
    progress: Progress | None = None,
    smoothing: AbstractPosterior | None = None,
) -> Gap:
    """Say how far the bound lies below log p(x), and whose fault it is.

    q* is climbed to for each row from two starts and scored on noise it has not seen; rows where the climb
    had not arrived are counted in ``flags`` and left out of every average. Posteriors with parameters per
    training row are fitted afresh to other rows, and then have no amortization gap. With one z behind all
    data, all rows count as one datum and every number is divided by N; pass the training data.

    Args:
        inference: The fitted choices, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness; every row gets noise of its own.
        rows: Look at this many rows, chosen at random; ``None`` for all.
        effort: How much work; ``Effort()`` by default.
        split: A name for the table; ``"train"`` also says that x is the training data, row by row.
        progress: Told of the progress; by default a bar if standard error is a terminal.
        smoothing: A posterior fitted to the same model that sees whole sequences; its bound on the same rows
            and noise says what seeing the past only costs.

    Returns:
        The decomposition; print it for a table.

    Raises:
        InputError: On data that cannot be used.

    References:
        Cremer, Li & Duvenaud 2018, Inference suboptimality in variational autoencoders.

    Example:
        >>> import jax, jensen as jn
        >>> from jensen import diagnose
        >>> model = jn.models.Decoder(3, prior=jn.models.priors.OneHot(2), widths=(), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(jn.families.OneHot(2), data_dim=3, widths=(), key=jax.random.key(1))
        >>> inference = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Enumerate())
        >>> out = diagnose.gap(inference, [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], key=jax.random.key(2))
        >>> bool(abs(out.approximation.value) < 1e-3), out.log_evidence.lower_kind
        (True, 'exact')
    """
    effort, inference = effort or Effort(), inference_of(inference)
    check_key(key)
    to_rows, to_best, to_score, to_evidence, to_simulate = jax.random.split(key, 5)
    shared = isinstance(inference.posterior, SharesLatent)
    inference, chosen = look(inference, x, None if shared else rows, key=to_rows)
    model, posterior, looked = inference.bound_model(), inference.posterior, chosen
    if shared:
        model, looked = pooled(inference, chosen)
    with shown(progress) as bar:
        best, whole = None, None
        if isinstance(posterior, PicksLaw):
            fresh = isinstance(posterior, HasFamily) and not knows(posterior, Data.of(x).num_data, split)
            best = optimize(model, posterior, looked, effort, fresh=fresh, key=to_best, progress=bar)
            if fresh:
                posterior, looked = tabled(posterior, best.params, looked, key=to_best)
        evidence = evaluate(model, posterior, looked, "auto", effort, key=to_evidence, progress=bar)
        if isinstance(posterior, Exact):
            exact = evidence.per_datum["log_evidence"]
            scores = _Scores(exact, exact, exact)
        else:
            scores = _score(inference, model, posterior, looked, best, effort, key=to_score, progress=bar)
        if smoothing is not None:
            ahead = Inference(inference.model, smoothing, ELBO(), inference.gradient)
            whole = _score(ahead, model, smoothing, looked, None, effort, key=to_score, progress=bar).elbo
        bracket = simulated(model, inference.posterior, chosen, effort, key=to_simulate, progress=bar)
    out = _assemble(inference, evidence, scores, best, bracket, looked, effort, split)
    return out if whole is None else _beside(out, whole, weight_of(looked))


def _beside(gap: Gap, whole: np.ndarray, weight: np.ndarray | None) -> Gap:
    """Add what the bounds of a smoothing posterior say of causality."""
    lost = whole - gap.per_datum["elbo"]
    flags = tuple(flag for flag in gap.flags if flag != CAUSAL)
    per_datum = {**gap.per_datum, "causality": lost}
    return replace(gap, causality=Estimate.mean(lost, weight), per_datum=per_datum, flags=flags)


def _score(
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
            member = posterior.family_given(model)(params)
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
