"""One door for sequences: an embedded name, a path or a Minari id, in; checked Sequences, out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from jensen.datasets.bundled import BUNDLED, MINARI, SEQUENCES
from jensen.datasets.episodes import read_minari
from jensen.datasets.load import check_policy, finish, reader, stem
from jensen.datasets.sequence_arrays import read_arrays
from jensen.datasets.sequences import Sequences, checked, padded, runs
from jensen.datasets.table import Columns, Table, find_column
from jensen.errors import InputError, JensenWarning

ARRAYS = (".npy", ".npz")
"""Endings of files that hold whole arrays, not tables."""


def load_sequences(
    name_or_path: str | os.PathLike[str],
    *,
    sequence: str | int | None = None,
    actions: Sequence[str] = (),
    drop: Sequence[str | int] = (),
    missing: Literal["error", "mask"] = "error",
) -> Sequences:
    """Load sequences: an embedded set, a file of your own, or the episodes of a Minari data set.

    Files: csv, tsv or parquet with one row a step, and a column that tells sequences apart unless the file is
    one sequence; npy with (N, T, D), (T, D) or (T,), or pictures (N, T, height, width[, 3]); npz with ``x``
    of such a shape, or (ΣT, D) and ``lengths``, and optionally ``actions`` (or ``cond``) and ``mask``, laid
    out as x is.

    Args:
        name_or_path: An embedded name, a path, or ``minari:ID``.
        sequence: Column that tells sequences apart, by name or position; their order is kept.
        actions: Columns that are actions or inputs, by name.
        drop: Columns to leave out, such as times.
        missing: ``"error"`` refuses an empty, NA or NaN cell; ``"mask"`` marks it unobserved.

    Returns:
        The checked sequences, padded to the longest.

    Raises:
        InputError: In one line, what is wrong, where, and what to do.
        MissingExtraError: Minari is not installed.

    Example:
        >>> load_sequences("nile")
        Sequences('nile', 1 of up to 100 steps x 1 columns, count)
    """
    check_policy(missing)
    given = os.fspath(name_or_path)
    columns = Columns(sequence, (drop,) if isinstance(drop, str) else tuple(drop), "sequence")
    named = (actions,) if isinstance(actions, str) else tuple(actions)
    if given in SEQUENCES or given.startswith(MINARI):
        _no_columns(given, columns, named)
        data = SEQUENCES[given]() if given in SEQUENCES else read_minari(given.removeprefix(MINARI), given)
    elif given in BUNDLED:
        held = ", ".join(SEQUENCES)
        raise InputError(f"{given} is a table without an order in time; take {held}, or a file of your own")
    else:
        data = _from_file(Path(given).expanduser(), given, columns, named, missing)
    return checked(data, missing=missing, what=given)


def _from_file(
    path: Path, given: str, columns: Columns, actions: tuple[str, ...], missing: Literal["error", "mask"]
) -> Sequences:
    try:
        read = reader(path, given)
        if path.suffix.lower() in ARRAYS:
            _no_columns(given, columns, actions)
            return read_arrays(path, stem(path))
        table = read(path, columns)
    except OSError as error:
        raise InputError(f"{given}: cannot be read: {error.strerror or error}") from None
    if table.image_shape is not None:
        raise InputError(f"{given}: pictures without an order in time; save them as npz with x and lengths")
    return from_table(table, stem(path), actions=actions, missing=missing, what=given)


def from_table(
    table: Table, name: str, *, actions: tuple[str, ...], missing: Literal["error", "mask"], what: str
) -> Sequences:
    """Cut a table with one row a step into sequences.

    Args:
        table: The file's content; its labels tell sequences apart, None for one sequence.
        name: Name of the data.
        actions: Names of columns that are actions.
        missing: Policy for missing cells.
        what: Names the file in errors.

    Raises:
        InputError: A sequence that goes on after another began, an unknown column, or a missing cell.
    """
    ids = np.zeros(len(table.x), int) if table.labels is None else table.labels
    if (empty := ids == "").any():
        where = table.locate(int(empty.argmax()))
        raise InputError(f"{what}: {empty.sum()} rows have no sequence id, the first {where}; fill them in")
    names, lengths = runs(ids)
    _refuse_interleaved(table, names, lengths, what)
    acts = [find_column(table.columns, action, what, to="take actions from") for action in actions]
    kept = [j for j in range(len(table.columns)) if j not in acts]
    if not kept:
        raise InputError(f"{what}: every column is an action; at least one must be an observation")
    whole = finish(table, what, name, missing)
    ends = np.cumsum(lengths)[:-1]
    _warn_clock(whole.x[:, kept], [table.columns[j] for j in kept], ends, what)

    def cut(values: np.ndarray) -> np.ndarray:
        return padded(np.split(values, ends))

    x = whole.x.astype(np.float64)
    return Sequences(
        cut(x[:, kept]),
        lengths,
        tuple(table.columns[j] for j in kept),
        name,
        cond=cut(x[:, acts]) if acts else None,
        mask=None if whole.mask is None else cut(whole.mask[:, kept]),
        ids=None if table.labels is None else names,
        actions=actions,
    )


def _refuse_interleaved(table: Table, names: np.ndarray, lengths: np.ndarray, what: str) -> None:
    _, first = np.unique(names, return_index=True)
    if len(first) == len(names):
        return
    again = int(np.setdiff1d(np.arange(len(names)), first)[0])
    row = int(lengths[:again].sum())
    raise InputError(
        f"{what}: sequence {names[again].item()!r} goes on in {table.locate(row)} after another one began; "
        "bring the rows of each sequence together, in their order in time"
    )


def _warn_clock(x: np.ndarray, names: list[str], ends: np.ndarray, what: str) -> None:
    """Warn about columns that rise by the same step from row to row: times, most likely."""
    inside = np.setdiff1d(np.arange(len(x) - 1), ends - 1)
    if len(inside) < 2:
        return
    for j, name in enumerate(names):
        rise = x[inside + 1, j] - x[inside, j]
        if rise[0] > 0 and (rise == rise[0]).all():
            text = f"column {name!r} rises by {rise[0]:g} at every step, as a time does"
            warnings.warn(f"{what}: {text}; leave it out (drop=[{name!r}])", JensenWarning, stacklevel=5)


def _no_columns(given: str, columns: Columns, actions: tuple[str, ...]) -> None:
    """Refuse column options where sequences have no columns of a table."""
    asked = {"sequence": columns.labels is not None, "actions": bool(actions), "drop": bool(columns.drop)}
    if extra := [name for name, used in asked.items() if used]:
        raise InputError(f"{given}: {extra[0]} names columns of a table, and this is none; leave it out")
