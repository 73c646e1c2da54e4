"""Checkpoints: trees of a run's past steps, each in a folder that appears whole or not at all."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jensen.errors import CorruptRunError, InputError, JensenWarning
from jensen.fit.files import make_folder, move, remove, writing
from jensen.fit.persist import Loaded, check_pair, load_tree, save_tree

CHECKPOINT = "state"
"""The name of the pair inside a checkpoint's folder."""

_STEP = re.compile(r"step-(\d{8,})")


class Checkpoint(NamedTuple):
    """A checkpoint that was read whole and found intact."""

    step: int
    folder: Path

    def load(self, *, like: Any = None) -> Loaded:
        """Read the checkpoint; see ``load_tree``."""
        return load_tree(self.folder, CHECKPOINT, like=like)


def save_checkpoint(
    folder: Path | str, step: int, tree: Any, *, extra: Mapping[str, Any] | None = None, keep: int = 2
) -> Path:
    """Save a tree as ``FOLDER/checkpoints/step-00001200/state.*``; the folder appears whole or not at all.

    Args:
        folder: The run directory.
        step: The step reached. Checkpoints of later steps belong to a future this run has left: they go.
        tree: What to save; objects without an import path are recorded, since resuming brings a template.
        extra: As in ``save_tree``.
        keep: How many checkpoints stay, this one included.

    Returns:
        The checkpoint's folder.

    Raises:
        InputError: It cannot be written; earlier checkpoints are untouched.
    """
    if keep < 1 or step < 0:
        raise InputError(f"a checkpoint needs keep >= 1 and step >= 0, got keep={keep} and step={step}")
    root = make_folder(Path(folder) / "checkpoints")
    target = root / f"step-{step:08d}"
    if target.is_dir():
        save_tree(target, CHECKPOINT, tree, extra=extra, unnamed="record")
    else:
        building = root / f".{target.name}.tmp"
        remove(building)
        try:
            save_tree(building, CHECKPOINT, tree, extra=extra, unnamed="record")
            move(building, target)
        except InputError:
            remove(building)
            raise
    steps = _steps(root)
    kept = sorted(other for other in steps if other <= step)[-keep:]
    for gone in set(steps) - set(kept):
        remove(steps[gone])
    for stray in root.glob(".step-*.tmp"):
        remove(stray)
    return target


def latest_checkpoint(folder: Path | str) -> Checkpoint | None:
    """Find the newest checkpoint of a run that is intact.

    Args:
        folder: The run directory.

    Returns:
        The checkpoint, every hash checked; None if the run has none.

    Raises:
        CorruptRunError: There are checkpoints and all of them are damaged.

    Warns:
        JensenWarning: A damaged checkpoint was passed over; the message names it.
    """
    root = Path(folder) / "checkpoints"
    steps = _steps(root)
    for step in sorted(steps, reverse=True):
        try:
            check_pair(steps[step], CHECKPOINT)
        except CorruptRunError as error:
            warnings.warn(f"passing over a damaged checkpoint: {error}", JensenWarning, stacklevel=2)
        else:
            return Checkpoint(step, steps[step])
    if steps:
        raise CorruptRunError(f"all {len(steps)} checkpoints in {root} are damaged; start the run afresh")
    return None


def clear_checkpoints(folder: Path | str) -> None:
    """Remove all checkpoints of a run, so that a run started afresh there cannot resume an older one.

    Raises:
        InputError: They cannot be removed.
    """
    root = Path(folder) / "checkpoints"
    remove(root)
    if root.exists():
        raise InputError(f"could not remove {root}, from which a later run would resume; remove it yourself")


def last_step(folder: Path | str) -> int | None:
    """Return the step of a run's newest checkpoint, intact or not; None if it has none."""
    return max(_steps(Path(folder) / "checkpoints"), default=None)


def _steps(root: Path) -> dict[int, Path]:
    with writing(root):
        found = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return {int(match[1]): path for path in found if (match := _STEP.fullmatch(path.name))}
