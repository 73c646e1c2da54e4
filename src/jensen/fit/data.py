"""Training data with everything a datum can have, checked once, here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jensen.core import Datum
from jensen.errors import InputError
from jensen.fit.check import as_array, check_columns, check_entries


@runtime_checkable
class MaskedTable(Protocol):
    """A table that knows which of its entries were observed, as ``datasets.load`` returns it."""

    @property
    def x(self) -> np.ndarray:
        """Rows (N, D); NaN where unobserved."""
        ...

    @property
    def mask(self) -> np.ndarray | None:
        """True where observed, (N, D); None when everything is."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """D names."""
        ...


@runtime_checkable
class ConditionedTable(MaskedTable, Protocol):
    """A table that may know what it is predicted from, as ``datasets.load(..., target=)`` returns it."""

    @property
    def cond(self) -> np.ndarray | None:
        """Inputs, (N, C); None where there are none."""
        ...


@runtime_checkable
class PaddedSequences(ConditionedTable, Protocol):
    """Sequences with their lengths and actions, as ``datasets.load_sequences`` returns them.

    Their ``x`` and ``mask`` are (N, T, D).
    """

    @property
    def lengths(self) -> np.ndarray:
        """Real steps of each, (N,)."""
        ...

    @property
    def cond(self) -> np.ndarray | None:
        """Actions or inputs, (N, T, U) or (N, T − 1, U); None where there are none."""
        ...


class Data:
    """Rows, with what may come with them. Arrays stay on the host and are never changed.

    Args:
        x: Observations, (N, D); NaN is only allowed where ``mask`` is False.
        cond: What the model is conditioned on, leading axis N.
        lengths: Numbers of real steps, (N,), for padded sequences (N, T, D); padding may hold anything.
        mask: True where an entry of x is observed, the shape of x.
        weights: Row weights, (N,), not negative, not all zero. Scaled to average one.

    Raises:
        InputError: If anything is non-finite, non-numeric, of another length, or a negative weight.

    Example:
        >>> import numpy as np
        >>> Data(np.ones((5, 2)) * np.arange(5)[:, None])
        Data(5 rows x 2 columns)
        >>> Data(np.ones((5, 9, 2)), lengths=[9, 4, 6, 1, 2], cond=np.zeros((5, 8, 1)))
        Data(5 sequences of 1 to 9 steps x 2 columns, cond 8 x 1)
    """

    def __init__(
        self, x: Any, *, cond: Any = None, lengths: Any = None, mask: Any = None, weights: Any = None
    ):
        self.mask = None if mask is None else np.asarray(mask)
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.x = check_entries(x, self.mask) if lengths is None else self._unpadded(as_array(x))
        self.num_data = len(self.x)
        self.cond = None if cond is None else self._column("cond", cond)
        self.weights = None if weights is None else self._checked_weights(weights)
        check_columns(self.x, self.mask)

    @classmethod
    def of(cls, x: Any) -> Data:
        """Return x if it is ``Data`` already, a data set with all it knows of itself, else wrap it.

        ``None`` becomes one datum without columns, for models that hold their own data.

        Example:
            >>> from jensen import datasets
            >>> Data.of(datasets.load("iris")).num_data
            150
        """
        if isinstance(x, cls):
            return x
        if x is None:
            return cls._nothing()
        if isinstance(x, PaddedSequences):
            return cls(x.x, cond=x.cond, lengths=x.lengths, mask=x.mask)
        if isinstance(x, ConditionedTable):
            return cls(x.x, cond=x.cond, mask=x.mask)
        if isinstance(x, MaskedTable):
            return cls(x.x, mask=x.mask)
        return cls(x)

    @classmethod
    def _nothing(cls) -> Data:
        """Return one datum of which nothing is seen."""
        new = cls(np.zeros((1, 1)))
        new.x = np.zeros((1, 0))
        return new

    def __len__(self) -> int:
        return self.num_data

    def __repr__(self) -> str:
        n, columns = self.num_data, f"{self.data_dim} column{'s' * (self.data_dim != 1)}"
        rows = f"{n} row{'s' * (n != 1)} x "
        if self.x.ndim == 3:
            steps = np.full(n, self.x.shape[1]) if self.lengths is None else self.lengths
            low, high = int(steps.min()), int(steps.max())
            span = f"{high}" if low == high else f"{low} to {high}"
            rows = f"{n} sequence{'s' * (n != 1)} of {span} step{'s' * (high != 1)} x "
        elif self.x.ndim > 3:
            rows += "".join(f"{size} x " for size in self.x.shape[1:-1])
        parts = [rows + columns]
        if self.cond is not None:
            parts.append("cond " + (" x ".join(map(str, self.cond.shape[1:])) or "of one value"))
        if self.mask is not None:
            steps = self.lengths
            real = self.mask if steps is None else self.mask[np.arange(self.x.shape[1]) < steps[:, None]]
            parts.append(f"{np.mean(~real) if real.size else 0.0:.1%} masked")
        return f"{type(self).__name__}({', '.join(parts + ['weighted'] * (self.weights is not None))})"

    @property
    def data_dim(self) -> int:
        """Number of columns of x."""
        return self.x.shape[-1]

    def rows(self) -> Datum:
        """Return all rows as one stacked ``Datum`` of numpy arrays; hidden entries hold zero."""
        x = self.x if self.mask is None else np.where(self.mask, self.x, 0)
        index = np.arange(self.num_data, dtype=np.int32)
        return Datum(x, self.cond, index, self.mask, self.lengths, self.weights)

    def take(self, index: np.ndarray) -> Data:
        """Return a subset of rows."""

        def pick(a: np.ndarray | None) -> np.ndarray | None:
            return None if a is None else a[index]

        return type(self)(
            self.x[index],
            cond=pick(self.cond),
            lengths=pick(self.lengths),
            mask=pick(self.mask),
            weights=pick(self.weights),
        )

    def _unpadded(self, x: np.ndarray) -> np.ndarray:
        """Check the real steps of padded sequences; padding that is no number becomes zero."""
        lengths = self.lengths
        if lengths is None or x.ndim < 3:
            raise InputError(f"lengths go with padded sequences (N, T, D), got x of shape {x.shape}")
        if lengths.shape != (len(x),) or lengths.dtype.kind not in "iuf":
            raise InputError(f"lengths must be one number a sequence, ({len(x)},), got shape {lengths.shape}")
        wrong = ~((lengths >= 0) & (lengths <= x.shape[1]) & (lengths == np.floor(lengths)))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"lengths must be whole numbers from 0 to {x.shape[1]}, the steps of x: sequence {row} has "
                f"{lengths[row]}"
            )
        self.lengths = lengths.astype(np.int32)
        real = (np.arange(x.shape[1]) < lengths[:, None]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        real = np.broadcast_to(real, x.shape)
        seen = real if self.mask is None else self.mask
        if seen.shape == x.shape and seen.dtype == np.bool_:  # else check_entries says what is wrong with it
            seen = seen & real
        checked = check_entries(x, seen)
        blank = checked.dtype.kind == "f" and not np.isfinite(np.where(real, 0, checked)).all()
        return np.where(real, checked, 0) if blank else checked

    def _column(self, name: str, values: Any) -> np.ndarray:
        values = np.asarray(values)
        if len(values) != self.num_data:
            raise InputError(f"{name} has {len(values)} rows, x has {self.num_data}: they must agree")
        if values.dtype.kind in "iu" and values.size and np.abs(values.astype(np.float64)).max() >= 2**31:
            raise InputError(f"{name} holds integers of 2^31 or more: give them as floats, or recode them")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise InputError(f"{name} holds NaN or infinity, first in row {row}: remove or replace it")
        return values

    def _checked_weights(self, weights: Any) -> np.ndarray:
        weights = self._column("weights", weights).astype(np.float64)
        if weights.ndim != 1:
            raise InputError(f"weights must be one number a row, got shape {weights.shape}")
        if (weights < 0).any():
            raise InputError(f"weights must not be negative: row {int(np.argmax(weights < 0))} is")
        if weights.sum() == 0:
            raise InputError("weights are all zero: nothing would be fitted")
        return weights / weights.mean()
