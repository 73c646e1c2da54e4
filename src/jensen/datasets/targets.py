"""Columns to predict, told apart from those they are predicted from."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jensen.datasets.check import constant_columns
from jensen.datasets.dataset import Dataset
from jensen.datasets.table import Table, find_column
from jensen.errors import InputError, JensenWarning


def find_targets(table: Table, target: Sequence[str | int], file: str) -> list[int]:
    """Find the columns to predict, by name, or by position among all columns of the file.

    Args:
        table: The file's content.
        target: Names or positions, in the order they are wanted.
        file: Named in errors.

    Returns:
        Positions among the columns that are left.

    Raises:
        InputError: There is no such column, it is left out, or no input would be left.
    """
    every = table.columns if table.every is None else table.every
    names = [every[find_column(every, wanted, file, to="predict")] for wanted in target]
    gone = next((name for name in names if name not in table.columns), None)
    if gone is not None:
        raise InputError(
            f"{file}: target={gone!r} is left out as well; leave it in, or predict another column"
        )
    found = list(dict.fromkeys(table.columns.index(name) for name in names))
    if len(found) == len(table.columns):
        raise InputError(f"{file}: every column is a target; at least one must be left to predict them from")
    return found


def aimed(data: Dataset, found: Sequence[int], file: str) -> Dataset:
    """Return a data set whose x are the targets and whose cond are the other columns.

    Args:
        data: All columns, checked.
        found: Positions of the targets.
        file: Named in errors.

    Raises:
        InputError: An input has missing cells.
    """
    others = [j for j in range(len(data.columns)) if j not in found]
    mask = None if data.mask is None or data.mask[:, found].all() else data.mask[:, found]
    if data.mask is not None and not data.mask[:, others].all():
        j = others[int((~data.mask[:, others]).any(0).argmax())]
        count, name = int((~data.mask[:, j]).sum()), data.columns[j]
        raise InputError(
            f"{file}: input {name!r} has {count} missing value{'s' * (count > 1)}, and only targets can be "
            f"masked; fill them, remove those rows, or leave the column out (drop=[{name!r}])"
        )
    names, inputs = (tuple(data.columns[j] for j in part) for part in (found, others))
    x, cond = data.x[:, found], data.x[:, others].astype(np.float64)
    return replace(data, x=x, columns=names, image_shape=None, mask=mask, cond=cond, inputs=inputs)


def check_targets(data: Dataset, file: str) -> None:
    """Refuse targets that never vary, and warn about such inputs: nothing could be learned from them.

    Args:
        data: Targets with their inputs; any other data passes.
        file: Named in errors.

    Raises:
        InputError: A target is the same in every row.
    """
    if data.cond is None or len(data.x) < 2:
        return
    for j in constant_columns(data.x, data.mask)[:1]:
        value = (data.x[:, j] if data.mask is None else data.x[data.mask[:, j], j])[0]
        raise InputError(
            f"{file}: target {data.columns[j]!r} is {value:g} in every row, there is nothing to predict; "
            "choose another column"
        )
    if idle := [data.inputs[j] for j in constant_columns(data.cond, None)]:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        listed = ", ".join(map(repr, idle[:5])) + more
        said = f"input {listed} never varies" if len(idle) == 1 else f"inputs {listed} never vary"
        warnings.warn(f"{file}: {said}, and cannot tell anything", JensenWarning, stacklevel=3)
