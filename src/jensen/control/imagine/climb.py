"""The loop of every fit, run over start states: an actor-critic's course from its first step to its last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.imagine.loss import ImagineLoss, Learner, Memory, Path, Settings
from jensen.control.spaces import ActionSpace
from jensen.core import Datum
from jensen.fit import Run
from jensen.fit.chunk import Program, State, batch_at, chunk_length, start
from jensen.fit.course import Calendar, Course, checkpoint_period
from jensen.fit.fingerprint import Static, array_digest
from jensen.fit.minimize import Outcome, minimize
from jensen.fit.plans import SomeRows
from jensen.fit.prepare import Split
from jensen.fit.progress import Progress
from jensen.fit.run import Session
from jensen.typing import PRNGKey, PyTree


@dataclass(frozen=True)
class Climb:
    """An actor-critic about to learn.

    Attributes:
        program: What is compiled.
        split: The learner: networks that are trained, arrays of the world, and the rest.
        rows: Start states, on the device.
        state: Where to start.
        course: The host's side.
    """

    program: Program
    split: Split
    rows: Datum
    state: State
    course: Course

    def run(self) -> Outcome:
        """Take all steps under a progress bar, unless a resumed run had ended already."""
        course, frozen = self.course, self.split.frozen
        try:
            if course.reason is not None:
                return Outcome(self.state, course.reason)
            with Progress(course.calendar.total, int(self.state.step)) as course.bar:
                outcome = minimize(
                    self.program,
                    self.state,
                    frozen,
                    self.rows,
                    boundary=course.calendar.boundary,
                    watch=course.watch,
                    explain=self._explain,
                )
            course.checkpoint(outcome.state)
            return outcome
        finally:
            course.close()

    def _explain(self, state: State) -> str:
        """Say what of the step after ``state`` is not finite."""
        batch, key = batch_at(self.program, state, self.rows)
        loss = self.program.loss
        assert isinstance(loss, ImagineLoss)

        @jax.jit
        def follow(params: PyTree, frozen: PyTree, batch: Datum) -> Path:
            return loss.paths(loss.join(params, frozen), batch, key=key)

        paths = follow(state.params, self.split.frozen, batch)
        for t in range(loss.settings.horizon):
            for name, part in zip(Path._fields, paths, strict=True):
                at = t + 1 if name == "features" else t
                if not np.isfinite(np.asarray(part[:, at])).all():
                    return f"{name} are not finite after {t + 1} imagined steps"
        return "the gradient is not finite"


def climb(
    learner: Learner,
    starts: PyTree,
    space: ActionSpace,
    how: Settings,
    unit: float,
    *,
    run: Run | None,
    key: PRNGKey,
) -> Climb:
    """Do all that comes before the first step.

    Args:
        learner: Actor and critic in their world.
        starts: Stacked start states.
        space: Of actions.
        how: Settings.
        unit: Of returns.
        run: A run directory.
        key: Randomness of batches and paths.
    """
    num = len(jax.tree.leaves(starts)[0])
    split = Split.of(learner, _networks)
    split.check_trainable()
    loss = ImagineLoss(split.static, Static(space), how, unit)
    program = Program(loss, Static(_optimizer(how)), SomeRows(min(how.batch_size, num)))
    # the loop picks rows of a Datum: a state is what a path is conditioned on, and nothing is observed
    rows = Datum(jnp.zeros((num, 0)), cond=starts)
    memory = Memory.begun(split.params.learned.critic, unit, how.steps)
    state = start(program, split.params, memory, key)
    session = None if run is None else Session(run, _identity(program, split, rows, key))
    calendar = Calendar(
        total=how.steps,
        chunk=chunk_length(split.params, min(how.batch_size, num) * how.horizon),
        judge=0,
        checkpoint=0 if run is None else checkpoint_period(run.checkpoint_every, None),
    )
    course = Course(split, calendar, num_data=num, session=session)
    return Climb(program, split, rows, course.resume(state), course)


def _networks(learner: Any) -> tuple[Any, Any]:
    return learner.learned.actor, learner.learned.critic


def _optimizer(how: Settings) -> Any:
    """Return Adam with a rate, and a greatest norm, for each of the two."""
    import optax

    def descent(rate: float) -> Any:
        schedule = optax.cosine_decay_schedule(rate, how.steps)
        return optax.chain(optax.clip_by_global_norm(how.clip), optax.adam(schedule))

    return optax.partition({"actor": descent(how.actor_rate), "critic": descent(how.critic_rate)}, _names)


def _names(params: Learner) -> PyTree:
    """Say of every array whose it is."""

    def named(path: tuple[Any, ...], leaf: Any) -> str:
        return "actor" if ".actor" in jax.tree_util.keystr(path) else "critic"

    return jax.tree_util.tree_map_with_path(named, params)


def _identity(program: Program, split: Split, rows: Datum, key: PRNGKey) -> dict[str, str]:
    """Hash what a resumed run must share with the run it continues."""
    loss = program.loss
    assert isinstance(loss, ImagineLoss)
    return {
        "set of start states": array_digest(rows),
        "world or actor-critic": split.static.digest() + array_digest((split.params, split.frozen)),
        "action space": loss.space.digest(),
        "way to learn": repr(loss.settings),
        "key": array_digest(jax.random.key_data(key)),
    }
