"""Climbing any objective by stochastic gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from jensen.core import Datum, Inference
from jensen.errors import InputError, check_key
from jensen.fit.batches import check_plan, plan_of
from jensen.fit.chunk import Program, State, chunk_length, start
from jensen.fit.course import JUDGE_STEPS, Calendar, Course, Validation, checkpoint_period
from jensen.fit.data import Data
from jensen.fit.enter import centred, to_device, uncentred
from jensen.fit.evaluate import Blocks
from jensen.fit.explain import explain
from jensen.fit.falls import told
from jensen.fit.fingerprint import Static, array_digest
from jensen.fit.lanes import onset
from jensen.fit.minimize import Outcome, minimize
from jensen.fit.plans import AbstractBatches
from jensen.fit.prepare import BatchLoss, Split, Trainable, check_fits
from jensen.fit.progress import Progress
from jensen.fit.result import Fitted
from jensen.fit.run import Run, Session, save
from jensen.fit.start import start_from
from jensen.fit.stop import AbstractStop
from jensen.typing import PRNGKey


def gradient(
    inference: Inference,
    x: Any,
    *,
    key: PRNGKey,
    optimizer: optax.GradientTransformation,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    batches: AbstractBatches | None = None,
    validation: Any = None,
    stop: AbstractStop | None = None,
    run: Run | None = None,
    trainable: Trainable | None = None,
) -> Fitted:
    """Fit an inference by stochastic gradient steps on its objective.

    Each step averages the estimator's surrogate over a batch drawn without replacement. Members that choose
    their start from the data do so once. The program is compiled once per structure and shapes; a later call
    with new data of the same shape compiles nothing.

    Args:
        inference: Model, posterior, objective and gradient estimator.
        x: Rows (N, D), or ``fit.Data`` with conditions, masks, lengths and weights.
        key: Randomness of start, batches and draws.
        optimizer: An optax transformation, which descends the loss.
        epochs: Passes over the data; either this or ``steps``.
        steps: Gradient steps.
        batch_size: Rows a step, at most N; an epoch is ⌊N / batch_size⌋ steps. All rows by default.
        batches: Of sequences, ``fit.Windows(50)`` for windows instead of whole ones, ``batch_size`` of them a
            step; ``fit.CarriedWindows(50)`` for windows that each go on from the one before; or
            ``fit.ByLength()`` for batches of like length. Of intensities, ``fit.DynamicBinarization()`` for
            bits drawn anew at each step. Rows drawn at random by default.
        validation: Rows held out; their bound is taken after every epoch (of at least 100 steps, where steps
            are counted), with the same noise each time.
        stop: A rule that may end the fit early, ``fit.Patience``, ``fit.Converged`` or ``fit.Settled``.
        run: A run directory for checkpoints, metrics and the model.
        trainable: Picks what to train, as in ``lambda inference: inference.model``; the rest keeps its bits,
            and a member of which a part is held chooses no start from the data. By default everything.

    Returns:
        The fitted inference, its history (nats per datum) and the reason it stopped: ``"epochs"``,
        ``"steps"``, ``"patience"``, ``"converged"``, ``"settled"`` or ``"interrupted"`` (Ctrl-C keeps the
        last state). Under ``fit.Patience`` the parameters are those with the best validation bound.

    Raises:
        InputError: If data or options cannot be used.
        NonFiniteError: If the loss stays NaN or infinite at an eighth of the learning rate.

    Example:
        >>> import jax, numpy as np, optax, jensen as jn
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> vae = jn.models.Decoder(4, 2, likelihood="gaussian", widths=(8,), key=jax.random.key(0))
        >>> q = jn.posteriors.Amortized(
        ...     jn.families.DiagGaussian(2), data_dim=4, widths=(8,), key=jax.random.key(1))
        >>> fitted = jn.fit.gradient(
        ...     jn.Inference(vae, q, jn.objectives.ELBO(), jn.gradients.Reparam()),
        ...     x, key=jax.random.key(2), optimizer=optax.adam(1e-3), epochs=2, batch_size=50)
        >>> fitted.stop_reason, len(fitted.history.bound)
        ('epochs', 4)
    """
    begin = ready(
        inference,
        x,
        key=key,
        optimizer=optimizer,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        batches=batches,
        validation=validation,
        stop=stop,
        run=run,
        trainable=trainable,
    )
    fitted = begin.finish(_climb(begin))
    if run is not None:
        save(fitted, run.folder)
    return fitted


@dataclass(frozen=True)
class Ready:
    """A fit about to begin.

    Attributes:
        program: What is compiled.
        loss: What is descended.
        split: The inference, its rows about the origin of the model's frame.
        rows: The data set, on the device.
        state: Where to start.
        course: The host's side.
        begun: The inference where it starts.
        facts: Facts for the report.
        ending: The reason to stop where nothing else ends the fit.
    """

    program: Program
    loss: BatchLoss
    split: Split
    rows: Datum
    state: State
    course: Course
    begun: Inference
    facts: dict[str, Any]
    ending: str

    def finish(self, outcome: Outcome) -> Fitted:
        """Put together what a fit returns."""
        state = outcome.state
        history = told(self.course.history(int(state.step)))
        numbers = {
            "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(self.split.params)),
            "rate": float(state.rate),
        }
        return Fitted(
            uncentred(self.split.join(jax.tree.map(jnp.asarray, self.course.parameters(state))), self.begun),
            history,
            outcome.reason or self.ending,
            meta=self.facts | numbers,
        )


def ready(
    inference: Inference,
    x: Any,
    *,
    key: PRNGKey,
    optimizer: optax.GradientTransformation,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    batches: AbstractBatches | None = None,
    validation: Any = None,
    stop: AbstractStop | None = None,
    run: Run | None = None,
    trainable: Trainable | None = None,
) -> Ready:
    """Check the options of ``gradient``, and do all that comes before the first step."""
    check_key(key)
    data = Data.of(x)
    _check_options(epochs, steps, stop, validation)
    plan = plan_of(batches, data, batch_size)
    check_fits(inference, data if batches is None else batches.seen(data))
    check_plan(inference, plan)
    to_start, to_fit, to_validate = jax.random.split(key, 3)
    begun = start_from(inference, data, trainable, key=to_start)
    inference, centred_rows = centred(begun, data.rows())
    split = Split.of(inference, trainable)
    split.check_trainable()
    loss = BatchLoss(split.static, data.num_data)
    program = Program(loss, Static(optimizer), plan)
    held_out = None if validation is None else _held_out(begun, Data.of(validation), to_validate)
    rows = to_device(centred_rows)
    state = start(program, split.params, inference.gradient.init(inference), to_fit, onset(inference, plan))

    per_epoch = int(plan.steps_per_epoch(rows))
    epoch = per_epoch if steps is None else None
    watched = held_out is not None or stop is not None
    session = None if run is None else Session(run, _identity(program, split, rows, held_out, stop, key))
    calendar = Calendar(
        total=steps if steps is not None else (epochs or 0) * per_epoch,
        chunk=chunk_length(split.params, plan.work(rows)),
        judge=(epoch or max(per_epoch, JUDGE_STEPS)) if watched else 0,
        checkpoint=0 if run is None else checkpoint_period(run.checkpoint_every, epoch),
    )
    course = Course(split, calendar, num_data=data.num_data, validation=held_out, stop=stop, session=session)
    facts: dict[str, Any] = {
        "num_data": data.num_data,
        "data_dim": data.data_dim,
        "batch_size": batch_size or data.num_data,
        "steps_per_epoch": per_epoch,
    }
    if batches is not None:
        facts["batches"] = repr(batches)
    state, ending = course.resume(state), "epochs" if steps is None else "steps"
    return Ready(program, loss, split, rows, state, course, begun, facts, ending)


def _climb(begin: Ready) -> Outcome:
    """Run the loop under a progress bar, unless a resumed run had ended already."""
    course, state, frozen, rows = begin.course, begin.state, begin.split.frozen, begin.rows
    try:
        if course.reason is not None:
            return Outcome(state, course.reason)
        with Progress(course.calendar.total, int(state.step)) as course.bar:
            outcome = minimize(
                begin.program,
                state,
                frozen,
                rows,
                boundary=course.calendar.boundary,
                watch=course.watch,
                explain=lambda state: explain(begin.program, begin.loss, state, frozen, rows),
            )
        course.checkpoint(outcome.state)
        return outcome
    finally:
        course.close()


def _check_options(epochs: int | None, steps: int | None, stop: AbstractStop | None, validation: Any) -> None:
    if (epochs is None) == (steps is None):
        raise InputError("give either epochs= or steps=, one of the two")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    if stop is not None and stop.needs_validation and validation is None:
        raise InputError(
            f"{type(stop).__name__} watches the validation bound: pass validation=, or use fit.Converged"
        )


def _held_out(inference: Inference, data: Data, key: PRNGKey) -> Validation:
    check_fits(inference, data, training=False)
    _, rows = centred(inference, data.rows())
    rows = eqx.tree_at(lambda d: d.index, rows, None)
    return Validation(Blocks.of(to_device(rows)), data.weights, key)


def _identity(
    program: Program,
    split: Split,
    rows: Datum,
    held_out: Validation | None,
    stop: AbstractStop | None,
    key: PRNGKey,
) -> dict[str, str]:
    """Hash what a resumed run must share with the run it continues."""
    return {
        "data set": array_digest(rows),
        "validation set": "" if held_out is None else array_digest((held_out.blocks.rows, held_out.weights)),
        "inference": split.static.digest() + array_digest((split.params, split.frozen)),
        "optimizer": program.optimizer.digest(),
        "batch plan": repr(program.plan),
        "stopping rule": repr(stop),
        "key": array_digest(jax.random.key_data(key)),
    }
