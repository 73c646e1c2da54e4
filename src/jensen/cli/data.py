"""From options to rows: loaded, checked, binarized, split."""

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
from jensen.datasets import Dataset
from jensen.datasets.table import NoColumn
from jensen.errors import InputError, JensenWarning

if TYPE_CHECKING:
    from jensen.fit import Data


@dataclass(frozen=True)
class Rows:
    """A data set, and which of its rows are trained on and held out.

    Attributes:
        dataset: All rows, as the model sees them.
        train: Indices of the rows trained on.
        held: Indices of the rows held out.
    """

    dataset: Dataset
    train: np.ndarray
    held: np.ndarray

    def data(self, rows: np.ndarray) -> Data:
        """Return some rows as a fit takes them."""
        return as_data(subset(self.dataset, rows))


def read(source: str, options: dict[str, Any]) -> Dataset:
    """Load a data set, and binarize it where asked.

    Raises:
        InputError: It cannot be read or used.
    """
    with in_flags():
        data = _load(source, options)
    if data.image_shape is None:
        datasets.warn_constant(data.x, mask=data.mask, columns=data.columns, what=source)
    if "binarize" not in options:
        return data
    seed = options.get("seed", 0)
    return replace(data, x=datasets.binarize(data.x, options["binarize"], seed=seed, mask=data.mask))


def read_like(source: str, options: dict[str, Any], width: int) -> Dataset:
    """Load other data for a run: labels and dropped columns may be there, or not.

    Args:
        source: Where the data comes from.
        options: Options of the run.
        width: Columns the model takes.

    Raises:
        InputError: It cannot be read or used.
    """
    options = dict(options)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", JensenWarning)
                found = _load(source, options).x.shape[1]
        except NoColumn as absent:
            _forget(options, absent.wanted)
        except InputError:
            break  # said by the reading below
        else:
            places = [name for name in ("labels", "drop") if _by_place(options.get(name))]
            if found >= width or not places:
                break
            del options[places[0]]  # in the run's own file that place was another column
    return read(source, options)


def _load(source: str, options: dict[str, Any]) -> Dataset:
    return datasets.load(
        source,
        labels=options.get("labels"),
        drop=options.get("drop", ()),
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
    (r"\bdrop=\[('[^']*')\]", "--drop"),
)


@contextlib.contextmanager
def in_flags() -> Iterator[None]:
    """Say what the library says of its arguments in the words of the command line."""
    try:
        yield
    except InputError as error:
        text = str(error).replace("; datasets.binarize)", ")")
        for python, flag in _WORDS:
            text = re.sub(python, lambda m, flag=flag: f"{flag} {shlex.quote(m[1].strip(chr(39)))}", text)
        error.args = (text,)
        raise


def divide(data: Dataset, options: dict[str, Any]) -> Rows:
    """Hold out the share of rows that ``validation`` says, 0.1 by default.

    Raises:
        InputError: There are too few rows to divide.
    """
    share = options.get("validation", 0.1)
    if len(data.x) < 2:
        raise InputError(f"{data.name}: 1 row, but a fit needs at least 2; give more rows")
    train, held = datasets.split(len(data.x), share, seed=options.get("seed", 0))
    if len(train) < 2:
        raise InputError(
            f"{data.name}: {len(train)} of {len(data.x)} rows is left to train on; lower --validation, or 0"
        )
    return Rows(data, train, held)


def subset(data: Dataset, rows: np.ndarray) -> Dataset:
    """Return some rows of a data set."""
    labels = None if data.labels is None else data.labels[rows]
    mask = None if data.mask is None else data.mask[rows]
    return replace(data, x=data.x[rows], labels=labels, mask=mask)


def as_data(data: Dataset) -> Data:
    """Return a data set as a fit takes it."""
    from jensen import fit

    return fit.Data.of(data)


def lasting(source: str) -> str:
    """Return a source as the run keeps it: an embedded name, or a path that does not depend on the folder."""
    return source if source in datasets.names() else str(Path(source).expanduser().absolute())
