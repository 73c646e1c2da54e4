"""``jensen fit``: from a preset and a file to a run directory with a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jensen.cli.options import OPTIONS, flags, read_options
from jensen.cli.presets import COMMON, PRESETS, check_used, settle
from jensen.cli.runs import Job, described, start_folder, state, trained, undo
from jensen.cli.shell import Interrupted, start_jax
from jensen.errors import CorruptRunError, InputError

if TYPE_CHECKING:
    from jensen.cli.data import Rows
    from jensen.fit import Fitted


NOT_SHOWN = {name for common in COMMON.values() for name in common} - {"standardize"} | {"likelihood"}
"""Options that are not repeated before a fit: they are the data's own, or said on a line of their own."""


def fit(given: dict[str, Any]) -> int:
    """Fit a preset to data, or continue a run.

    Args:
        given: What was written; None where nothing was.

    Returns:
        0.

    Raises:
        InputError: Anything the user can mend; nothing is left half written.
        Interrupted: Ctrl-C.
    """
    written = {name: given[name] for name in OPTIONS}
    if given["resume"] is not None:
        _refuse_beside_resume(given, written)
        return _resume(Path(given["resume"]))
    preset_name, source = _what(given)
    options = read_options(written)
    preset = check_used(preset_name, options)

    from jensen.cli import data

    rows = data.divide(data.read(preset_name, source, options), options)
    settled = settle(preset, options, rows.facts)
    if not len(rows.held):
        settled["validation"] = 0.0
    _check_support(rows, settled)
    stem = "".join(c if c.isalnum() or c in "-_." else "-" for c in rows.dataset.name)
    folder = Path(given["out"] or f"runs/{preset_name}-{stem}").expanduser()
    _check_free(folder, overwrite=given["overwrite"])
    job = Job(preset_name, data.lasting(source), settled, folder)
    _say_choices(job, rows)
    return _execute(job, rows, fresh=True)


def _what(given: dict[str, Any]) -> tuple[str, str]:
    """Find preset and data among the words and the config keys; words win."""
    words = given["words"] or []
    if len(words) > 2:
        raise InputError(f"{words[2]!r} is one word too many; a fit takes PRESET and DATA")
    preset, source = ([*words, None, None])[:2]
    preset, source = preset or given["preset"], source or given["data"]
    if preset is None:
        raise InputError("nothing to fit; give a preset and data, as in `jensen fit vae digits`")
    if source is None:
        raise InputError(f"no data; name a data set or a file, as in `jensen fit {preset} digits`")
    return str(preset), str(source)


def _refuse_beside_resume(given: dict[str, Any], written: dict[str, Any]) -> None:
    extra = flags([name for name, value in written.items() if value is not None])
    extra = extra or ("--out" if given["out"] else "--overwrite" if given["overwrite"] else "")
    if given["words"] or given["preset"] or given["data"]:
        extra = "PRESET and DATA"
    if extra:
        raise InputError(f"--resume continues a run with its own options; leave out {extra}")


def _resume(folder: Path) -> int:
    job = Job.of(folder)
    if state(folder) == "finished":
        print(f"{folder} is finished; its report: {folder / 'report.html'}")
        return 0

    from jensen.cli import data

    check_used(job.preset, job.options)
    rows = data.divided(job)
    _say_choices(job, rows)
    return _execute(job, rows, fresh=False)


def _check_support(rows: Rows, options: dict[str, Any]) -> None:
    from jensen import datasets
    from jensen.cli.data import in_flags

    likelihood = options.get("likelihood")
    if likelihood not in (None, "bernoulli") and "binarize" in options:
        made = f"--binarize makes 0 and 1, which --likelihood {likelihood} does not fit; leave one out"
        raise InputError(made)
    if likelihood is not None and isinstance(rows.dataset, datasets.Dataset):
        with in_flags():
            datasets.check_support(rows.dataset.x, likelihood, rows.dataset.mask)


def _check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write over a run, unless told to."""
    found = state(folder)
    if found == "new" or overwrite:
        return
    do = (
        "look at it, choose another --out"
        if found == "finished"
        else f"continue it with `jensen fit --resume {folder}`"
    )
    has = "a finished run" if found == "finished" else "an unfinished run"
    about = described(folder)
    made = f" ({about.preset} of {about.source})" if about else ""
    raise InputError(f"{folder} holds {has}{made}; {do}, or replace it with --overwrite")


def _say_choices(job: Job, rows: Rows) -> None:
    """Say what will be done, and each choice the data made; a resumed run says the same."""
    data, options = rows.dataset, job.options
    lines = [_size(rows)]
    if "likelihood" in options and _is_by_data(job, rows):
        lines.append(_why_likelihood(job, data.kind))
    shown = ", ".join(
        f"{name.replace('_', ' ')} {','.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in options.items()
        if name not in NOT_SHOWN
    )
    print(*lines, f"{job.preset}: {shown}", sep="\n", flush=True)


def _is_by_data(job: Job, rows: Rows) -> bool:
    """Whether the likelihood is the one that the values would choose."""
    rest = {name: value for name, value in job.options.items() if name != "likelihood"}
    try:
        return settle(PRESETS[job.preset], rest, rows.facts)["likelihood"] == job.options["likelihood"]
    except InputError:  # another option goes with this likelihood alone
        return False


def _size(rows: Rows) -> str:
    """Say how much data there is, and how it is divided."""
    from jensen.datasets import Dataset

    data = rows.dataset
    shape = data.image_shape and (*data.image_shape, 1)[:3]
    pixels = f" ({' x '.join(map(str, shape))} pixels)" if shape else ""
    held = f"{len(rows.held)} held out" if len(rows.held) else "none held out"
    if isinstance(data, Dataset) and data.cond is not None:
        from_to = f"{_listed(data.inputs, 'inputs')} → {_listed(data.columns, 'targets')}"
        return f"{data.name}: {len(data.x)} rows, {from_to}; {len(rows.train)} to train on, {held}"
    if data.x.ndim == 2:
        size = f"{len(data.x)} rows x {data.x.shape[1]} columns{pixels}"
        return f"{data.name}: {size}, {len(rows.train)} to train on, {held}"
    facts = rows.facts
    acts = f", {facts.actions} action{'s' * (facts.actions > 1)}" if facts.actions else ""
    width = f"{facts.columns} column{'s' * (facts.columns > 1)}{pixels}{acts}"
    if len(data.x) == 1:
        return f"{data.name}: one sequence of {facts.longest} steps x {width}; nothing is held out"
    size = f"{len(data.x)} sequences of up to {facts.longest} steps x {width}"
    return f"{data.name}: {size}; {len(rows.train)} to train on, {held}"


def _listed(names: tuple[str, ...], what: str) -> str:
    """List a few names, or count many."""
    return ", ".join(names) if len(names) <= 6 else f"{len(names)} {what}"


def _why_likelihood(job: Job, kind: str) -> str:
    """Say which likelihood the values chose, and how to choose another."""
    law = job.options["likelihood"]
    values = {"binary": "0 or 1", "unit": "between 0 and 1", "bytes": "integers in 0..255"}
    why = f"values are {values.get(kind, 'counts' if kind == 'count' else 'real numbers')}"
    other = ""
    if job.preset == "hmm" and kind in ("bytes", "count"):
        named = {"poisson": "counts", "categorical": "codes of categories"}
        left = [(what, name) for name, what in named.items() if name != law]
        other = "".join(f"; for {what} add --likelihood {name}" for what, name in left)
    elif job.preset != "hmm" and kind in ("unit", "bytes"):
        other = "; for bernoulli add --binarize threshold, or sample"
    return f"likelihood {law}: {why}{other}"


def _execute(job: Job, rows: Rows, *, fresh: bool) -> int:
    """Train, measure, report; what is already there is not done again.

    Raises:
        Interrupted: Ctrl-C, at any point.
    """
    start_jax()
    from jensen.cli import training
    from jensen.cli.evaluation import finish

    prepared = training.prepare(
        job, rows
    )  # everything that can be refused is refused before a file is touched
    made = start_folder(job) if fresh else []
    try:
        fitted = _fitted(job, rows, prepared)
        if fitted.stop_reason == "interrupted":
            raise KeyboardInterrupt
        _say_stopped(fitted)
        finish(job, rows, fitted)
    except KeyboardInterrupt:
        if _is_begun(job.folder):
            raise Interrupted(f"continue with `jensen fit --resume {job.folder}`") from None
        if fresh:
            undo(job, made)
            raise Interrupted("nothing was kept yet; start again") from None
        raise Interrupted(f"nothing was kept yet; `jensen fit --resume {job.folder}` starts over") from None
    except (ValueError, FloatingPointError):
        if fresh and not (job.folder / "checkpoints").exists() and not trained(job.folder):
            undo(job, made)
        raise
    print(f"report: {job.folder / 'report.html'}")
    return 0


def _is_begun(folder: Path) -> bool:
    """Whether something is there to be continued: the fit itself, or a checkpoint past its first step."""
    from jensen.fit.checkpoints import latest_checkpoint

    if trained(folder):
        return True
    try:
        found = latest_checkpoint(folder)
    except CorruptRunError:
        return False
    return found is not None and found.step > 0


def _fitted(job: Job, rows: Rows, prepared: Any) -> Fitted:
    from jensen import fit
    from jensen.cli import training

    before = trained(job.folder)
    fitted = fit.load(job.folder) if before else training.train(job, rows, prepared)
    if before or job.options["gradient"] != "em":  # a fit by EM has warned of each already
        for event in fitted.history.events:
            print(f"event: {event}")
    return fitted


def _say_stopped(fitted: Fitted) -> None:
    from jensen.report import facts

    steps = int(fitted.history.step[-1]) if len(fitted.history.step) else 0
    took = facts.duration(float(fitted.history.seconds))
    print(f"stopped by {facts.stopped(fitted.stop_reason)}; {steps:,} steps, {took}")
    if len(fitted.restarts) > 1:
        low, high = min(fitted.restarts), max(fitted.restarts)
        print(f"best of {len(fitted.restarts)} restarts: bounds from {low:.3f} to {high:.3f} nats per datum")
