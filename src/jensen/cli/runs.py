"""The run directory as the command sees it: where it is, what state it is in, its config file."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import yaml

from jensen.cli.options import read_options
from jensen.cli.presets import PRESETS
from jensen.errors import CorruptRunError, InputError

CONFIG = "config.yaml"
OWN = (CONFIG, "metrics.jsonl", "gap.json", "evaluation.json", "report.html", "agent.json")
"""Files of a run besides the model, the history and the checkpoints."""

OF_CONTROL = ("round-[0-9][0-9][0-9]", "actor")
"""Folders inside a run of ``jensen control``: what each round collected and fitted, and the actor."""

IMITATES = "imitate"
"""Key of a config file that makes the run an imitation: where the demonstrations come from."""

CONTROLS = "control"
"""Key of a config file that makes the run one of ``jensen control``: which part."""


@runtime_checkable
class Described(Protocol):
    """What a run directory is made for: a fit, an imitation, a part of control."""

    @property
    def folder(self) -> Path:
        """The run directory."""
        ...

    def config(self) -> bytes:
        """Return the content of the config file."""
        ...


State = Literal["new", "unfinished", "finished"]


@dataclass(frozen=True)
class Job:
    """What a run does, as its config file says it.

    Attributes:
        preset: Name of the preset.
        source: Where the data comes from.
        options: Settled options.
        folder: The run directory.
    """

    preset: str
    source: str
    options: dict[str, Any]
    folder: Path

    def config(self) -> bytes:
        """The content of the config file, which ``--config`` takes as well."""
        head = "# jensen fit --config THIS makes the same fit again\n"
        plain = {"preset": self.preset, "data": self.source, **self.options}
        return (head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).encode()

    @classmethod
    def of(cls, folder: Path) -> Job:
        """Read a run's config file.

        Raises:
            CorruptRunError: There is no run, or its config file is damaged.
            InputError: It is no fit, but an imitation, or a run of ``jensen control``.
        """
        plain = read_config(folder)
        if CONTROLS in plain:
            raise InputError(
                f"{folder} holds a run of `jensen control {plain[CONTROLS]}`: look at its report.html, or go "
                f"on with `jensen control {plain[CONTROLS]} --resume {folder}`"
            )
        if IMITATES in plain:
            raise InputError(
                f"{folder} holds an imitation: look at its report.html, go on with `jensen imitate --resume "
                f"{folder}`, or act with control.load_policy"
            )
        try:
            preset, source = plain.pop("preset"), plain.pop("data")
            if preset not in PRESETS:
                raise InputError(f"unknown preset {preset!r}")
            return cls(preset, source, read_options(plain), folder)
        except (AttributeError, KeyError, TypeError, InputError) as error:
            raise damaged(folder, error) from None


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config file of a run directory.

    Raises:
        CorruptRunError: There is no run, or its config file is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        there = "there is no such folder" if not folder.exists() else f"{CONFIG} is missing"
        raise CorruptRunError(f"no run at {folder}: {there}; check the path")
    try:
        plain = yaml.safe_load(path.read_bytes())
        if not isinstance(plain, dict):
            raise TypeError(f"it holds a {type(plain).__name__}, not names and values")
        return plain
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise damaged(folder, error) from None


def damaged(folder: Path, error: Exception) -> CorruptRunError:
    """Say that a config file cannot be used, and why."""
    reason = " ".join(str(error).split())[:80] or type(error).__name__
    return CorruptRunError(f"{folder / CONFIG} is damaged ({reason}); restore it from a copy")


def state(folder: Path) -> State:
    """Say how far the run in a folder has come.

    Raises:
        InputError: Something other than a run is in the way.
    """
    if not folder.exists():
        return "new"
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder for a run; choose another --out")
    if not (folder / CONFIG).exists():
        if any(folder.iterdir()):
            raise InputError(f"{folder} holds files but no run; choose another --out")
        return "new"
    about = described(folder)
    unmeasured = about is not None and about.options.get("gap_rows") == 0
    measured = unmeasured or (folder / "gap.json").exists()
    done = measured and (folder / "report.html").exists() and trained(folder)
    return "finished" if done else "unfinished"


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a place where a new run cannot go.

    Raises:
        InputError: Something is there already.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file, not a folder for a run; choose another --out")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (folder / CONFIG).exists():
        raise InputError(f"{folder} holds files but no run; choose another --out")
    if not overwrite:
        raise InputError(f"{folder} holds a run; choose another --out, or replace it with --overwrite")


def described(folder: Path) -> Job | None:
    """Return what a run's config file says; None where it cannot be read."""
    try:
        return Job.of(folder)
    except (CorruptRunError, InputError):
        return None


def trained(folder: Path) -> bool:
    """Say whether the fit itself ran to its end. Whether the files are intact is for loading to find out."""
    try:
        reason = json.loads((folder / "model.json").read_bytes())["extra"]["stop_reason"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return reason != "interrupted"


def start_folder(job: Described) -> list[Path]:
    """Make the run directory, or empty it of the run it held, and put the config file there.

    Returns:
        The folders that were not there before, the innermost first.
    """
    from jensen.fit.files import make_folder, write_atomically

    made = [folder for folder in (job.folder, *job.folder.parents) if not folder.exists()]
    make_folder(job.folder)
    empty(job.folder)
    try:
        write_atomically(job.folder / CONFIG, job.config())
    except InputError:
        undo(job, made)
        raise
    return made


def empty(folder: Path) -> None:
    """Remove what a run has written; anything else in the folder stays."""
    import shutil

    from jensen.fit.checkpoints import clear_checkpoints
    from jensen.fit.files import remove

    clear_checkpoints(folder)
    for part in OF_CONTROL:
        for own in folder.glob(part):
            shutil.rmtree(own)
    for name in (
        *OWN,
        *(f"{stem}.{end}" for stem in ("model", "history") for end in ("json", "safetensors")),
    ):
        remove(folder / name)


def undo(job: Described, made: list[Path]) -> None:
    """Leave things as they were before a fit that came to nothing."""
    with contextlib.suppress(OSError, InputError):
        empty(job.folder)
        for folder in made:
            folder.rmdir()
