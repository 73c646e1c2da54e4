"""The host's side of a gradient fit: what happens between two compiled chunks."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from jensen.errors import InputError
from jensen.fit.chunk import State
from jensen.fit.evaluate import Blocks, bounds
from jensen.fit.prepare import Split
from jensen.fit.progress import Progress
from jensen.fit.result import History
from jensen.fit.run import Session, Snapshot, flatten, unflatten
from jensen.fit.stop import AbstractStop, Seen
from jensen.typing import PRNGKey, PyTree

CHECKPOINT_EPOCHS = 10
CHECKPOINT_STEPS = 1_000

JUDGE_STEPS = 100
"""Least steps between validations where a fit counts steps, not epochs."""


@dataclass(frozen=True)
class Validation:
    """Held-out rows and the one key they are always evaluated with, so that bounds are paired."""

    blocks: Blocks
    weights: np.ndarray | None
    key: PRNGKey

    def bound(self, split: Split, params: PyTree, num_data: int) -> float:
        """Return the weighted mean bound, nats per datum."""
        each = bounds(split, params, self.blocks, key=self.key, num_data=num_data)
        return float(np.average(each, weights=self.weights))


@dataclass(frozen=True)
class Calendar:
    """At which steps the host looks.

    Attributes:
        total: Steps of the whole fit.
        chunk: Most steps between two looks.
        judge: Steps between two validations and looks of the stopping rule; 0 for none. Nothing else
            decides when a fit ends, so that checkpoints and the chunk leave no mark on it.
        checkpoint: Steps between checkpoints; 0 for none.
    """

    total: int
    chunk: int
    judge: int
    checkpoint: int

    def boundary(self, step: int) -> int:
        """Return the next step to look at after ``step``; the same step at the end."""
        ends = [(step // every + 1) * every for every in (self.judge, self.checkpoint) if every]
        return min(self.total, step + self.chunk, *ends)


class Course:
    """The course of one fit so far: bounds, validations, events, the best parameters.

    Args:
        split: The inference.
        calendar: When to look.
        num_data: Size of the training set.
        validation: Held-out rows.
        stop: The stopping rule.
        session: The run directory.
    """

    def __init__(
        self,
        split: Split,
        calendar: Calendar,
        *,
        num_data: int,
        validation: Validation | None = None,
        stop: AbstractStop | None = None,
        session: Session | None = None,
    ):
        self.calendar = calendar
        self.reason: str | None = None
        self.bar = Progress(calendar.total)
        self._split, self._num_data = split, num_data
        self._validation, self._stop, self._session = validation, stop, session
        self._bounds = np.zeros(calendar.total, np.float32)
        self._checked: list[tuple[int, float]] = []
        self._best: PyTree = None
        self._events: tuple[str, ...] = ()
        self._began, self._earlier = time.perf_counter(), 0.0

    def watch(self, state: State, values: np.ndarray, events: tuple[str, ...]) -> str | None:
        """Record a chunk, validate, report, checkpoint; return the reason to stop, if there is one."""
        step = int(state.step)
        self._bounds[step - len(values) : step] = values
        self._events += events
        judge = self.calendar.judge
        due = judge > 0 and (step % judge == 0 or step == self.calendar.total)
        checked = due and self._validation is not None
        if checked:
            self._validate(step, state.params)
        latest = self._checked[-1][1] if self._checked else None
        self._report(step, float(values.mean()), latest if checked else None)
        self.bar.show(step, float(values.mean()), latest)
        if self._stop is not None and due:
            self.reason = self._stop.reason(Seen(self._bounds[:step], self._validated(), checked))
        if self.calendar.checkpoint and step % self.calendar.checkpoint == 0:
            self.checkpoint(state)
        return self.reason

    def checkpoint(self, state: State) -> None:
        """Save everything that the rest of the fit depends on."""
        if self._session is None:
            return
        step = int(state.step)
        steps, values = self._steps(), self._validated()
        arrays = {
            "state": flatten(state),
            "best": flatten(self._best),
            "course": {"bounds": self._bounds[:step], "steps": steps, "validation": values},
        }
        facts = {"events": self._events, "reason": self.reason, "seconds": self._seconds()}
        self._session.checkpoint(Snapshot(step, arrays, facts))

    def close(self) -> None:
        """Close the trackers."""
        if self._session is not None:
            self._session.close()

    def resume(self, state: State) -> State:
        """Return the state to start from: the checkpoint's, if the session found one."""
        found = self._session.found if self._session else None
        if found is None:
            return state
        if found.step > self.calendar.total:
            raise InputError(
                f"the run is at step {found.step}, past the {self.calendar.total} asked for: ask for more"
            )
        course = found.arrays["course"]
        self._bounds[: found.step] = course["bounds"]
        pairs = zip(course["steps"].tolist(), course["validation"].tolist(), strict=True)
        self._checked = list(pairs)
        if self._checked:
            self._best = unflatten(found.arrays["best"], state.params)
        self._events, self._earlier = tuple(found.facts["events"]), found.facts["seconds"]
        self.reason = found.facts["reason"]
        return unflatten(found.arrays["state"], state)

    def parameters(self, state: State) -> PyTree:
        """Return the parameters to keep: the best validated ones under a rule that asks for it."""
        wants = self._stop is not None and self._stop.needs_validation
        return self._best if wants and self._best is not None else state.params

    def history(self, step: int) -> History:
        """Return the record up to a step."""
        return History(
            step=np.arange(1, step + 1),
            bound=self._bounds[:step].astype(np.float64),
            validation_step=self._steps(),
            validation=self._validated(),
            events=self._events,
            seconds=self._seconds(),
            chunk=self.calendar.chunk,
        )

    def _validate(self, step: int, params: PyTree) -> None:
        assert self._validation is not None
        value = self._validation.bound(self._split, params, self._num_data)
        best = max((v for _, v in self._checked if not np.isnan(v)), default=-np.inf)
        if self._best is None or value > best:
            self._best = params
        self._checked.append((step, value))

    def _report(self, step: int, bound: float, validation: float | None) -> None:
        if self._session is not None:
            values = {"bound": bound} | ({} if validation is None else {"validation": validation})
            self._session.log(step, values)

    def _steps(self) -> np.ndarray:
        return np.array([step for step, _ in self._checked], np.int64)

    def _validated(self) -> np.ndarray:
        return np.array([value for _, value in self._checked], np.float64)

    def _seconds(self) -> float:
        return self._earlier + time.perf_counter() - self._began


def checkpoint_period(every: int | None, steps_per_epoch: int | None) -> int:
    """Return the steps between checkpoints.

    Args:
        every: Epochs or steps, as the user said; None for the defaults.
        steps_per_epoch: Steps of an epoch, or None if the fit counts steps.
    """
    if steps_per_epoch is None:
        return every or CHECKPOINT_STEPS
    return (every or CHECKPOINT_EPOCHS) * steps_per_epoch
