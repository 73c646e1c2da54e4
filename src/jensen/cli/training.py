"""The fit itself, as a job's options say it."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jensen import fit
from jensen.cli.data import Rows, intensities
from jensen.cli.preset import Facts
from jensen.cli.presets import PRESETS
from jensen.cli.runs import Job
from jensen.core import Inference, IteratesLocally
from jensen.errors import JensenWarning, NonFiniteError
from jensen.fit import Data, Fitted
from jensen.fit.plans import AbstractBatches
from jensen.fit.prepare import check_fits
from jensen.nets import Frame
from jensen.typing import PRNGKey

CLIP = 100.0
"""Norm that gradients are clipped to, in nats."""

ROUNDS, WAIT = 20, 300
"""Epochs, and for sequences steps, without a better validation bound that end a fit."""


@dataclass(frozen=True)
class Prepared:
    """What a fit takes, checked.

    Attributes:
        inference: The four choices before the fit.
        facts: What is known of the data.
        train: Rows to train on; intensities where bits are drawn anew at each step.
        held: Rows held out for stopping; None where there are none, or where they cannot tell.
    """

    inference: Inference
    facts: Facts
    train: Data
    held: Data | None


def keys(job: Job) -> tuple[PRNGKey, PRNGKey, PRNGKey]:
    """Return the keys of the start, of the fit and of the evaluation."""
    start, fitting, evaluation = jax.random.split(jax.random.key(job.options["seed"]), 3)
    return start, fitting, evaluation


def prepare(job: Job, rows: Rows) -> Prepared:
    """Build the inference and check the rows against it.

    Raises:
        InputError: The rows do not fit the model.
        CombinationError: The four choices do not fit together.
    """
    train = rows.data(rows.train)
    inference = _build(job, rows.facts, train, key=keys(job)[0])
    check_fits(inference, train)
    per_datum = job.options.get("posterior", "").startswith("per-datum")  # says nothing of other rows
    held = None if per_datum or not len(rows.held) else rows.data(rows.held)
    if job.options.get("binarize") == "dynamic":
        train = intensities(job, rows)
    return Prepared(inference, rows.facts, train, held)


def train(job: Job, rows: Rows, prepared: Prepared) -> Fitted:
    """Fit, by EM or by gradient steps; the run directory then holds the model.

    Raises:
        InputError: The files cannot be written, or the run was made with other data.
        NonFiniteError: Training met NaN and did not recover, or an exact bound fell.
    """
    if job.options["gradient"] == "em":
        return _by_em(job, prepared)
    return climb(job, prepared, key=keys(job)[1], run=fit.Run(job.folder, resume=True))


def climb(job: Job, prepared: Prepared, *, key: PRNGKey, **more: Any) -> Fitted:
    """Fit by gradient steps, with the pace and the stopping rule of a job's options."""
    options, held = job.options, prepared.held
    return fit.gradient(
        prepared.inference,
        prepared.train,
        key=key,
        optimizer=_optimizer(job),
        epochs=options.get("epochs"),
        steps=options.get("steps"),
        batch_size=options["batch_size"],
        batches=_batches(options),
        validation=held,
        stop=None if held is None else fit.Patience(_patience(job, prepared)),
        **more,
    )


def _optimizer(job: Job) -> Any:
    """Return Adam on clipped gradients: through time and layers they burst now and then."""
    import optax

    return optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(job.options["learning_rate"]))


def _patience(job: Job, prepared: Prepared) -> int:
    """Return how many epochs without a better bound end the fit: few sequences, or rows, make short ones."""
    if PRESETS[job.preset].takes == "tables" or "steps" in job.options:
        return ROUNDS
    return max(ROUNDS, -(-WAIT // prepared.facts.steps_per_epoch(job.options)))


def _batches(options: dict[str, Any]) -> AbstractBatches | None:
    """Return fresh bits, or windows, where asked for; before a window a tenth of it finds the state."""
    if options.get("binarize") == "dynamic":
        return fit.DynamicBinarization()
    if (window := options.get("window")) is None:
        return None
    if options.get("windows") == "carried":
        return fit.CarriedWindows(window)
    return fit.Windows(window, burn_in=0 if options.get("objective") == "fivo" else window // 10)


def _by_em(job: Job, prepared: Prepared) -> Fitted:
    """Fit by EM; there are no checkpoints, for the same fit done again ends in the same bits."""
    options, key = job.options, keys(job)[1]
    restarts, steps = options.get("restarts", 1), options["steps"]
    if restarts == 1:
        fitted = fit.em(prepared.inference.model, prepared.train, steps=steps, key=key)
    else:
        fitted = _best(job, prepared, restarts=restarts, steps=steps, key=key)
    if fitted.stop_reason != "interrupted":
        tracker = fit.JSONLines(job.folder / "metrics.jsonl")
        for step, bound in zip(fitted.history.step, fitted.history.bound, strict=True):
            tracker.log(int(step), {"bound": float(bound)})
        tracker.close()
        fit.save(fitted, job.folder)
    return fitted


def _best(job: Job, prepared: Prepared, *, restarts: int, steps: int, key: PRNGKey) -> Fitted:
    """Keep the best restart that did not collapse: a component on a few rows has any density it likes."""

    def make(key: PRNGKey) -> Any:
        return _build(job, prepared.facts, prepared.train, key=key).model

    def sound(model: Any, data: Data, **options: Any) -> Fitted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", JensenWarning)
            fitted = fit.em(model, data, **options)
        if fitted.history.events and not isinstance(fitted.model, IteratesLocally):
            raise NonFiniteError(fitted.history.events[-1])
        return fitted

    options = {"restarts": restarts, "key": key, "steps": steps}
    try:
        fitted = fit.best_of(make, prepared.train, by=sound, **options)
    except NonFiniteError:
        return fit.best_of(make, prepared.train, by=fit.em, **options)
    finite = fitted.restarts[np.isfinite(fitted.restarts)]
    if lost := restarts - len(finite):
        print(f"{lost} of {restarts} restarts set aside: a component had collapsed onto a few rows")
    return dataclasses.replace(fitted, restarts=finite)


def _build(job: Job, facts: Facts, train: Data, *, key: PRNGKey) -> Inference:
    inference = PRESETS[job.preset].build(job.options, facts, key)
    # models of targets standardize inputs and targets themselves
    whole = PRESETS[job.preset].takes == "tables" and job.options.get("standardize")
    return standardized(inference, train, key=key) if whole else inference


def standardized(inference: Inference, train: Data, *, key: PRNGKey) -> Inference:
    """Return the inference started in columns of unit variance, still speaking of the data in its own units.

    Every model here holds its parameters in a frame. Members choose their start from standardized rows, and
    the frames they chose are then followed by the standardization: densities need no correction.
    """
    rows = train.rows()
    columns = Frame.standardizing(np.asarray(rows.x), rows.mask, rows.weight)
    unit = (np.asarray(rows.x, np.float64) - np.asarray(columns.shift)) / np.asarray(columns.scale)
    if rows.mask is not None:
        unit = np.where(rows.mask, unit, 0.0)
    started = inference.initialize_from(eqx.tree_at(lambda datum: datum.x, rows, unit), key=key)

    def follow(node: Any) -> Any:
        if not isinstance(node, Frame):
            return node
        return Frame(columns.shift + columns.scale * node.shift, columns.scale * node.scale)

    return jax.tree.map(follow, started, is_leaf=lambda node: isinstance(node, Frame))
