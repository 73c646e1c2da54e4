"""A run directory: checkpoints and metrics while a fit goes on, the fitted model when it is done."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jensen.errors import CorruptRunError, InputError, JensenWarning
from jensen.fit.checkpoints import clear_checkpoints, last_step, latest_checkpoint, save_checkpoint
from jensen.fit.fingerprint import array_digest
from jensen.fit.persist import load_tree, save_tree
from jensen.fit.result import Fitted, History
from jensen.fit.tracker import JSONLines, Tracker
from jensen.typing import PyTree


@dataclass(frozen=True)
class Run:
    """Where a fit keeps its checkpoints, ``metrics.jsonl`` and, at the end, the model.

    Args:
        folder: The run directory; made if it is not there.
        checkpoint_every: Epochs between checkpoints (steps, if the fit counts steps); by default 10 epochs
            or 1,000 steps.
        resume: Continue from the newest intact checkpoint, if there is one, to the same bits as a run never
            interrupted; otherwise whatever run the folder held is started over.
        trackers: More places that metrics go to besides ``metrics.jsonl``.

    Raises:
        InputError: If ``checkpoint_every`` is not positive.

    Warns:
        JensenWarning: By a fit that starts over where checkpoints were.
    """

    folder: Path | str
    checkpoint_every: int | None = None
    resume: bool = False
    trackers: Sequence[Tracker] = ()

    def __post_init__(self):
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise InputError(f"Run: checkpoint_every is {self.checkpoint_every}; it must be at least 1")


@dataclass(frozen=True)
class Snapshot:
    """What a checkpoint holds: arrays by tree path, in named groups, and JSON."""

    step: int
    arrays: dict[str, dict[str, Any]]
    facts: dict[str, Any]


class Session:
    """An open run directory.

    Args:
        run: The user's options.
        identity: Hashes of data and options by name; a run is resumed with the same ones only.

    Raises:
        InputError: If the run to resume was made with other data or options.
        CorruptRunError: If all its checkpoints are damaged.
    """

    def __init__(self, run: Run, identity: dict[str, str]):
        self.folder = Path(run.folder)
        self._identity = identity
        self.found = self._look() if run.resume else None
        step = self.found.step if self.found else 0
        if self.found is None:
            last = last_step(self.folder)
            if last is not None:
                started_over(self.folder, f"checkpoints up to step {last:,}")
            clear_checkpoints(self.folder)
        self._trackers = (JSONLines(self.folder / "metrics.jsonl", step=step), *run.trackers)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Send numbers to all trackers."""
        for tracker in self._trackers:
            tracker.log(step, values)

    def checkpoint(self, snapshot: Snapshot) -> None:
        """Save a snapshot, whole or not at all."""
        extra = {"identity": self._identity, "facts": snapshot.facts}
        save_checkpoint(self.folder, snapshot.step, snapshot.arrays, extra=extra)

    def close(self) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close()

    def _look(self) -> Snapshot | None:
        checkpoint = latest_checkpoint(self.folder)
        if checkpoint is None:
            return None
        arrays, extra = checkpoint.load()
        theirs = extra["identity"]
        for name, mine in self._identity.items():
            if theirs.get(name) != mine:
                raise InputError(
                    f"{self.folder} was made with another {name}: resume with the same one, or start over "
                    "with resume=False"
                )
        return Snapshot(checkpoint.step, arrays, extra["facts"])


def started_over(folder: Path, held: str) -> None:
    """Say that what a run directory held goes, and how it would have stayed."""
    warnings.warn(
        f"{folder} held {held}, which are removed, for the run starts over; with resume=True it goes on from "
        "them, and another folder keeps them",
        JensenWarning,
        stacklevel=3,
    )


def flatten(tree: PyTree) -> dict[str, Any]:
    """Return the arrays of a tree by path."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def unflatten(arrays: dict[str, Any], like: PyTree) -> PyTree:
    """Return a tree with the structure of another from arrays by path.

    Raises:
        CorruptRunError: If names, shapes or types differ.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    if set(names) != set(arrays):
        odd = sorted(set(names) ^ set(arrays))[0]
        raise CorruptRunError(
            f"the checkpoint and this fit disagree on {odd!r}; start over with resume=False"
        )
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if (arrays[name].shape, arrays[name].dtype) != (leaf.shape, leaf.dtype):
            raise CorruptRunError(f"{name} has another shape in the checkpoint; start over with resume=False")
    return jax.tree.unflatten(structure, [arrays[name] for name in names])


_ARRAYS = ("step", "bound", "validation_step", "validation")


def save(fitted: Fitted, folder: Path | str) -> None:
    """Save a fitted inference to a run directory: ``model.*`` and ``history.*``, no pickle.

    Args:
        fitted: What a fit returned.
        folder: The run directory; made if it is not there.

    Raises:
        InputError: If something in the inference has no name to be saved by (a lambda), or the files cannot
            be written.
    """
    history = fitted.history
    course = {name: np.asarray(getattr(history, name)) for name in _ARRAYS}
    course["restarts"] = np.asarray(fitted.restarts)
    facts = {f.name: getattr(history, f.name) for f in fields(history) if f.name not in _ARRAYS}
    extra = {"stop_reason": fitted.stop_reason, "history": facts, "meta": fitted.meta}
    extra["course"] = array_digest(course)
    save_tree(folder, "history", course)
    save_tree(folder, "model", fitted.inference, extra=extra)


def load(folder: Path | str, like: Any = None) -> Fitted:
    """Load what ``save`` wrote, every hash checked.

    Args:
        folder: The run directory.
        like: An inference of the same structure, needed where it holds a user's own classes or functions.

    Returns:
        The fitted inference with its history.

    Raises:
        CorruptRunError: If the run is missing, damaged, or of a newer format.
        InputError: If a template is needed or does not fit.
    """
    inference, extra = load_tree(folder, "model", like=like)
    course = dict(load_tree(folder, "history").tree)
    if array_digest(course) != extra["course"]:
        raise CorruptRunError(f"{folder}: history and model come from two different saves; save it again")
    restarts = course.pop("restarts")
    facts = {**extra["history"], "events": tuple(extra["history"]["events"])}
    history = History(**course, **facts)
    return Fitted(inference, history, extra["stop_reason"], restarts, extra["meta"])
