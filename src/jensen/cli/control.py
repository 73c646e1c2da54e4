"""``jensen control``: plan, imagine, explore, infer what is wanted; one run directory and report for each."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import yaml

from jensen.cli.control_options import CONTROL, DEFAULTS, TITLES, example
from jensen.cli.runs import CONTROLS, check_free, damaged, read_config, start_folder, undo
from jensen.cli.shell import Interrupted, start_jax
from jensen.errors import InputError

if TYPE_CHECKING:
    from jensen.fit import Fitted
    from jensen.report import blocks


@dataclass(frozen=True)
class Work:
    """What is done, as the run's config file says it.

    Attributes:
        part: Which part of the wing.
        env: Where.
        options: All that was written, and the defaults of the command.
        folder: The run directory.
    """

    part: str
    env: str
    options: dict[str, Any]
    folder: Path

    def config(self) -> bytes:
        """Return the content of the config file, which ``--config`` takes as well."""
        plain = {CONTROLS: self.part, "env": self.env, **self.options}
        head = f"# jensen control {self.part} --config THIS does the same again\n"
        return (head + yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)).encode()

    @classmethod
    def of(cls, folder: Path, part: str) -> Work:
        """Read a run's config file.

        Raises:
            CorruptRunError: There is no run, or its config file is damaged.
            InputError: It is a run of another command.
        """
        plain = read_config(folder)
        found = plain.pop(CONTROLS, None)
        if found is None:
            raise InputError(f"{folder} holds no run of `jensen control`; choose another --resume")
        if found != part:
            raise InputError(f"{folder} holds `jensen control {found}`; go on with that")
        try:
            env = str(plain.pop("env"))
            options = {name: CONTROL[part][name].value(value) for name, value in plain.items()}
        except (KeyError, InputError) as error:
            raise damaged(folder, error) from None
        return cls(part, env, options, folder)


@dataclass(frozen=True)
class Outcome:
    """What a part hands to the report.

    Attributes:
        lead: One line under the title.
        sections: Of the report, in order.
        rows: Names and numbers, printed and kept.
        numbers: What to see first in the report: name, value, note.
        figures: All figures of all runs, JSON-ready.
        fitted: What was fitted, whose training the report shows; None where nothing was.
    """

    lead: str
    sections: Sequence[blocks.Section]
    rows: Sequence[tuple[str, str]]
    numbers: Sequence[tuple[str, str, str]]
    figures: dict[str, Any] = field(default_factory=dict)
    fitted: Fitted | None = None


@runtime_checkable
class Engine(Protocol):
    """A part of the wing at the command."""

    def check(self, work: Work) -> None:
        """Refuse what cannot work, before a folder is made."""
        ...

    def run(self, work: Work) -> Outcome:
        """Do it."""
        ...


def control(given: dict[str, Any]) -> int:
    """Carry out one part, and report.

    Args:
        given: What was written; None where nothing was.

    Returns:
        0.

    Raises:
        InputError: Anything the user can mend.
        Interrupted: Ctrl-C.
    """
    part = given["part"]
    written = {name: given[name] for name in CONTROL[part] if given[name] is not None}
    env = given["source"] or given["env"]
    if given["resume"] is not None:
        if env or written or given["out"] or given["overwrite"]:
            raise InputError("--resume goes on with a run's own options; leave everything else out")
        return _run(Work.of(Path(given["resume"]).expanduser(), part), fresh=False)
    if env is None:
        raise InputError(f"where? Name an environment, as in `{example(part)}`")
    options = DEFAULTS[part] | {name: CONTROL[part][name].value(value) for name, value in written.items()}
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in env.split("/")[-1])
    work = Work(part, env, options, Path(given["out"] or f"runs/{part}-{stem}").expanduser())
    check_free(work.folder, overwrite=given["overwrite"])
    return _run(work, fresh=True)


def _run(work: Work, *, fresh: bool) -> int:
    start_jax()
    from jensen.cli.data import in_flags

    with in_flags():
        engine = _engine(work.part)
        engine.check(work)
        return _carry_out(work, engine, fresh=fresh)


def _engine(part: str) -> Engine:
    import importlib

    return importlib.import_module(f"jensen.cli.control_{part}").engine()


def _carry_out(work: Work, engine: Engine, *, fresh: bool) -> int:
    made = start_folder(work) if fresh else []
    began = time.perf_counter()
    try:
        outcome = engine.run(work)
    except KeyboardInterrupt:
        again = f"continue with `jensen control {work.part} --resume {work.folder}`"
        raise Interrupted(again) from None
    except (ValueError, FloatingPointError) as error:
        if fresh and not _begun(work.folder):
            undo(work, made)
            raise
        again = f"`jensen control {work.part} --resume {work.folder}`"
        kind = InputError if isinstance(error, InputError) else type(error)
        raise kind(f"{error}; what was done so far is kept, {again} goes on with it") from error
    _keep(work, outcome, time.perf_counter() - began)
    return 0


def _begun(folder: Path) -> bool:
    """Say whether there is something to keep besides the config file."""
    return len(list(folder.iterdir())) > 1


def _keep(work: Work, outcome: Outcome, seconds: float) -> None:
    """Print the numbers, keep them, and write the report."""
    from jensen import report
    from jensen.fit.files import write_atomically
    from jensen.report import facts

    width = max(len(name) for name, _ in outcome.rows)
    for name, value in outcome.rows:
        print(f"{name:<{width}}  {value}")
    kept = {**dict(outcome.rows), **outcome.figures}
    text = json.dumps(kept, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(work.folder / "evaluation.json", text.encode())
    report.write_sections(
        work.folder / "report.html",
        outcome.fitted,
        outcome.sections,
        title=f"{TITLES[work.part]} {work.env}",
        lead=outcome.lead,
        numbers=outcome.numbers,
    )
    print(f"took {facts.duration(seconds)}")
    print(f"report: {work.folder / 'report.html'}")
