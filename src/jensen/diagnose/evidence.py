"""log p(x) of given data: exact where it can be, otherwise between bounds that say what they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import numpy as np

from jensen.algorithms.psis import pareto_k, rounding
from jensen.algorithms.weights import log_mean_exp, log_mean_exp_error
from jensen.core import Datum, HasFamily, Inference, SharesLatent
from jensen.diagnose import bounds
from jensen.diagnose.bounds import Method
from jensen.diagnose.estimate import Effort, Estimate, finite
from jensen.diagnose.optimum import knows, optimize, tabled
from jensen.diagnose.particles import bracketed
from jensen.diagnose.pooled import Pooled, as_one
from jensen.diagnose.progress import Progress, shown
from jensen.diagnose.rows import count, first, inference_of, look, per_row, weight_of
from jensen.errors import InputError, check_key, nearest
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.typing import PRNGKey

Kind = Literal["exact", "stochastic-bound", "heuristic"]


@dataclass(frozen=True)
class Evidence:
    """Mean log p(x) over some rows, in nats per datum.

    Attributes:
        value: The estimate: the exact mean, else the mean of the lower sides.
        se: Its standard error over rows.
        lower: Mean of the lower sides.
        upper: Mean of the upper sides; ``None`` where there is no way to one.
        lower_kind: ``"exact"``, or ``"stochastic-bound"``: below log p(x) on average.
        upper_kind: ``"exact"``, ``"heuristic"`` (no guarantee), or ``None``.
        method: ``"exact"``, ``"enumerate"``, ``"particle"``, ``"ais"`` or ``"importance"``.
        num_data: Number of rows.
        settings: What the method was run with: temperatures, chains, leapfrog steps, particles or samples.
        per_datum: ``log_evidence``, ``lower``, ``upper`` and what else the method saw, one entry per row.
    """

    value: float
    se: float
    lower: float
    upper: float | None
    lower_kind: Kind
    upper_kind: Kind | None
    method: Method
    num_data: int
    settings: dict[str, int] = field(default_factory=dict)
    per_datum: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def median_width(self) -> float | None:
        """Median over rows of upper − lower, in nats; ``None`` without an upper side."""
        if self.upper is None:
            return None
        return float(np.median(np.abs(self.per_datum["upper"] - self.per_datum["lower"])))

    def to_json(self) -> dict[str, Any]:
        """Return the numbers without the arrays."""
        numbers = {name: finite(getattr(self, name)) for name in ("value", "se", "lower", "upper")}
        return {**numbers, "lower_kind": self.lower_kind, "upper_kind": self.upper_kind}

    def __str__(self) -> str:
        upper = "none" if self.upper is None else f"{self.upper:.3f} ({self.upper_kind})"
        how = ", ".join(f"{n} {name}" for name, n in self.settings.items())
        return (
            f"log p(x) = {Estimate(self.value, self.se)} nats per datum, {self.num_data} rows; "
            f"lower {self.lower:.3f} ({self.lower_kind}), upper {upper}; {self.method}" + (how and f": {how}")
        )


def evidence(
    inference: Inference | Fitted,
    x: Any,
    *,
    key: PRNGKey,
    method: str = "auto",
    rows: int | None = None,
    effort: Effort | None = None,
    split: str = "test",
    progress: Progress | None = None,
) -> Evidence:
    """Evaluate log p(x).

    ``"auto"`` takes the first that applies: the model's closed form; a sum over z where z has at most 4,096
    values; for models of sequences a particle filter, with q as its proposal if q is drawn step by step, else
    the dynamics (for the upper side a second run keeps one path of the first alive); annealed importance
    sampling from q where z is real; importance weighting by q elsewhere (a lower bound only: for discrete z
    no upper side is known). A posterior with parameters per training row is fitted afresh to other rows. With
    one z behind all data, log p(x_1, …, x_N)/N is evaluated, from all rows.

    Args:
        inference: The fitted choices, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        key: Randomness; every row gets noise of its own.
        method: ``"auto"``, ``"exact"``, ``"enumerate"``, ``"particle"``, ``"ais"`` or ``"importance"``.
        rows: Look at this many rows, chosen at random; ``None`` for all.
        effort: How much work; ``Effort()`` by default.
        split: ``"train"`` says that x is the training data, row by row.
        progress: Told of the progress; by default a bar if standard error is a terminal.

    Returns:
        The evidence, with both sides labelled.

    Raises:
        InputError: On an unknown method, or one the model does not allow.

    Example:
        >>> import jax, jensen as jn
        >>> from jensen import diagnose
        >>> model = jn.models.Decoder(3, prior=jn.models.priors.OneHot(2), widths=(), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(jn.families.OneHot(2), data_dim=3, widths=(), key=jax.random.key(1))
        >>> inference = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Enumerate())
        >>> diagnose.evidence(inference, [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], key=jax.random.key(2)).method
        'enumerate'
    """
    effort, inference = effort or Effort(), inference_of(inference)
    check_key(key)
    to_rows, to_q, to_run = jax.random.split(key, 3)
    if isinstance(inference.posterior, SharesLatent) and rows is not None:
        name = type(inference.posterior).__name__
        raise InputError(f"{name}: one z is behind all data, so rows={rows} cannot be looked at alone")
    inference, chosen = look(inference, x, rows, key=to_rows)
    model, posterior = inference.bound_model(), inference.posterior
    with shown(progress) as bar:
        if isinstance(posterior, SharesLatent):
            model, chosen = pooled(inference, chosen)
        elif isinstance(posterior, HasFamily) and not knows(posterior, Data.of(x).num_data, split):
            found = optimize(model, posterior, chosen, effort, fresh=True, key=to_q, progress=bar)
            posterior, chosen = tabled(posterior, found.params, chosen, key=to_q)
        return evaluate(model, posterior, chosen, method, effort, key=to_run, progress=bar)


def pooled(inference: Inference, rows: Datum) -> tuple[Pooled, Datum]:
    """Return the model and data of a latent shared by all rows as a model of one datum."""
    return Pooled(inference.bound_model()), as_one(rows)


def evaluate(
    model: Any,
    posterior: Any,
    rows: Datum,
    method: str,
    effort: Effort,
    *,
    key: PRNGKey,
    progress: Progress,
) -> Evidence:
    """Evaluate rows already chosen, with a posterior that can speak of them."""
    example = first(rows)
    chosen = _legal(model, method, bounds.methods_for(model, posterior, example, key=key))
    scale = rows.x.shape[1] if isinstance(model, Pooled) else 1
    if chosen == "ais":
        given = bounds.Given.nothing(model, posterior, rows, key=key)
        seen = sandwiched(model, posterior, (rows, given), effort, key=key, progress=progress)
        seen = {"log_evidence": seen["lower"], **seen}
    elif chosen == "particle":
        seen = bracketed(model, posterior, rows, None, effort, key=key, progress=progress)
        seen = {"log_evidence": seen["lower"], **seen}
    else:
        seen = per_row(
            lambda rows, keys: _block(model, posterior, chosen, effort, rows, keys),
            rows,
            key=key,
            progress=progress,
            label=f"log p(x), {chosen}",
        )
    seen = {name: np.asarray(values, np.float64) for name, values in seen.items()}
    for name in ("lower", "upper", "log_evidence"):
        if name in seen:
            seen[name] = seen[name] / scale
    return summarize(seen, chosen, effort, weight_of(rows), count(rows) * scale)


def sandwiched(
    model: Any,
    posterior: Any,
    rows: tuple[Datum, bounds.Given],
    effort: Effort,
    *,
    key: PRNGKey,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Anneal each row from both sides."""
    out = per_row(
        lambda rows, keys: bounds.sandwiches(model, posterior, effort, rows, keys),
        rows,
        key=key,
        progress=progress,
        label="annealing",
    )
    return {"lower": out.lower, "upper": out.upper, "spread": out.spread, "acceptance": out.acceptance}


def summarize(
    seen: dict[str, np.ndarray], method: Method, effort: Effort, weight: np.ndarray | None, num_data: int
) -> Evidence:
    """Average what was seen row by row, and label both sides."""
    weight = None if weight is None or weight.ndim > 1 else weight
    mean = Estimate.mean(seen["log_evidence"], weight)
    closed = method in ("exact", "enumerate")
    upper = Estimate.mean(seen["upper"], weight).value if "upper" in seen else None
    return Evidence(
        *mean,
        lower=Estimate.mean(seen["lower"], weight).value,
        upper=upper,
        lower_kind="exact" if closed else "stochastic-bound",
        upper_kind=None if upper is None else "exact" if closed else "heuristic",
        method=method,
        num_data=num_data,
        settings=settings_of(method, effort),
        per_datum=seen,
    )


def settings_of(method: Method, effort: Effort) -> dict[str, int]:
    """Return the numbers a method was run with."""
    names = {
        "ais": ("temperatures", "chains", "leapfrog"),
        "particle": ("particles",),
        "importance": ("samples",),
    }
    return {name: getattr(effort, name) for name in names.get(method, ())}


def _legal(model: Any, method: str, legal: tuple[Method, ...]) -> Method:
    known = get_args(Method)
    if method not in ("auto", *known):
        raise InputError(f"evidence: method {method!r} is unknown{nearest(method, ['auto', *known])}")
    for name in legal:
        if method in ("auto", name):
            return name
    raise InputError(
        f"evidence: method {method!r} does not apply to {type(model).__name__} with this posterior; "
        f"use {' or '.join(legal)}"
    )


@eqx.filter_jit
def _block(
    model: Any, posterior: Any, method: Method, effort: Effort, rows: Datum, keys: Any
) -> dict[str, Any]:
    def one(datum: Datum, key: Any) -> dict[str, Any]:
        to_q, draws = jax.random.split(key)
        if method == "importance":
            q = posterior(model, datum, key=to_q)
            log_w, log_p = bounds.weighed(model, q, datum, effort.samples, key=draws)
            value = log_mean_exp(log_w)
            return {
                "log_evidence": value, "lower": value,
                "noise": log_mean_exp_error(log_w),
                "pareto_k": pareto_k(log_w, resolution=rounding(log_p)),
            }  # fmt: skip
        if method == "exact":
            value = bounds.exact(model, datum, key=draws)
        else:
            value = bounds.enumerated(model, posterior(model, datum, key=to_q), datum)
        return {"log_evidence": value, "lower": value, "upper": value}

    return jax.vmap(one)(rows, keys)
