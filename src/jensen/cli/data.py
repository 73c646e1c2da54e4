"""From options to rows or sequences: loaded, checked, binarized, split."""

from __future__ import annotations

import contextlib
import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen import datasets
from jensen.cli.preset import Facts
from jensen.cli.presets import PRESETS
from jensen.datasets import Dataset, Sequences
from jensen.datasets.table import NoColumn
from jensen.datasets.targets import check_targets
from jensen.errors import InputError, JensenWarning

if TYPE_CHECKING:
    from jensen.cli.runs import Job
    from jensen.fit import Data


@dataclass(frozen=True)
class Rows:
    """A data set, and which of its rows, or whole sequences, are trained on and held out.

    Attributes:
        dataset: All rows, as the model sees them.
        train: Indices of the rows trained on.
        held: Indices of the rows held out.
    """

    dataset: Dataset | Sequences
    train: np.ndarray
    held: np.ndarray

    @property
    def facts(self) -> Facts:
        """What models and defaults depend on."""
        data = self.dataset
        if isinstance(data, Dataset):
            facts = Facts(data.kind, len(self.train), data.x.shape[1], actions=len(data.inputs))
            return replace(facts, image_shape=data.image_shape)
        acts = 0 if data.cond is None else data.cond.shape[-1]
        spare = data.cond is not None and data.cond.shape[1] == data.x.shape[1]
        largest = float(data.x[data.seen].max())
        longest, steps = int(data.lengths.max()), int(data.lengths[self.train].sum())
        rows, columns = len(self.train), data.x.shape[-1]
        return Facts(data.kind, rows, columns, longest, steps, acts, spare, largest)

    def data(self, rows: np.ndarray) -> Data:
        """Return some rows as a fit takes them."""
        return as_data(subset(self.dataset, rows))


def read(preset: str, source: str, options: dict[str, Any]) -> Dataset | Sequences:
    """Load what a preset fits, rows or sequences, and binarize it where asked.

    Raises:
        InputError: It cannot be read or used.
    """
    if PRESETS[preset].takes == "sequences":
        return _read_sequences(preset, source, options)
    if PRESETS[preset].takes == "targets" and "target" not in options:
        raise InputError(
            f"{preset} predicts some columns from the others; say which: {_targets(source, options)}"
        )
    data = _read_rows(source, options)
    check_targets(data, source)
    return data


def _targets(source: str, options: dict[str, Any]) -> str:
    """Say how targets are named, with the names there are."""
    with in_flags():
        columns = _load(source, options).columns
    more = ", ..." if len(columns) > 8 else ""
    return f"--target COLUMN (columns: {', '.join(columns[:8])}{more})"


def _read_rows(source: str, options: dict[str, Any]) -> Dataset:
    with in_flags():
        data = _load(source, options)
    if data.image_shape is None and data.cond is None:
        datasets.warn_constant(data.x, mask=data.mask, columns=data.columns, what=source)
    if "binarize" not in options:
        return data
    if options["binarize"] == "dynamic" and data.mask is not None:
        raise InputError("--binarize dynamic takes complete rows; use --binarize sample, or threshold")
    how: Any = options["binarize"] if options["binarize"] != "dynamic" else "sample"
    return replace(data, x=datasets.binarize(data.x, how, seed=options.get("seed", 0), mask=data.mask))


def _read_sequences(preset: str, source: str, options: dict[str, Any]) -> Sequences:
    with in_flags():
        data = datasets.load_sequences(
            source,
            sequence=options.get("sequence"),
            actions=options.get("actions", ()),
            drop=options.get("drop", ()),
            missing=options.get("missing", "error"),
        )
    uses, acts = PRESETS[preset].inputs, data.cond
    if acts is not None and uses == "every step" and acts.shape[1] < data.x.shape[1]:
        lost = f"{preset} takes inputs that come with a step; the actions between steps are left out"
        warnings.warn(f"{source}: {lost}", JensenWarning, stacklevel=2)
        data = replace(data, cond=None, actions=())
    if "binarize" not in options:
        return data
    if options["binarize"] == "dynamic":
        raise InputError("--binarize dynamic is for tables and pictures; use --binarize sample, or threshold")
    flat, seen = (a.reshape(-1, a.shape[-1]) for a in (data.x, data.seen))
    bits = datasets.binarize(flat, options["binarize"], seed=options.get("seed", 0), mask=seen)
    x = np.where(data.real[..., None], bits.reshape(data.x.shape), 0.0)  # padding stays zero
    return replace(data, x=x)


def read_like(preset: str, source: str, options: dict[str, Any], width: int) -> Dataset | Sequences:
    """Load other data for a run: labels and dropped columns may be there, or not.

    Args:
        preset: What the run fits.
        source: Where the data comes from.
        options: Options of the run.
        width: Columns the model takes.

    Raises:
        InputError: It cannot be read or used.
    """
    try:
        if PRESETS[preset].takes == "sequences":
            return _read_sequences_like(preset, source, dict(options))
        return _read_rows_like(source, dict(options), width)
    except InputError as error:
        if any(flag in str(error) for flag in _ONLY_OF_FIT):
            error.args = (f"{error}; options are the run's own, set by `jensen fit`: here, change the file",)
        raise


def _read_rows_like(source: str, options: dict[str, Any], width: int) -> Dataset:
    """Load other rows; columns that an option names may be absent."""
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", JensenWarning)
                found = _load(source, options).x.shape[1]
        except NoColumn as absent:
            if absent.wanted in options.get("target", ()):
                break  # said by the reading below
            _forget(options, absent.wanted)
        except InputError:
            break  # said by the reading below
        else:
            places = [name for name in ("labels", "drop") if _by_place(options.get(name))]
            if found >= width or not places:
                break
            del options[places[0]]  # in the run's own file that place was another column
    return _read_rows(source, options)


def _read_sequences_like(preset: str, source: str, options: dict[str, Any]) -> Sequences:
    """Load other sequences; options that name columns do not hold for what has none."""
    if source in datasets.names() or source.endswith((".npy", ".npz")) or source.startswith("minari:"):
        options = {n: v for n, v in options.items() if n not in ("sequence", "actions", "drop")}
    while True:
        try:
            return _read_sequences(preset, source, options)
        except NoColumn as absent:
            if absent.wanted not in options.get("drop", ()):
                raise
            _forget(options, absent.wanted)


def _load(source: str, options: dict[str, Any]) -> Dataset:
    return datasets.load(
        source,
        labels=options.get("labels"),
        drop=options.get("drop", ()),
        target=options.get("target", ()),
        missing=options.get("missing", "error"),
    )


def _forget(options: dict[str, Any], column: str | int) -> None:
    if options.get("labels") == column:
        del options["labels"]
    options["drop"] = [name for name in options.get("drop", ()) if name != column]


def _by_place(columns: Any) -> bool:
    return any(isinstance(c, int) for c in (columns if isinstance(columns, list) else [columns]))


_WORDS = (
    (r"\blabels=('[^']*'|-?\d+)", "--labels"),
    (r"\bmissing=('[^']*')", "--missing"),
    (r"\btarget=('[^']*'|-?\d+)", "--target"),
    (r"\bdrop=\[('[^']*')\]", "--drop"),
    (r"\bsequence=('[^']*'|-?\d+)", "--sequence"),
    (r"\bemission=('[^']*')", "--likelihood"),
    (r"\bpolicy=('[^']*')", "--policy"),
    (r"\bhold=('[^']*')", "--hold"),
    (r"\bhorizon=(\d+)", "--horizon"),
)
_ONLY_OF_FIT = ("--missing mask", "--drop ", "--labels ")


@contextlib.contextmanager
def in_flags() -> Iterator[None]:
    """Say what the library says of its arguments, in errors and warnings, in the command line's words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JensenWarning)
        try:
            yield
        except InputError as error:
            error.args = (_in_flags(str(error)),)
            raise
        finally:
            said = [_in_flags(str(w.message)) for w in caught if issubclass(w.category, JensenWarning)]
    for text in said:
        warnings.warn(text, JensenWarning, stacklevel=3)


def _in_flags(text: str) -> str:
    text = text.replace("; datasets.binarize)", ")")
    for python, flag in _WORDS:
        text = re.sub(python, lambda m, flag=flag: f"{flag} {shlex.quote(m[1].strip(chr(39)))}", text)
    return text


def divide(data: Dataset | Sequences, options: dict[str, Any]) -> Rows:
    """Hold out the share of rows, or of whole sequences, that ``validation`` says, 0.1 by default.

    Raises:
        InputError: There are too few rows to divide.
    """
    if isinstance(data, Sequences):
        return _divide_sequences(data, options)
    share = options.get("validation", 0.1)
    if len(data.x) < 2:
        raise InputError(f"{data.name}: 1 row, but a fit needs at least 2; give more rows")
    train, held = datasets.split(len(data.x), share, seed=options.get("seed", 0))
    if len(train) < 2:
        raise InputError(
            f"{data.name}: {len(train)} of {len(data.x)} rows is left to train on; lower --validation, or 0"
        )
    return Rows(data, train, held)


def _divide_sequences(data: Sequences, options: dict[str, Any]) -> Rows:
    """Hold out whole sequences, never parts of one; a single one is trained on."""
    count, share = len(data.x), options.get("validation")
    if count == 1:
        if share:
            raise InputError(
                f"{data.name} is one sequence, and --validation {share:g} holds out whole ones; leave it out"
            )
        share = 0.0
    train, held = datasets.split(count, 0.1 if share is None else share, seed=options.get("seed", 0))
    return Rows(data, train, held)


def divided(job: Job) -> Rows:
    """Return a run's own data, divided as it was for the fit.

    Raises:
        InputError: It cannot be read any more.
    """
    return divide(read(job.preset, job.source, job.options), job.options)


def intensities(job: Job, rows: Rows) -> Data:
    """Return the rows trained on as values in [0, 1], of which a fit draws its bits.

    Raises:
        InputError: They cannot be read any more.
    """
    data = _load(job.source, job.options)
    x = np.asarray(data.x, np.float32)
    x = x / np.float32(255) if data.kind == "bytes" else x
    return as_data(subset(replace(data, x=x), rows.train))


def names_of(job: Job) -> tuple[str, ...]:
    """Name the inputs of a run; none where its data cannot be read any more."""
    try:
        data = read(job.preset, job.source, job.options)
    except InputError:
        return ()
    return data.inputs if isinstance(data, Dataset) else ()


def subset(data: Dataset | Sequences, rows: np.ndarray) -> Dataset | Sequences:
    """Return some rows of a data set."""
    if isinstance(data, Sequences):
        return data.take(rows)
    labels = None if data.labels is None else data.labels[rows]
    mask = None if data.mask is None else data.mask[rows]
    cond = None if data.cond is None else data.cond[rows]
    return replace(data, x=data.x[rows], labels=labels, mask=mask, cond=cond)


def as_data(data: Dataset | Sequences) -> Data:
    """Return a data set as a fit takes it."""
    from jensen import fit

    return fit.Data.of(data)


def lasting(source: str) -> str:
    """Return a source as the run keeps it: an embedded name, or a path that does not depend on the folder."""
    if source in datasets.names() or source.startswith("minari:"):
        return source
    return str(Path(source).expanduser().absolute())
