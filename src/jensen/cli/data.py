"""From options to rows: loaded, checked, binarized, split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jensen import datasets
from jensen.datasets import Dataset
from jensen.errors import InputError

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
    data = datasets.load(source, labels=options.get("labels"), missing=options.get("missing", "error"))
    if data.image_shape is None:
        datasets.warn_constant(data.x, mask=data.mask, columns=data.columns, what=source)
    if "binarize" not in options:
        return data
    seed = options.get("seed", 0)
    return replace(data, x=datasets.binarize(data.x, options["binarize"], seed=seed, mask=data.mask))


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
