"""What follows a fit: the gap on rows it has not seen, and the report."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jensen import diagnose, report
from jensen.cli.data import Rows, subset
from jensen.cli.presets import GAP_ROWS
from jensen.cli.runs import Job
from jensen.cli.training import keys
from jensen.core import AbstractPosterior, IndexesData, SharesLatent
from jensen.datasets import Dataset, Sequences
from jensen.errors import InputError
from jensen.fit import Fitted
from jensen.fit.files import write_atomically
from jensen.report import facts

if TYPE_CHECKING:
    from jensen.diagnose import Gap
    from jensen.typing import PRNGKey

ROWS, SEQUENCES = GAP_ROWS["tables"], GAP_ROWS["sequences"]
"""Rows, or sequences, the gap is measured on after a fit."""

QUICK = diagnose.Effort(temperatures=100, chains=8, samples=400, steps=600, draws=4)
"""Enough for a table right after a fit; ``jensen gap`` works harder."""

QUICK_OF_SEQUENCES = diagnose.Effort(particles=200, samples=50, steps=200, draws=4)
"""The same for sequences, each of which is as much work as many rows."""


def finish(job: Job, rows: Rows, fitted: Fitted) -> None:
    """Measure the gap, print it, and write ``gap.json`` and ``report.html``.

    Raises:
        InputError: A file cannot be written.
    """
    split, data = own_rows(rows, fitted)
    default, effort = (ROWS, QUICK) if isinstance(data, Dataset) else (SEQUENCES, QUICK_OF_SEQUENCES)
    gap, count, took = None, job.options.get("gap_rows", default), []
    if count:
        count = looked_at(count, data, fitted)
        harder = f"`jensen gap {job.folder}` works harder on the same"
        print(f"measuring the gap on {counted(count, data, split)}, quickly; {harder}", flush=True)
        begun = time.perf_counter()
        gap = measure(fitted, data, split=split, rows=count, effort=effort, key=keys(job)[2])
        took.append(f"gap took {facts.duration(time.perf_counter() - begun)}")
        print(gap, flush=True)
        write_gap(job.folder / "gap.json", gap)
    begun = time.perf_counter()
    write_report(job, rows, fitted, gap)
    took.append(f"report took {facts.duration(time.perf_counter() - begun)}")
    print("; ".join(took))


def looked_at(rows: int, data: Dataset | Sequences, fitted: Fitted) -> int:
    """Return how many rows a gap looks at: all of them where one q is behind all data."""
    return len(data.x) if isinstance(fitted.inference.posterior, SharesLatent) else rows


def check_speaks(preset: str, fitted: Fitted) -> None:
    """Refuse other data where one q is behind all of the run's own.

    Raises:
        InputError: Naming what scores other rows.
    """
    if isinstance(fitted.inference.posterior, SharesLatent):
        raise InputError(
            f"jensen gap: {preset} has one q behind all its training rows, with no bound for others; leave "
            "DATA out, or score them in Python with use.score"
        )


def counted(rows: int, data: Dataset | Sequences, split: str) -> str:
    """Say how many rows, or sequences, of how many are looked at."""
    noun, n = ("rows" if isinstance(data, Dataset) else "sequences"), len(data.x)
    if n == 1:
        one = {"held out": "held-out ", "train": ""}.get(split)
        return f"the one {noun[:-1]} of {split}" if one is None else f"the one {one}{noun[:-1]}"
    which = {"held out": f"held-out {noun}", "train": f"training {noun}"}.get(split, f"{noun} of {split}")
    return f"{min(rows, n)} of {n} {which}"


def own_rows(rows: Rows, fitted: Fitted) -> tuple[str, Dataset | Sequences]:
    """Return the held-out rows; the training rows where there are none, or where one q is behind all data."""
    if len(rows.held) and not isinstance(fitted.inference.posterior, SharesLatent):
        return "held out", subset(rows.dataset, rows.held)
    return "train", subset(rows.dataset, rows.train)


def measure(
    fitted: Fitted,
    data: Dataset | Sequences,
    *,
    split: str,
    rows: int,
    effort: diagnose.Effort | None = None,
    key: PRNGKey,
    smoothing: AbstractPosterior | None = None,
) -> Gap:
    """Measure the gap on some rows of a data set, and the cost of filtering against a q that looks ahead."""
    from jensen.cli.data import as_data

    settings: dict[str, Any] = {"rows": rows, "effort": effort, "split": split, "smoothing": smoothing}
    return diagnose.gap(fitted.inference, as_data(data), key=key, **settings)


def write_gap(path: Path, gap: Gap) -> None:
    """Write a gap as JSON, whole or not at all."""
    write_atomically(path, (json.dumps(gap.to_json(), indent=1, allow_nan=False) + "\n").encode())


def write_report(job: Job, rows: Rows, fitted: Fitted, gap: Any) -> None:
    """Write ``report.html``."""
    per_datum = isinstance(fitted.inference.posterior, IndexesData)
    shown: Any = subset(rows.dataset, rows.train) if per_datum else rows.dataset
    told_apart = isinstance(shown, Sequences) or shown.cond is not None
    if told_apart and len(rows.held) and not per_datum:
        shown = subset(rows.dataset, rows.held), subset(rows.dataset, rows.train)
    title = f"{job.preset} of {rows.dataset.name}"
    report.write(job.folder / "report.html", fitted, dataset=shown, gap=gap, key=keys(job)[2], title=title)
