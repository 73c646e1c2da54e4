"""Bias and variance of several gradient estimators on the same data, and what each costs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jensen.core import AbstractGradient, AbstractObjective, Datum, Inference, MeanOverDraws
from jensen.core.verdict import Kind
from jensen.diagnose.rows import count, inference_of, look
from jensen.diagnose.table import columns
from jensen.errors import CombinationError, InputError, check_key
from jensen.fit import Fitted
from jensen.fit.data import Data
from jensen.fit.prepare import BatchLoss, Split
from jensen.gradients import Enumerate
from jensen.typing import PRNGKey, PyTree

WARM = 50
"""Estimates by which estimators with a memory fill it, before anything is measured."""
PARTS = 20
"""Parts of the estimates, whose means tell a bias from noise."""
ROUNDING = 1e-6
"""A gradient shorter than this share of its estimates' spread is zero but for rounding, even if exact."""


class EstimatorRow(NamedTuple):
    """One estimator. Lengths are relative to the true gradient's, ‖E g‖ of its own objective.

    Attributes:
        name: What the caller called it.
        kind: What ``Inference.check()`` says of it.
        bias: ‖bias‖ over ‖E g‖, cleared of noise; NaN where nothing better to compare with was at hand.
            All three shares are NaN where the gradient itself is not told from zero.
        unresolved: The bias that noise could have hidden.
        sd: Standard deviation of one estimate, all parameters together, over ‖E g‖.
        flops: Floating-point operations of one estimate, as the compiler counts them; NaN if it does not.
        seconds: Median wall time of one estimate.
    """

    name: str
    kind: Kind
    bias: float
    unresolved: float
    sd: float
    flops: float
    seconds: float

    def work(self, count: Literal["flops", "seconds"]) -> float:
        """Variance times cost: what a given precision costs by averaging, up to a constant."""
        return self.sd**2 * (self.flops if count == "flops" else self.seconds)


@dataclass(frozen=True)
class GradientComparison:
    """Several estimators of one gradient; print it for a table.

    Attributes:
        rows: The estimators.
        of: Whose parameters the gradient is in.
        reference: What the biases are measured against.
        num_data: Rows in the batch, the same for all.
        repeats: Estimates each.
    """

    rows: tuple[EstimatorRow, ...]
    of: str
    reference: str
    num_data: int
    repeats: int

    def __getitem__(self, name: str) -> EstimatorRow:
        return next(row for row in self.rows if row.name == name)

    def __str__(self) -> str:
        head = ("estimator", "claim", "bias", "sd", "flops", "var × flops", "ms", "var × ms")
        first = self.rows[0]

        def times(a: float, b: float) -> str:
            return f"{a / b:.3g}×" if b > 0 and math.isfinite(a / b) else "n/a"

        cells = [
            (
                row.name,
                row.kind,
                _share(row),
                "n/a" if math.isnan(row.sd) else f"{row.sd:.1%}",
                times(row.flops, first.flops),
                times(row.work("flops"), first.work("flops")),
                f"{1e3 * row.seconds:.2f}",
                times(row.work("seconds"), first.work("seconds")),
            )
            for row in self.rows
        ]
        title = (
            f"gradient in the {self.of}'s parameters, {self.num_data} rows, {self.repeats} estimates each; "
            f"bias and sd over the gradient's length, bias against {self.reference}; × is over {first.name}"
        )
        lost = ", ".join(row.name for row in self.rows if math.isnan(row.sd))
        note = [f"{lost}: the gradient is not told from zero; raise repeats"] if lost else []
        return "\n".join([title, columns([head, *cells]), *note])


def compare_gradients(
    inference: Inference | Fitted,
    x: Any,
    estimators: Mapping[str, AbstractGradient | tuple[AbstractObjective, AbstractGradient]],
    *,
    key: PRNGKey,
    rows: int | None = 100,
    repeats: int = 200,
    of: Literal["posterior", "model"] = "posterior",
) -> GradientComparison:
    """Measure bias, variance and cost of several estimators at the same parameters, on the same batch.

    A bias is measured against ``Enumerate`` where z has few enough values, else against the least noisy of
    the estimators that claim to be unbiased under the same objective. An estimator's own parameters (those of
    ``gradients.Learned``) are taken as they are: train them first. Its memory is filled here.

    Args:
        inference: The choices, at the parameters of interest, or what ``fit.*`` returned.
        x: An array (N, D), or ``fit.Data``.
        estimators: By name, a gradient under the inference's own objective, or ``(objective, gradient)``.
        key: Randomness.
        rows: The batch is this many rows, chosen at random; ``None`` for all.
        repeats: Independent estimates of each, at least 2.
        of: Whose parameters the gradient is in.

    Returns:
        One row an estimator; print it for a table.

    Raises:
        InputError: On no estimator, fewer than 2 repeats, or an unknown ``of``.
        CombinationError: If an estimator does not fit; the message names what does.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> from jensen import gradients
        >>> prior, key = jn.models.priors.Bernoulli(2), jax.random.key(0)
        >>> model = jn.models.Decoder(3, prior=prior, widths=(), key=key)
        >>> q = jn.posteriors.Amortized(jn.families.Bernoulli(2), data_dim=3, widths=(), key=key)
        >>> both = {"none": gradients.ScoreFunction(), "pairs": gradients.DisARM()}
        >>> inference = jn.Inference(model, q, jn.objectives.ELBO(2), gradients.DisARM())
        >>> table = jn.diagnose.compare_gradients(inference, np.eye(3), both, key=key, repeats=100)
        >>> table["pairs"].sd < table["none"].sd
        True
    """
    inference, data = inference_of(inference), Data.of(x)
    if not estimators:
        raise InputError("compare_gradients: no estimator is given; name at least one")
    if repeats < 2:
        raise InputError(f"compare_gradients: repeats is {repeats}; a variance needs at least 2")
    if of not in ("posterior", "model"):
        raise InputError(f"compare_gradients: of is {of!r}; choose posterior or model")
    check_key(key)
    to_rows, to_run = jax.random.split(key)
    inference, chosen = look(inference, data, rows, key=to_rows)
    batch = jax.tree.map(jnp.asarray, chosen)
    entries = {name: _entry(inference, given) for name, given in estimators.items()}
    keys = jax.random.split(to_run, repeats)
    seen = {name: _run(own, batch, keys, data.num_data, of) for name, own in entries.items()}
    references = _references(entries, seen, batch, data.num_data, of)
    table = tuple(_row(name, own, seen[name], references[name]) for name, own in entries.items())
    exact = any(name == "Enumerate" for name, _ in references.values())
    against = "the exact gradient" if exact else "the least noisy unbiased one of the same objective"
    return GradientComparison(table, of, against, count(chosen), repeats)


class Seen(NamedTuple):
    """Mean estimate, means of parts of the estimates, the variance of one, and what one cost."""

    mean: np.ndarray
    parts: np.ndarray
    variance: np.ndarray
    repeats: int
    flops: float
    seconds: float

    @property
    def noise(self) -> float:
        """E ‖mean − E g‖²."""
        return float(self.variance.sum() / self.repeats)


def _entry(inference: Inference, given: Any) -> Inference:
    objective, gradient = given if isinstance(given, tuple) else (inference.objective, given)
    return Inference(inference.model, inference.posterior, objective, gradient)


def _run(inference: Inference, batch: Datum, keys: Any, num_data: int, of: str) -> Seen:
    """Average estimates of the gradient of one batch's mean loss."""
    split = Split.of(inference, lambda i: getattr(i, of))
    loss, memory = BatchLoss(split.static, num_data), inference.gradient.init(inference)

    def estimate(params: PyTree, batch: Datum, memory: PyTree, key: Any) -> tuple[Any, PyTree]:
        step = jnp.zeros((), jnp.int32)
        grads, (_, memory, _) = jax.grad(loss, has_aux=True)(
            params, split.frozen, batch, key=key, step=step, memory=memory
        )
        return ravel_pytree(getattr(grads, of))[0], memory

    one = jax.jit(estimate).lower(split.params, batch, memory, keys[0]).compile()
    flops = (one.cost_analysis() or {}).get("flops", math.nan)
    if memory is not None:
        for warm in jax.random.split(jax.random.fold_in(keys[0], 1), WARM):
            _, memory = one(split.params, batch, memory, warm)
    first = one(split.params, batch, memory, keys[0])[0]
    squared, times, parts = jnp.zeros_like(first), [], []
    for part in np.array_split(np.arange(len(keys)), min(PARTS, len(keys))):
        off = jnp.zeros_like(first)
        for i in part:
            begin = time.perf_counter()
            grad = jax.block_until_ready(one(split.params, batch, memory, keys[i])[0])
            times.append(time.perf_counter() - begin)
            off, squared = _add(off, squared, grad, first)
        parts.append((np.asarray(off, np.float64), len(part)))
    n, start = len(keys), np.asarray(first, np.float64)
    mean = np.sum([off for off, _ in parts], 0) / n
    variance = np.maximum(np.asarray(squared, np.float64) / n - mean**2, 0) * n / (n - 1)
    means = start + np.stack([off / many for off, many in parts])
    return Seen(start + mean, means, variance, n, float(flops), float(np.median(times)))


@jax.jit
def _add(off: Any, squared: Any, grad: Any, first: Any) -> tuple[Any, Any]:
    """Add up about the first estimate, so that no digits are lost to the mean."""
    away = grad - first
    return off + away, squared + away**2


def _references(
    entries: dict[str, Inference], seen: dict[str, Seen], batch: Datum, num_data: int, of: str
) -> dict[str, tuple[str, Seen | None]]:
    """Return, for every estimator, the name and the gradient that its bias is measured against."""
    found: list[tuple[AbstractObjective, tuple[str, Seen | None]]] = []
    out: dict[str, tuple[str, Seen | None]] = {}
    for name, own in entries.items():
        known = [reference for objective, reference in found if _same_target(objective, own.objective)]
        if not known:
            known = [_reference(own, entries, seen, batch, num_data, of)]
            found.append((own.objective, known[0]))
        out[name] = known[0]
    return out


def _same_target(one: AbstractObjective, other: AbstractObjective) -> bool:
    """Say whether two objectives have one gradient: the number of draws in a plain mean changes none."""
    if isinstance(one, MeanOverDraws) and isinstance(other, MeanOverDraws):
        one, other = (eqx.tree_at(lambda o: o.num_samples, each, 1) for each in (one, other))
    return bool(eqx.tree_equal(one, other))


def _reference(
    own: Inference, entries: dict[str, Inference], seen: dict[str, Seen], batch: Datum, num_data: int, of: str
) -> tuple[str, Seen | None]:
    try:
        exact = Inference(own.model, own.posterior, own.objective, Enumerate())
        if exact.check().kind == "exact":
            return "Enumerate", _run(exact, batch, jax.random.split(jax.random.key(0), 2), num_data, of)
    except CombinationError:
        pass
    unbiased = {
        name: seen[name]
        for name, other in entries.items()
        if _same_target(other.objective, own.objective) and other.check().kind in ("exact", "unbiased")
    }
    if not unbiased:
        return "", None
    best = min(unbiased, key=lambda name: unbiased[name].noise)
    return best, unbiased[best]


def _row(name: str, own: Inference, seen: Seen, reference: tuple[str, Seen | None]) -> EstimatorRow:
    best, truth = reference
    target = seen if truth is None else truth
    kind, spread = own.check().kind, math.sqrt(float(seen.variance.sum()))
    length = math.sqrt(max(float(target.mean @ target.mean) - target.noise, 0.0))
    if not length > max(_length_of_mean(target.parts)[1], ROUNDING * spread):
        return EstimatorRow(name, kind, math.nan, math.nan, math.nan, seen.flops, seen.seconds)
    sd, bias, unresolved = spread / length, math.nan, math.nan
    if truth is not None and best != name:
        # an exact reference has no parts to speak of
        reference_parts = truth.parts if len(truth.parts) == len(seen.parts) else truth.mean
        bias, unresolved = (number / length for number in _length_of_mean(seen.parts - reference_parts))
    return EstimatorRow(name, kind, bias, unresolved, sd, seen.flops, seen.seconds)


def _length_of_mean(parts: np.ndarray) -> tuple[float, float]:
    """Return ‖E e‖ from independent noisy e, and the length that noise alone could have shown.

    Products of different parts are free of noise on average; their spread needs no covariance of parameters.
    Six of their standard errors are asked for, their law having one long tail.
    """
    products = (parts @ parts.T)[np.triu_indices(len(parts), 1)]
    noise = float(products.std()) / math.sqrt(len(products))
    return math.sqrt(max(float(products.mean()), 0.0)), math.sqrt(6 * noise)


def _share(row: EstimatorRow) -> str:
    if math.isnan(row.bias):
        return "n/a"
    return f"< {row.unresolved:.1%}" if row.bias < row.unresolved else f"{row.bias:.1%}"
