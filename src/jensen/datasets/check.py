"""Checks at the edge: what a table must satisfy before any model sees it. Pure numpy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jensen.datasets.dataset import kind
from jensen.datasets.table import Locate, row_name
from jensen.errors import InputError, JensenWarning, nearest

_LISTED = 5  # names spelled out before "and N more"


def check_table(
    x: Any,
    *,
    mask: np.ndarray | None = None,
    columns: Sequence[str] | None = None,
    what: str = "x",
    locate: Locate = row_name,
) -> None:
    """Refuse anything that is not a table of finite numbers; warn about columns that never vary.

    Args:
        x: Should be (N, D), real and finite wherever observed.
        mask: True where observed, shape (N, D); everything when None.
        columns: D names for the messages; positions when None.
        what: What to call the table: a file or an argument.
        locate: Words for a row's place.

    Raises:
        InputError: Text, complex or object entries, not two-dimensional, empty, a mask that does not fit,
            a column with no observed entry, NaN or infinity (which column, how many, the first row).

    Example:
        >>> check_table(np.array([[1.0, 2.0], [np.nan, 3.0]]), columns=("a", "b"))
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: x: column 'a' has 1 non-finite value (1 NaN), the first in row 1; \
remove those rows, fill them, or mask them as unobserved
    """
    check_finite(x, mask=mask, columns=columns, what=what, locate=locate)
    warn_constant(np.asarray(x), mask=mask, columns=columns, what=what)


def check_finite(
    x: Any,
    *,
    mask: np.ndarray | None = None,
    columns: Sequence[str] | None = None,
    what: str = "x",
    locate: Locate = row_name,
) -> None:
    """Like `check_table` without the warning, for pictures whose border never varies.

    Raises:
        InputError: As `check_table`.
    """
    array = _as_array(x, what)
    _check_numeric(array, columns, what, locate)
    if array.ndim != 2:
        advice = {0: "give a table", 1: "one column is x[:, None], one row is x[None, :]"}
        raise InputError(
            f"{what}: expected 2 dimensions (rows, columns), found shape {array.shape}; "
            + advice.get(array.ndim, "flatten each row with x.reshape(len(x), -1)")
        )
    if array.size == 0:
        raise InputError(f"{what}: empty, shape {array.shape}; at least one row and one column are needed")
    if mask is not None:
        _check_mask(mask, array.shape, columns, what)
    if not np.issubdtype(array.dtype, np.floating):
        return
    bad = ~np.isfinite(array)
    if mask is not None:
        bad &= mask
    if bad.any():
        raise InputError(f"{what}: {_non_finite(array, bad, columns, locate)}")


def warn_constant(
    x: np.ndarray,
    *,
    mask: np.ndarray | None = None,
    columns: Sequence[str] | None = None,
    what: str = "x",
) -> None:
    """Warn about columns whose observed values are all the same: their variance is zero.

    Args:
        x: Finite numbers, shape (N, D).
        mask: True where observed.
        columns: D names.
        what: What to call the table.
    """
    if len(x) < 2:
        return
    constant = constant_columns(x, mask)
    if not constant:
        return
    listed = ", ".join(_column(columns, j) for j in constant[:_LISTED])
    more = f" and {len(constant) - _LISTED} more" if len(constant) > _LISTED else ""
    noun, verb = ("column", "is") if len(constant) == 1 else ("columns", "are")
    warnings.warn(
        f"{what}: {noun} {listed}{more} {verb} constant; remove what never varies, its density is degenerate",
        JensenWarning,
        stacklevel=3,
    )


def constant_columns(x: np.ndarray, mask: np.ndarray | None) -> list[int]:
    """Find the columns of finite numbers (N, D) whose observed values are all the same."""
    if mask is None:
        return np.flatnonzero(x.min(axis=0) == x.max(axis=0)).tolist()
    values = x.astype(np.float64, copy=False)
    low, high = np.where(mask, values, np.inf).min(axis=0), np.where(mask, values, -np.inf).max(axis=0)
    return np.flatnonzero(low == high).tolist()


def check_features(
    x: Any, expected: int, columns: Sequence[str] | None = None, *, model: str = "the model"
) -> None:
    """Refuse data whose number of columns differs from what a fitted model was given.

    Args:
        x: Shape (N, D).
        expected: The D of the fit.
        columns: The names seen in the fit, added to the message.
        model: The model's name.

    Raises:
        InputError: In scikit-learn's wording.

    Example:
        >>> check_features(np.zeros((2, 3)), 4, model="GaussianMixture")
        Traceback (most recent call last):
        ...
        jensen.errors.InputError: X has 3 features, but GaussianMixture is expecting 4 features as input.
    """
    found = np.shape(x)[-1] if np.ndim(x) else 0
    if found == expected:
        return
    named = f" They are: {', '.join(columns)}." if columns is not None and len(columns) <= 20 else ""
    raise InputError(f"X has {found} features, but {model} is expecting {expected} features as input.{named}")


def check_support(x: np.ndarray, likelihood: str, mask: np.ndarray | None = None) -> None:
    """Refuse data outside a likelihood's support.

    Args:
        x: Numbers, shape (N, D).
        likelihood: ``"bernoulli"``, ``"categorical"``, ``"gaussian"``, ``"student_t"``, ``"poisson"``,
            ``"negative_binomial"``, ``"beta_binomial"`` or ``"discretized_logistic"``.
        mask: True where observed.

    Raises:
        InputError: With what was found, where, and what to do instead.

    Example:
        >>> check_support(np.array([[0.0, 1.0]]), "bernoulli")
    """
    if likelihood not in _SUPPORTS:
        raise InputError(f"unknown likelihood {likelihood!r}{nearest(likelihood, _SUPPORTS)}")
    array = np.asarray(x)
    observed = np.ones(array.shape, bool) if mask is None else mask
    if observed.any():
        _SUPPORTS[likelihood](array, observed)


def _gaussian(x: np.ndarray, observed: np.ndarray) -> None:
    _refuse(x, observed & ~np.isfinite(x), "likelihood 'gaussian' needs finite numbers")


def _bernoulli(x: np.ndarray, observed: np.ndarray) -> None:
    found = kind(x, mask=observed)
    if found == "binary":
        return
    _refuse(x, observed & ~(x >= 0), "likelihood 'bernoulli' needs 0 or 1; use likelihood 'gaussian'")
    binarize = "binarize it (--binarize threshold or --binarize sample; datasets.binarize)"
    if found == "bytes":
        high = int(x[observed].max())
        raise InputError(
            f"x holds integers in 0..255 (largest {high}), but likelihood 'bernoulli' needs 0 or 1; "
            f"divide by {255 if high > 127 else high} and {binarize}, or choose likelihood 'gaussian'"
        )
    if found == "unit":
        raise InputError(
            "x holds values between 0 and 1, but likelihood 'bernoulli' needs exactly 0 or 1, "
            f"so the choice must be explicit: {binarize}, or use likelihood 'gaussian'"
        )
    _refuse(x, observed & ~(x <= 1), "likelihood 'bernoulli' needs 0 or 1; use likelihood 'gaussian'")


def _categorical(x: np.ndarray, observed: np.ndarray) -> None:
    needs = "likelihood 'categorical' needs integer codes 0..K-1; "
    _refuse(x, observed & ~(x >= 0), needs + "number the classes from 0")
    _refuse(x, observed & (x != np.rint(x)), needs + "use likelihood 'gaussian' for measurements")


def _counts(x: np.ndarray, observed: np.ndarray) -> None:
    needs = "a likelihood of counts needs whole numbers from 0; use likelihood 'gaussian' for measurements"
    _refuse(x, observed & ~((x >= 0) & (x == np.rint(x))), needs)


def _bytes(x: np.ndarray, observed: np.ndarray) -> None:
    needs = "a likelihood of 8-bit levels needs integers in 0..255; "
    _refuse(x, observed & ~((x >= 0) & (x == np.rint(x))), needs + "use likelihood 'gaussian'")
    _refuse(x, observed & ~(x <= 255), needs + "use likelihood 'negative_binomial' for larger counts")


_SUPPORTS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "bernoulli": _bernoulli,
    "categorical": _categorical,
    "gaussian": _gaussian,
    "student_t": _gaussian,
    "poisson": _counts,
    "negative_binomial": _counts,
    "beta_binomial": _bytes,
    "discretized_logistic": _bytes,
}


def _refuse(x: np.ndarray, bad: np.ndarray, advice: str) -> None:
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(f"x holds {x[row, column]:g} in row {row}, column {column}, but {advice}")


def _as_array(x: Any, what: str) -> np.ndarray:
    try:
        return np.asarray(x)
    except ValueError:
        raise InputError(f"{what}: rows have different lengths; every row needs the same columns") from None


def _check_numeric(x: np.ndarray, columns: Sequence[str] | None, what: str, locate: Locate) -> None:
    if x.dtype.kind in "buif":
        return
    if x.dtype.kind == "c":
        raise InputError(f"{what}: complex numbers ({x.dtype}); give the real and imaginary parts as columns")
    if x.ndim == 2 and x.dtype.kind in "OUS":
        for row, cells in enumerate(x):
            for j, cell in enumerate(cells):
                if not isinstance(cell, (bool, int, float, np.number, np.bool_)):
                    raise InputError(
                        f"{what}: column {_column(columns, j)} holds {cell!s:.40} ({type(cell).__name__}) in "
                        f"{locate(row)}, not a number; remove the column or encode it as numbers"
                    )
    raise InputError(
        f"{what}: entries have dtype {x.dtype}, not numbers; convert with np.asarray(x, dtype=float)"
    )


def _check_mask(mask: np.ndarray, shape: tuple[int, ...], columns: Sequence[str] | None, what: str) -> None:
    if mask.dtype != np.bool_:
        raise InputError(f"{what}: the mask has dtype {mask.dtype}; it must be bool, True where observed")
    if mask.shape != shape:
        raise InputError(f"{what}: the mask has shape {mask.shape}, the data {shape}; they must be equal")
    unseen = np.flatnonzero(~mask.any(axis=0)).tolist()
    if unseen:
        raise InputError(
            f"{what}: column {_column(columns, unseen[0])} has no observed value; remove the column"
        )


def first_column(bad: np.ndarray) -> tuple[int, int, str]:
    """Sum up where entries are bad, for a message.

    Args:
        bad: True where wrong, shape (N, D), somewhere.

    Returns:
        The first column hit, how many entries of it, and words for how many columns more.
    """
    hit = np.flatnonzero(bad.any(axis=0)).tolist()
    others = f"; {len(hit) - 1} more column{'s' * (len(hit) > 2)} too" if len(hit) > 1 else ""
    return hit[0], int(bad[:, hit[0]].sum()), others


def _non_finite(x: np.ndarray, bad: np.ndarray, columns: Sequence[str] | None, locate: Locate) -> str:
    j, count, others = first_column(bad)
    nans = int(np.isnan(x[bad[:, j], j]).sum())
    parts = [f"{nans} NaN"] * (nans > 0) + [f"{count - nans} infinite"] * (count > nans)
    return (
        f"column {_column(columns, j)} has {count} non-finite value{'s' * (count > 1)} ({', '.join(parts)}), "
        f"the first in {locate(int(bad[:, j].argmax()))}{others}; "
        "remove those rows, fill them, or mask them as unobserved"
    )


def _column(columns: Sequence[str] | None, j: int) -> str:
    return str(j) if columns is None else repr(columns[j])
