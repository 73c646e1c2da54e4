"""A table of data with what is known about it, and the kind of values it holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Shaped

Kind: TypeAlias = Literal["binary", "unit", "bytes", "count", "real"]
"""What the values are: {0, 1}; [0, 1]; integers in 0..255; non-negative integers; any real number."""


def kind(x: Shaped[np.ndarray, "..."], *, mask: Bool[np.ndarray, "..."] | None = None) -> Kind:
    """Name the narrowest kind of value that covers all observed entries.

    Values decide, not the dtype: floats that are all whole numbers count as integers.

    Args:
        x: Numbers of any shape.
        mask: True where observed; everything when None.

    Returns:
        The first of ``"binary"``, ``"unit"``, ``"bytes"``, ``"count"``, ``"real"`` that fits.

    Example:
        >>> kind(np.array([[0.0, 1.0]])), kind(np.array([[0.5, 1.0]])), kind(np.array([[0, 255]]))
        ('binary', 'unit', 'bytes')
        >>> kind(np.array([[0, 256]])), kind(np.array([[-1, 2]]))
        ('count', 'real')
    """
    values = x if mask is None else x[mask]
    if values.dtype == np.bool_:
        return "binary"
    if values.size == 0:
        return "real"
    low, high = values.min(), values.max()
    if not low >= 0:  # negative, or NaN
        return "real"
    whole = np.issubdtype(values.dtype, np.integer) or bool((values == np.rint(values)).all())
    if high <= 1:
        return "binary" if whole else "unit"
    if not whole or not np.isfinite(high):
        return "real"
    return "bytes" if high <= 255 else "count"


@dataclass(frozen=True, eq=False)
class Dataset:
    """N rows of D numbers, with their labels, names and picture shape where there are any.

    Attributes:
        x: The numbers, shape (N, D): float64, int64, or uint8 as stored. Unobserved entries are NaN, so that
            whoever overlooks the mask is refused: give the whole ``Dataset`` to ``fit.*`` and ``use.*``.
        labels: One per row, numbers or strings, shape (N,); never used in training.
        columns: D names.
        name: The embedded name, or the file's name without its endings.
        image_shape: (height, width) or (height, width, 3) where each row is a picture.
        mask: True where observed, shape (N, D); None when everything is.
        cond: Inputs that x is predicted from, shape (N, C); None where no column was made the target.
        inputs: C names.
    """

    x: Shaped[np.ndarray, "n d"]
    labels: Shaped[np.ndarray, "n"] | None
    columns: tuple[str, ...]
    name: str
    image_shape: tuple[int, ...] | None = None
    mask: Bool[np.ndarray, "n d"] | None = None
    cond: Float[np.ndarray, "n c"] | None = None
    inputs: tuple[str, ...] = ()

    @cached_property
    def kind(self) -> Kind:
        """The kind of the observed values."""
        return kind(self.x, mask=self.mask)

    def __repr__(self) -> str:
        rows, width = self.x.shape
        given = f", from {len(self.inputs)} inputs" if self.cond is not None else ""
        return f"Dataset({self.name!r}, {rows} rows x {width} columns, {self.kind}{given})"
