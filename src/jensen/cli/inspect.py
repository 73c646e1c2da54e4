"""Commands on what is already fitted: gap, sample, report, info."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jensen.cli import samples
from jensen.cli.options import OPTIONS, whole
from jensen.cli.presets import GAP_ROWS, PRESETS
from jensen.cli.runs import Job, trained
from jensen.cli.shell import cache_folder, start_jax
from jensen.errors import CorruptRunError, InputError, nearest

if TYPE_CHECKING:
    from jensen.fit import Fitted


def gap(given: dict[str, Any]) -> int:
    """Print where the bound is lost, on the run's held-out rows or on other data.

    Raises:
        InputError: Data that cannot be read or does not fit the model.
        CorruptRunError: No such run, or a damaged one.
    """
    job = Job.of(Path(given["run"]))
    usual = job.options.get("gap_rows") or GAP_ROWS[PRESETS[job.preset].takes]
    rows, seed = _count(given["rows"], "--rows", usual), _seed(given["seed"])
    target = _writable(given["json"], "--json")
    start_jax()
    from jensen import datasets
    from jensen.cli import causality, conditions, data, evaluation
    from jensen.cli.training import keys

    fitted, ahead = _load(job), None
    if given["smoothing"]:
        causality.check_filters(job)
    if given["data"] is None:
        split, chosen = evaluation.own_rows(data.divided(job), fitted)
    else:
        evaluation.check_speaks(job.preset, fitted)
        model = fitted.inference.model
        split, chosen = given["data"], data.read_like(job.preset, given["data"], job.options, model.data_dim)
        datasets.check_features(chosen.x, model.data_dim, model=type(model).__name__)
        if isinstance(chosen, datasets.Dataset) and chosen.cond is not None:
            chosen = conditions.aligned(chosen, data.names_of(job))
        if "likelihood" in job.options and isinstance(chosen, datasets.Dataset):
            datasets.check_support(chosen.x, job.options["likelihood"], chosen.mask)
    import jax

    from jensen.report import facts

    rows = evaluation.looked_at(rows, chosen, fitted)
    if given["smoothing"]:
        print("fitting a posterior that looks ahead; the model stays as it is", flush=True)
        ahead = causality.smoothing(job, data.divided(job), fitted)
    print(f"measuring the gap on {evaluation.counted(rows, chosen, split)}, with full effort", flush=True)
    begun, key = time.perf_counter(), keys(job)[2] if seed is None else jax.random.key(seed)
    found = evaluation.measure(fitted, chosen, split=split, rows=rows, key=key, smoothing=ahead)
    print(found)
    print(f"gap took {facts.duration(time.perf_counter() - begun)}")
    if target is not None:
        evaluation.write_gap(target, found)
        print(f"written: {target}")
    return 0


def sample(given: dict[str, Any]) -> int:
    """Draw new rows or sequences; print them as csv, or write them to a file.

    Raises:
        InputError: A file of a kind that rows cannot go to, or that cannot be written.
        CorruptRunError: No such run, or a damaged one.
    """
    job = Job.of(Path(given["run"]))
    num, seed = _count(given["num"], "--num", 16), _seed(given["seed"]) or 0
    target = _writable(given["out"], "--out", samples.FILES)
    steps = None if given["steps"] is None else _count(given["steps"], "--steps", 1)
    start_jax()
    from jensen.cli import conditions
    from jensen.cli.data import divided

    fitted, rows = _load(job), divided(job)
    data = rows.dataset
    if PRESETS[job.preset].takes == "targets":
        samples.refuse_steps(steps)
        data, drawn, whose = conditions.sample(fitted, rows, num, given["at"], seed)
    else:
        if given["at"] is not None:
            raise InputError(f"--at names inputs, and {job.preset} has none; leave it out")
        drawn, whose = samples.draw(fitted, data, num, steps, seed), samples.followed(data)
    if target is None:
        if whose is not None:
            print(whose, file=sys.stderr)
        sys.stdout.write(samples.csv_text(drawn, data))
        return 0
    from jensen.fit.files import write_atomically

    write_atomically(target, samples.encoded(drawn, target.suffix.lower(), data))
    print(f"written: {target} ({num} {PRESETS[job.preset].noun}{'' if whose is None else ', ' + whose})")
    return 0


def report(given: dict[str, Any]) -> int:
    """Write the report of a run again.

    Raises:
        InputError: Its data cannot be read, or the file cannot be written.
        CorruptRunError: No such run, or a damaged one.
    """
    job = Job.of(Path(given["run"]))
    start_jax()
    from jensen.cli import data, evaluation

    fitted = _load(job)
    rows = data.divided(job)
    path = job.folder / "gap.json"
    try:
        kept = json.loads(path.read_bytes()) if path.exists() else None
    except ValueError:
        raise CorruptRunError(
            f"{path} is damaged; write it again with `jensen gap {job.folder} --json {path}`"
        ) from None
    evaluation.write_report(job, rows, fitted, kept)
    print(f"report: {job.folder / 'report.html'}")
    return 0


def info(given: dict[str, Any]) -> int:
    """Print versions, devices, folders, presets and data sets."""
    import importlib.metadata
    import os
    import platform

    import jax

    import jensen
    from jensen import datasets

    others = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("jax", "jaxlib", "equinox", "optax", "numpyro")
    )
    devices = ", ".join(str(device) for device in jax.devices())
    for name, value in (
        ("jensen", jensen.__version__),
        ("with", others),
        ("python", f"{platform.python_version()} on {platform.platform()}"),
        ("devices", f"{devices} ({os.cpu_count()} CPU cores)"),
        ("cache", str(cache_folder())),
        ("presets", ", ".join(PRESETS)),
        ("data sets", ", ".join(datasets.names())),
    ):
        print(f"{name:<11}{value}")
    return 0


def _load(job: Job) -> Fitted:
    from jensen import fit

    if not (job.folder / "model.json").exists():
        raise CorruptRunError(
            f"{job.folder} is not fitted yet; continue with `jensen fit --resume {job.folder}`"
        )
    if not trained(job.folder):
        fit.load(job.folder)  # a damaged file is named first
        raise CorruptRunError(f"{job.folder} is unfinished; continue with `jensen fit --resume {job.folder}`")
    return fit.load(job.folder)


def _count(written: Any, flag: str, default: int) -> int:
    if written is None:
        return default
    try:
        return whole(1)(written)
    except ValueError as error:
        raise InputError(f"{flag} is {written}; {error}") from None


def _seed(written: Any) -> int | None:
    return None if written is None else OPTIONS["seed"].value(written)


def _writable(written: str | None, flag: str, endings: tuple[str, ...] = ()) -> Path | None:
    """Check a target before any work is done."""
    if written is None:
        return None
    path = Path(written).expanduser()
    if endings and path.suffix.lower() not in endings:
        known = [ending.lstrip(".") for ending in endings]
        hint = nearest(path.suffix.lstrip("."), known)
        raise InputError(f"{flag} {written}: cannot write files that end in {path.suffix!r}{hint}")
    if path.is_dir():
        raise InputError(f"{flag} {written} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{flag} {written}: the folder {str(path.parent)!r} does not exist; make it first")
    return path
