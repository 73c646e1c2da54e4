"""The embedded data sets: small, real, and shipped inside scikit-learn's wheel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from jensen.datasets.table import Table, default_columns


def _from_sklearn(name: str, *, divide_by: float = 1.0, image_shape: tuple[int, ...] | None = None) -> Table:
    from sklearn import datasets as bundled

    bunch = getattr(bundled, f"load_{name}")()
    x = np.asarray(bunch.data, dtype=np.float64) / divide_by
    columns = default_columns(x.shape[1]) if image_shape else tuple(map(str, bunch.feature_names))
    labels = bunch.target if image_shape else np.asarray(bunch.target_names)[bunch.target]
    return Table(x, columns, np.asarray(labels), image_shape)


# Digits are stored as counts 0..16 of inked pixels in a 4 x 4 block: divided by 16 they are intensities.
BUNDLED: dict[str, Callable[[], Table]] = {
    "digits": partial(_from_sklearn, "digits", divide_by=16.0, image_shape=(8, 8)),
    "iris": partial(_from_sklearn, "iris"),
    "wine": partial(_from_sklearn, "wine"),
    "breast_cancer": partial(_from_sklearn, "breast_cancer"),
}


def names() -> tuple[str, ...]:
    """Name the embedded data sets that `load` knows.

    Returns:
        The names.

    Example:
        >>> names()
        ('digits', 'iris', 'wine', 'breast_cancer')
    """
    return tuple(BUNDLED)
