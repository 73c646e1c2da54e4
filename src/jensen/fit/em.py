"""Expectation maximization for every model that has its two steps."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import (
    AbstractModel,
    Datum,
    HasCoordinateAscent,
    HasExpectationMaximization,
    Inference,
    IteratesLocally,
)
from jensen.errors import CombinationError, InputError, JensenWarning, NonFiniteError, check_key
from jensen.fit.coordinate import MeanField
from jensen.fit.data import Data
from jensen.fit.enter import centred_cond, real_entries
from jensen.fit.fingerprint import array_digest
from jensen.fit.prepare import Split, Trainable, check_fits
from jensen.fit.progress import Progress
from jensen.fit.result import Fitted, History
from jensen.fit.run import Run, Session, save
from jensen.fit.start import start_from
from jensen.gradients import Analytic
from jensen.models.conditional import HasCondFrame
from jensen.models.sequence.linear_gaussian_given import UNSTABLE
from jensen.models.sequence.linear_gaussian_units import HasSpectralRadius
from jensen.models.static import HasFloor, HasFrame
from jensen.nets import Frame
from jensen.objectives import ELBO
from jensen.posteriors import Conjugate, Exact
from jensen.typing import Array, Float, PRNGKey, PyTree

BLOCK = 2_048
"""Most rows in one block of the E-step: their whitened copies stay in the cache."""

MASKED_BLOCK = 256
"""The same where every row has its own matrices, because entries are missing."""

SEQUENCE_STEPS = 100_000
"""Most time steps in one block of sequences: recursions vectorize over sequences, so blocks are large."""

DROP = 1e-5
"""Fall of the bound from one step to the next, relative to its size, that float32 may cause."""

JUMP = 1e-6
"""The same where each datum's own passes may end in a worse optimum, and a fall ends the fit."""


def em(
    model: AbstractModel,
    x: Any,
    *,
    steps: int = 100,
    tolerance: float = 1e-6,
    key: PRNGKey | None = None,
    trainable: Trainable | None = None,
    run: Run | None = None,
) -> Fitted:
    """Fit by expectation maximization: each step raises the mean log p(x), or leaves it.

    Under a model whose parameters have a conjugate prior the same loop is coordinate ascent: the E-step sets
    q(z_i), the M-step q(θ), and what rises is the mean-field bound on log p(x_1, …, x_N), divided by N.
    Where the E-step is itself iterative (``core.IteratesLocally``) a datum may meet a worse local optimum and
    the bound fall: the fit then ends with the q before, its bound the last, and ``history.events`` says so.

    Rows are standardized, and conditions centred, in float64 on the host before they become float32, and sums
    over rows are compensated. Missing entries are integrated out. The compiled step is shared by all calls of
    one shape.

    Args:
        model: A model with an E- and an M-step. One not yet started chooses its start from the data.
        x: Rows (N, D) or sequences (N, T, D), or ``fit.Data`` with masks, lengths, inputs and weights.
        steps: Most EM steps.
        tolerance: Stop when a step gains less than this, in nats per row or sequence; 0 takes every step.
        key: Randomness of the start; by default it follows from the model's own initial parameters.
        trainable: Picks what to fit, as in ``lambda inference: inference.model.logits``; the rest keeps its
            bits, and the M-step maximizes given it. By default everything; coordinate ascent takes no choice.
        run: A run directory for metrics and the fitted model. A fit by EM has no checkpoints: resumed, it
            is done again, to the same bits.

    Returns:
        The model with the exact posterior, or with the ``Conjugate`` one. ``history.bound`` is the mean
        log p(x), or the mean-field bound, at the start and after each step, nats per row or sequence; the
        reason is ``"converged"``, ``"steps"`` or ``"interrupted"``.

    Raises:
        InputError: If data or options cannot be used.
        CombinationError: If the model has no E- and M-step.
        NonFiniteError: If log p(x) is not finite, or coordinate ascent whose steps are exact lowered its
            bound by more than rounding explains.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> x = np.random.default_rng(0).normal(size=(200, 3)) + 1000.0
        >>> fitted = jn.fit.em(jn.models.FactorAnalysis(3, 1, key=jax.random.key(0)), x)
        >>> fitted.stop_reason
        'converged'
    """
    if isinstance(model, HasCoordinateAscent):
        return _mean_field(model, x, steps, tolerance, key=key, trainable=trainable, run=run)
    if not isinstance(model, HasExpectationMaximization):
        raise CombinationError(
            f"em: {type(model).__name__} has no closed-form E- and M-step; use fit.gradient"
        )
    course = _Course(steps, tolerance)
    begun = time.perf_counter()
    data = Data.of(x)
    inference = Inference(model, Exact(), ELBO(), Analytic())
    check_fits(inference, data)
    key = _key_of(model) if key is None else key
    check_key(key)
    inference = start_from(inference, data, trainable, key=key)
    split = Split.of(inference, trainable)
    split.check_trainable()
    free = jax.tree.map(lambda leaf: leaf is not None, split.params.model, is_leaf=lambda leaf: leaf is None)
    model = _climb(inference.model, free, Blocks.of(inference.model, data), course)
    if isinstance(model, HasFloor) and (low := int(np.sum(model.at_floor()))):
        course.event(f"{low} variance{'s' * (low > 1)} at the floor of 1e-6 of the columns' own")
        warnings.warn(
            f"{type(model).__name__}: {course.events[-1]}; rows repeat or are few, components "
            "are many, or columns determine each other",
            JensenWarning,
            stacklevel=2,
        )
    if isinstance(model, HasSpectralRadius) and (size := model.spectral_radius) > 1 + UNSTABLE:
        course.event(f"unstable: the transition matrix has spectral radius {size:.4g}, forecasts diverge")
        warnings.warn(f"{type(model).__name__}: {course.events[-1]}", JensenWarning, stacklevel=2)
    history = course.history(time.perf_counter() - begun)
    meta = {"num_data": data.num_data, "data_dim": data.data_dim, "num_parameters": _size(split.params)}
    fitted = Fitted(Inference(model, Exact(), ELBO(), Analytic()), history, course.reason, meta=meta)
    if run is not None:
        _record(fitted, run)
    return fitted


def _mean_field(
    model: Any,
    x: Any,
    steps: int,
    tolerance: float,
    *,
    key: PRNGKey | None,
    trainable: Trainable | None,
    run: Run | None,
) -> Fitted:
    """Fit q(θ) of a conjugate model by coordinate ascent."""
    course = _Course(steps, tolerance, fall="end" if isinstance(model, IteratesLocally) else "raise")
    if trainable is not None:
        name = type(model).__name__
        raise InputError(f"em: {name}: coordinate ascent moves the whole of q(θ); leave trainable= out")
    begun = time.perf_counter()
    data = Data.of(x)

    def choices(model: Any, factors: Any) -> Inference:
        return Inference(model, Conjugate(factors), ELBO(), Analytic())

    inference = choices(model, model.prior_of(None))
    check_fits(inference, data)
    key = _key_of(model) if key is None else key
    check_key(key)
    to_model, to_q = jax.random.split(key)
    model = inference.initialize_from(data.rows(), key=to_model).model
    blocks = Blocks.of(model, data)
    begin = MeanField.of(entered(model), model.first_factors(data.rows(), key=to_q), blocks.total)
    factors = _climb(begin, begin.free, blocks, course).factors
    history = course.history(time.perf_counter() - begun)
    meta = {"num_data": data.num_data, "data_dim": data.data_dim, "num_parameters": _size(factors)}
    fitted = Fitted(choices(model, factors), history, course.reason, meta=meta)
    if run is not None:
        _record(fitted, run)
    return fitted


def _key_of(model: Any) -> PRNGKey:
    """Return a key that follows from the model's own initial parameters."""
    return jax.random.key(int(array_digest(eqx.filter(model, eqx.is_array))[:7], 16))


@dataclass(frozen=True)
class Blocks:
    """Rows in the coordinates of the model's frame, cut into equal blocks; padding has weight zero.

    Attributes:
        rows: All rows, axes (blocks, rows of a block, ...).
        total: Sum of weights.
        log_scale: Mean over rows of what leaving the frame costs, in nats.
    """

    rows: Datum
    total: float
    log_scale: float

    @classmethod
    def of(cls, model: AbstractModel, data: Data) -> Blocks:
        """Standardize in float64, then cut, in the default float."""
        rows, n, real = data.rows(), data.num_data, jnp.result_type(float)
        weight = np.ones(n) if rows.weight is None else np.asarray(rows.weight, np.float64)
        x, log_scale = np.asarray(rows.x), 0.0
        if isinstance(model, HasFrame):
            shift, scale = (np.asarray(v, np.float64) for v in (model.frame.shift, model.frame.scale))
            x = (x - shift) / scale
            log_scale = float(weight @ _observed(rows) @ np.log(scale) / weight.sum())
            x = x if rows.mask is None else np.where(rows.mask, x, 0.0)
        cond = centred_cond(model, rows.cond)[1] if isinstance(model, HasCondFrame) else rows.cond
        count, size = _cut(x.shape, BLOCK if rows.mask is None else MASKED_BLOCK)

        def cut(leaf: Any) -> Array:
            leaf = np.asarray(leaf)
            leaf = leaf.astype(real if leaf.dtype.kind == "f" else leaf.dtype)
            padded = np.zeros((count * size, *leaf.shape[1:]), leaf.dtype)
            padded[:n] = leaf
            return jnp.asarray(padded.reshape(count, size, *leaf.shape[1:]))

        whole = Datum(x, cond, None, rows.mask, rows.steps, weight)
        return cls(jax.tree.map(cut, whole), float(weight.sum()), log_scale)


def _observed(rows: Datum) -> np.ndarray:
    """Return how often each column was observed in each row, (N, D): in a sequence, over its real steps."""
    seen = real_entries(rows)
    return (seen if seen.ndim < 3 else seen.sum(1)).astype(np.float64)


def _cut(shape: tuple[int, ...], most: int) -> tuple[int, int]:
    """Return the number of blocks and their size, in rows or sequences.

    Rows come in multiples of 64, so that near sizes share a compiled step; sequences cost too much to pad.
    """
    n = shape[0]
    if len(shape) < 3:
        count = -(-n // most)
        return count, 64 * -(-n // (64 * count))
    count = -(-n // max(1, SEQUENCE_STEPS // shape[1]))
    return count, -(-n // count)


@dataclass
class _Course:
    """What happened so far, and whether to go on.

    Attributes:
        steps: Most steps.
        tolerance: Least gain.
        fall: What a fall of the bound is: an event on the way, as floors and rounding cause them; an error;
            or the end, with what was before it.
        fell: Whether a fall was the end.
    """

    steps: int
    tolerance: float
    fall: Literal["note", "raise", "end"] = "note"
    fell: bool = False
    bounds: list[float] = field(default_factory=list)
    events: tuple[str, ...] = ()
    reason: str = "steps"

    def __post_init__(self):
        if self.steps < 1 or not self.tolerance >= 0:
            raise InputError(
                f"em: steps={self.steps}, tolerance={self.tolerance}; at least 1 step, tolerance 0 or more"
            )

    def event(self, text: str) -> None:
        self.events += (text,)

    def done(self, bound: float) -> bool:
        """Take note of the bound after another step; say whether it was the last."""
        step = len(self.bounds)
        if not np.isfinite(bound):
            raise NonFiniteError(
                f"em: step {step}: log p(x) is {bound}; check the data's scale, or start elsewhere"
            )
        gain = bound - self.bounds[-1] if self.bounds else np.inf
        beyond = gain < -(JUMP if self.fall == "end" else DROP) * max(1.0, abs(bound))
        if beyond:
            self._note(f"step {step}: the bound fell by {-gain:.3g} nats per row or sequence")
        if self.fall == "end" and (beyond or gain < 0 < self.tolerance):
            self.fell, self.reason = True, "converged"
            return True
        self.bounds.append(bound)
        if self.tolerance > 0 and gain < self.tolerance:
            self.reason = "converged"
            return True
        return step >= self.steps

    def _note(self, fell: str) -> None:
        if self.fall == "raise":
            raise NonFiniteError(f"em: {fell}, more than rounding explains; give data of order one")
        ended = ", as a datum's own passes met a worse local optimum; the fit ended before it"
        self.event(fell + ended * (self.fall == "end"))

    def history(self, seconds: float) -> History:
        bounds = np.array(self.bounds)
        return History(np.arange(len(bounds)), bounds, events=self.events, seconds=seconds)


def _climb(model: Any, free: PyTree, blocks: Blocks, course: _Course) -> Any:
    """Take EM steps until the course is done; return the model whose bound is the last in the history."""
    inside = begin = entered(model)
    with Progress(course.steps) as bar:
        try:
            for at, bound, _ in ascent(begin, free, blocks):
                done = course.done(bound)
                inside = inside if course.fell else at
                if done:
                    break
                bar.show(len(course.bounds) - 1, bound, None)
        except KeyboardInterrupt:
            course.reason = "interrupted"
    return left(inside, model)


def ascent(model: Any, free: PyTree, blocks: Blocks) -> Iterator[tuple[Any, float, Any]]:
    """Take EM steps without end: yield a model, its mean log p(x) in nats, and the model one step further.

    Args:
        model: Where to begin, ``entered``.
        free: A tree like the model of booleans: what may change.
        blocks: All rows.
    """
    while True:
        new, total = _step(model, free, blocks.rows)
        yield model, float(np.asarray(total, np.float64).sum()) / blocks.total - blocks.log_scale, new
        model = new


def entered(model: Any) -> Any:
    """Return the model as it speaks of rows that ``Blocks`` has standardized and centred."""
    if isinstance(model, HasFrame):
        model = _with_frame(model, Frame.identity(len(model.frame.shift)))
    if isinstance(model, HasCondFrame):
        model = _reading_in(model, Frame(jnp.zeros_like(model.cond_frame.shift), model.cond_frame.scale))
    return model


def left(model: Any, outside: Any) -> Any:
    """Return the model in the frames of ``outside`` again."""
    if isinstance(outside, HasCondFrame):
        model = _reading_in(model, outside.cond_frame)
    return _with_frame(model, outside.frame) if isinstance(outside, HasFrame) else model


def _with_frame(model: Any, frame: Frame) -> Any:
    return eqx.tree_at(lambda m: m.frame, model, frame)


def _reading_in(model: Any, frame: Frame) -> Any:
    return eqx.tree_at(lambda m: m.cond_frame, model, frame)


@eqx.filter_jit
def _step(model: Any, free: PyTree, rows: Datum) -> tuple[Any, Float[Array, "2"]]:
    """Return the model after one EM step, and the sum of log p(x) before it with its rounding error."""
    zero = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
        jax.eval_shape(model.expectation, jax.tree.map(lambda leaf: leaf[0], rows)),
    )

    def add(carry: tuple[PyTree, PyTree], block: Datum) -> tuple[tuple[PyTree, PyTree], None]:
        total, error = carry
        term = model.expectation(block)
        new = jax.tree.map(jnp.add, total, term)
        error = jax.tree.map(_lost, error, total, new, term)
        return (new, error), None

    (total, error), _ = jax.lax.scan(add, (zero, zero), rows)
    both = jnp.stack([total["log_evidence"], error["log_evidence"]])
    best = model.maximization(jax.tree.map(jnp.add, total, error), free)
    held = jax.tree.map(
        lambda may, new, old: new if may else old, free, best, model, is_leaf=lambda leaf: leaf is None
    )
    return held, both


def _lost(error: Array, total: Array, new: Array, term: Array) -> Array:
    """Add to ``error`` what ``new = total + term`` lost in rounding (Knuth's two-sum)."""
    back = new - total
    return error + ((total - (new - back)) + (term - back))


def _size(params: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _record(fitted: Fitted, run: Run) -> None:
    session = Session(Run(run.folder, trackers=run.trackers), {})
    for step, bound in zip(fitted.history.step, fitted.history.bound, strict=True):
        session.log(int(step), {"bound": float(bound)})
    session.close()
    save(fitted, run.folder)
