"""Several fits on the same rows, side by side, with paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import ChecksData, Datum, IndexesData, Inference, SharesLatent
from jensen.diagnose import bounds
from jensen.diagnose.elbo import plain_elbo
from jensen.diagnose.estimate import Effort, Estimate
from jensen.diagnose.evidence import evaluate
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import choose, first, inference_of, look, per_row, weight_of
from jensen.diagnose.table import columns
from jensen.errors import InputError, check_key
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.nets import trainable
from jensen.posteriors import Exact
from jensen.typing import Float, PRNGKey

PROBED = 256
"""Most columns that are looked at one by one to tell densities from probabilities."""


@dataclass(frozen=True)
class Compared:
    """One fit among several. Numbers are nats per datum, over the rows all fits were scored on.

    Attributes:
        name: What it is called.
        bound: L[q], the plain ELBO (β = 1, K = 1), whatever was trained.
        log_evidence: log p(x), or a lower bound on it.
        exact: Whether it is exact.
        gap: ``log_evidence`` less ``bound``; of a lower bound, at least this.
        behind: How far below the best fit's log p(x), paired row by row; zero for the best.
        num_parameters: Numbers fitted.
        seconds: Wall time of the fit; ``None`` for an inference that no fit returned.
        stop_reason: Why it stopped; ``None`` likewise.
    """

    name: str
    bound: Estimate
    log_evidence: Estimate
    exact: bool
    gap: Estimate
    behind: Estimate
    num_parameters: int
    seconds: float | None
    stop_reason: str | None


@dataclass(frozen=True)
class Comparison:
    """Fits on the same rows, the best log p(x) first.

    Attributes:
        fits: One line each.
        per_datum: ``bound`` and ``log_evidence`` of every fit by name, one entry per row.
        weight: Row weights; ``None`` for equal ones.
        num_data: Number of rows.
        settings: Draws or particles behind what is not exact.
    """

    fits: tuple[Compared, ...]
    per_datum: dict[str, dict[str, Float[np.ndarray, "n"]]]
    weight: np.ndarray | None
    num_data: int
    settings: str

    def difference(self, a: str, b: str, what: str = "log_evidence") -> Estimate:
        """Return the mean over rows of a's score less b's, with the standard error of paired differences.

        Args:
            a: Name of one fit.
            b: Name of the other.
            what: ``"log_evidence"`` or ``"bound"``.

        Raises:
            InputError: If a name is unknown.
        """
        for name in (a, b):
            if name not in self.per_datum:
                known = ", ".join(self.per_datum)
                raise InputError(f"compare: no fit is called {name!r}; choose from {known}")
        return Estimate.mean(self.per_datum[a][what] - self.per_datum[b][what], self.weight)

    def to_json(self) -> dict[str, Any]:
        """Return the table."""
        return {
            "num_data": self.num_data,
            "fits": [
                {
                    "name": one.name,
                    **{n: getattr(one, n).to_json() for n in ("bound", "log_evidence", "gap", "behind")},
                    "exact": one.exact,
                    "num_parameters": one.num_parameters,
                    "seconds": one.seconds,
                    "stop_reason": one.stop_reason,
                }
                for one in self.fits
            ],
        }

    def __str__(self) -> str:
        lines: list[tuple[str, ...]] = [
            ("fit", "L[q]", "log p(x)", "behind the best", "gap", "numbers", "seconds", "stopped")
        ]
        for one in self.fits:
            sign = "" if one.exact else "≥ "
            lines.append(
                (
                    one.name,
                    str(one.bound),
                    sign + str(one.log_evidence),
                    "" if one is self.fits[0] else str(one.behind),
                    sign + f"{one.gap.value:.3f}",
                    f"{one.num_parameters:,}",
                    "" if one.seconds is None else f"{one.seconds:.1f}",
                    one.stop_reason or "",
                )
            )
        said = f"nats per datum, {self.num_data} rows; ± is over rows, differences are paired{self.settings}"
        return "\n".join([said, columns(lines)])


def compare(
    fits: Mapping[str, Fitted | Inference] | Sequence[Fitted | Inference],
    x: Any,
    *,
    key: PRNGKey,
    rows: int | None = None,
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Score several fits on the same rows; hold these out from all of them.

    log p(x) is exact where the model or a sum over z gives it; else a particle filter's estimate for models
    of sequences, or importance weighting by the fit's own q, both lower bounds: a model can be better than
    its q lets it look, which ``diagnose.gap`` tells. Differences are between scores of the same row, so their
    standard errors are much smaller than those of the scores.

    Args:
        fits: Fits by name, or a list of them.
        x: Rows, an array or ``fit.Data``.
        key: Randomness; all fits share it.
        rows: Look at this many rows, chosen at random; ``None`` for all.
        effort: ``samples`` or ``particles`` per row; ``Effort()`` by default.
        progress: Told of the progress; by default a bar if standard error is a terminal.

    Returns:
        The comparison; print it for a table.

    Raises:
        InputError: If there are no two fits, rows do not fit a model, one model gives densities of a column
            that another gives probabilities of, or q has nothing to say of single new rows.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> fits = {
        ...     "one": jn.fit.em(jn.models.Gaussian(2, key=jax.random.key(0)), x[:100]),
        ...     "four": jn.fit.em(jn.models.GaussianMixture(4, 2, key=jax.random.key(0)), x[:100])}
        >>> jn.diagnose.compare(fits, x[100:], key=jax.random.key(1)).fits[0].name
        'one'
    """
    named = _named(fits)
    check_key(key)
    to_rows, to_run = jax.random.split(key)
    chosen = choose(x, rows, key=to_rows)
    effort = effort or Effort()
    for name, fitted in named.items():
        _speaks(name, inference_of(fitted).posterior)
    _same_units({name: inference_of(fitted).model for name, fitted in named.items()}, chosen)
    data, scores, exact, notes = _data(chosen), {}, {}, {}
    with shown(progress) as bar:
        for name, fitted in named.items():
            inference, looked = look(inference_of(fitted), data, None, key=to_rows)
            scores[name], exact[name], note = _scores(inference, looked, effort, key=to_run, progress=bar)
            notes.update(note)
    weight = weight_of(chosen)
    weight = None if weight is None or weight.ndim > 1 else weight
    best = max(scores, key=lambda name: Estimate.mean(scores[name]["log_evidence"], weight).value)

    def line(name: str, fitted: Any) -> Compared:
        bound, log_p = scores[name]["bound"], scores[name]["log_evidence"]
        done = fitted if isinstance(fitted, Fitted) else None
        return Compared(
            name,
            Estimate.mean(bound, weight),
            Estimate.mean(log_p, weight),
            exact[name],
            Estimate.mean(log_p - bound, weight),
            Estimate.mean(scores[best]["log_evidence"] - log_p, weight),
            _count(inference_of(fitted)) if done is None else done.meta.get("num_parameters", 0),
            None if done is None else done.history.seconds,
            None if done is None else done.stop_reason,
        )

    lines = sorted((line(*item) for item in named.items()), key=lambda one: -one.log_evidence.value)
    said = "".join(f"; {count} {what} each" for what, count in notes.items())
    return Comparison(tuple(lines), scores, weight, len(chosen.x), said)


def _named(fits: Any) -> dict[str, Any]:
    if not isinstance(fits, Mapping):
        fits = {f"{type(inference_of(f).model).__name__} {i}": f for i, f in enumerate(fits)}
    if len(fits) < 2:
        raise InputError(f"compare: {len(fits)} fit{'s' * (len(fits) != 1)}; give at least two")
    return dict(fits)


def _speaks(name: str, posterior: Any) -> None:
    kind = type(posterior).__name__
    if isinstance(posterior, SharesLatent):
        raise InputError(
            f"compare: {name}: {kind} is one q behind all data, with no bound for single new rows; "
            "compare use.score(fitted, x) row by row"
        )
    if isinstance(posterior, IndexesData):
        raise InputError(
            f"compare: {name}: {kind} has no q for rows it was not fitted to; use diagnose.evidence, which "
            "fits it afresh"
        )


def _same_units(models: dict[str, Any], rows: Datum) -> None:
    """Refuse to set densities beside probabilities: only the former change with the unit of x."""
    kinds = {
        name: kind for name, model in models.items() if (kind := _takes_fractions(model, rows)) is not None
    }
    for name, kind in list(kinds.items())[1:]:
        one, other = next(iter(kinds.items()))
        if (differs := other != kind).any():
            dense, counted = (one, name) if other[differs][0] else (name, one)
            raise InputError(
                f"compare: of column {int(np.flatnonzero(differs)[0])} {dense} gives a density, {counted} "
                "the probability of a value: their nats are not the same unit; fit both with one kind of "
                "likelihood"
            )


def _takes_fractions(model: Any, rows: Datum) -> np.ndarray | None:
    """Return which columns may hold any real number: the model is asked whether it would take such a row."""
    if not isinstance(model, ChecksData):
        return None
    one = jax.tree.map(lambda leaf: np.array(leaf[:1]), rows)
    x = np.asarray(one.x, np.float64)
    if one.mask is not None:
        x = np.where(one.mask, x, 0.0)
    width = x.shape[-1]
    if _takes(model, one, np.abs(x - 0.25)):
        return np.ones(width, bool)
    if width > PROBED:
        return np.zeros(width, bool)
    column = np.arange(width)
    return np.array([_takes(model, one, np.where(column == j, np.abs(x - 0.25), x)) for j in range(width)])


def _takes(model: Any, row: Datum, x: np.ndarray) -> bool:
    try:
        model.check_data(eqx.tree_at(lambda d: d.x, row, x))
    except InputError:
        return False
    return True


def _data(rows: Datum) -> Data:
    """Return stacked rows as data again, so that each model looks at them about its own origin."""
    return Data(rows.x, cond=rows.cond, lengths=rows.steps, mask=rows.mask, weights=rows.weight)


def _scores(
    inference: Inference, rows: Datum, effort: Effort, *, key: PRNGKey, progress: Progress
) -> tuple[dict[str, np.ndarray], bool, dict[str, int]]:
    """Return every row's bound and log p(x), whether the latter is exact, and the draws behind it if not."""
    model, posterior = inference.bound_model(), inference.posterior
    to_q, to_bound, to_evidence = jax.random.split(key, 3)
    legal = bounds.methods_for(model, posterior, first(rows), key=to_q)
    method = next(name for name in legal if name != "ais")
    found = evaluate(model, posterior, rows, method, effort, key=to_evidence, progress=progress)
    log_p = found.per_datum["log_evidence"]
    if method == "exact" and isinstance(posterior, Exact):
        return {"bound": log_p, "log_evidence": log_p}, True, {}
    bound = per_row(
        lambda rows, keys: _bounds(model, posterior, effort.samples, rows, keys),
        rows,
        key=to_bound,
        progress=progress,
        label="bounds",
    )
    exact = method in ("exact", "enumerate")
    return {"bound": np.asarray(bound, np.float64), "log_evidence": log_p}, exact, dict(found.settings)


@eqx.filter_jit
def _bounds(model: Any, posterior: Any, num: int, rows: Datum, keys: Any) -> Any:
    def one(datum: Datum, key: Any) -> Any:
        to_q, draws = jax.random.split(key)
        return plain_elbo(model, posterior(model, datum, key=to_q), datum, num, key=draws)[0]

    return jax.vmap(one)(rows, keys)


def _count(inference: Inference) -> int:
    leaves = jax.tree.leaves(eqx.filter(inference, trainable(inference)))
    return sum(int(jnp.size(leaf)) for leaf in leaves)
