"""Padded sequences with what is known about them, and how parts of unequal length are put together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jensen.datasets.check import first_column
from jensen.datasets.dataset import Kind, kind
from jensen.errors import InputError, JensenWarning


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of D columns, padded with zeros to T steps.

    Attributes:
        x: The numbers, shape (N, T, D). Unobserved entries are NaN, so that whoever overlooks the mask is
            refused: give the whole object to ``fit.*``, ``use.*`` and ``diagnose.*``.
        lengths: Real steps of each, shape (N,).
        columns: D names.
        name: The embedded name, or the file's name without its endings.
        cond: Actions or inputs, shape (N, T, U) or (N, T − 1, U): a_t follows observation o_t.
        mask: True where observed, shape (N, T, D); None when everything is.
        ids: What the file calls each sequence, shape (N,); None where they have no names.
        actions: U names.
        image_shape: (height, width) or (height, width, 3) where each step is a picture.
    """

    x: Float[np.ndarray, "n t d"]
    lengths: Int[np.ndarray, "n"]
    columns: tuple[str, ...]
    name: str
    cond: Float[np.ndarray, "n u_t u"] | None = None
    mask: Bool[np.ndarray, "n t d"] | None = None
    ids: Shaped[np.ndarray, "n"] | None = None
    actions: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None

    @cached_property
    def real(self) -> Bool[np.ndarray, "n t"]:
        """True at real steps, False at padding, (N, T)."""
        return np.arange(self.x.shape[1]) < self.lengths[:, None]

    @cached_property
    def seen(self) -> Bool[np.ndarray, "n t d"]:
        """True where an entry is real and observed, (N, T, D)."""
        real = np.broadcast_to(self.real[..., None], self.x.shape)
        return real if self.mask is None else real & self.mask

    @cached_property
    def kind(self) -> Kind:
        """The kind of the observed values."""
        return kind(self.x, mask=self.seen)

    @property
    def steps(self) -> int:
        """Real steps of all sequences together."""
        return int(self.lengths.sum())

    def take(self, rows: Int[np.ndarray, "m"]) -> Sequences:
        """Return some of the sequences, padded as before."""
        return replace(
            self,
            x=self.x[rows],
            lengths=self.lengths[rows],
            cond=None if self.cond is None else self.cond[rows],
            mask=None if self.mask is None else self.mask[rows],
            ids=None if self.ids is None else self.ids[rows],
        )

    def __repr__(self) -> str:
        n, longest, width = self.x.shape
        acts = f", {self.cond.shape[-1]} actions" if self.cond is not None else ""
        return f"Sequences({self.name!r}, {n} of up to {longest} steps x {width} columns{acts}, {self.kind})"


def padded(parts: Sequence[Shaped[np.ndarray, "_ d"]]) -> Shaped[np.ndarray, "n t d"]:
    """Stack tables of one width and unequal length, zeros behind the shorter ones.

    Example:
        >>> padded([np.ones((1, 2)), np.ones((3, 2))]).shape
        (2, 3, 2)
    """
    longest = max(len(part) for part in parts)
    out = np.zeros((len(parts), longest, parts[0].shape[1]), np.result_type(*parts))
    for row, part in zip(out, parts, strict=True):
        row[: len(part)] = part
    return out


def runs(ids: Shaped[np.ndarray, "n"]) -> tuple[Shaped[np.ndarray, "k"], Int[np.ndarray, "k"]]:
    """Find stretches of equal entries.

    Returns:
        The entry of every stretch, and its length.

    Example:
        >>> runs(np.array(["b", "b", "a"]))
        (array(['b', 'a'], dtype='<U1'), array([2, 1]))
    """
    begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]]))
    return ids[begins], np.diff(np.append(begins, len(ids)))


def check_lengths(lengths: np.ndarray, steps: int, what: str) -> Int[np.ndarray, "n"]:
    """Check the lengths of sequences that follow one another in one table.

    Args:
        lengths: Steps of each sequence.
        steps: Steps of all together, as the table has them.
        what: What holds them, for the message.

    Raises:
        InputError: Not whole numbers of 0 or more, or another sum.
    """
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise InputError(
            f"{what}: 'lengths' must be one whole number a sequence; it has shape {lengths.shape} and dtype "
            f"{lengths.dtype}"
        )
    if (lengths < 0).any():
        row = int(np.argmax(lengths < 0))
        raise InputError(f"{what}: sequence {row} has length {lengths[row]}; it must be 0 or more")
    if lengths.sum() != steps:
        raise InputError(
            f"{what}: {len(lengths)} lengths sum to {lengths.sum()}, but x has {steps} steps; they must agree"
        )
    return lengths.astype(np.int64)


def checked(data: Sequences, *, missing: str, what: str) -> Sequences:
    """Apply the policy for missing cells, and refuse what no model can use; warn of what says nothing.

    Args:
        data: Sequences with NaN where a cell is missing.
        missing: ``"error"`` or ``"mask"``.
        what: What to call the data: a file or an embedded name.

    Raises:
        InputError: Missing or infinite entries (column, sequence and step), or nothing observed at all.
    """
    real = np.broadcast_to(data.real[..., None], data.x.shape)
    seen = real if data.mask is None else real & data.mask
    absent = np.isnan(data.x) & seen
    if absent.any() and missing == "error":
        pads = "if these tails are padding, save x and 'lengths' as npz; else " * _are_tails(absent, data)
        raise InputError(
            f"{what}: {_located(data, absent, 'missing')}; {pads}fill them, or treat them as unobserved "
            "(missing='mask')"
        )
    infinite = np.isinf(data.x) & seen
    if infinite.any():
        raise InputError(f"{what}: {_located(data, infinite, 'infinite')}; correct them")
    seen = seen & ~absent
    if not seen.any():
        raise InputError(f"{what}: no entry of any sequence is observed; there is nothing to fit")
    unseen = np.flatnonzero(~seen.any((0, 1)))
    if len(unseen):
        raise InputError(f"{what}: column {data.columns[unseen[0]]!r} has no observed value; remove it")
    if data.cond is not None and not np.isfinite(data.cond).all():
        n, t, u = np.argwhere(~np.isfinite(data.cond))[0]
        raise InputError(
            f"{what}: action {data.actions[u]!r} holds {data.cond[n, t, u]:g} in sequence {_id(data, n)}, "
            f"step {t}; actions must be finite"
        )
    _warn_silent(data, seen, what)
    if data.mask is None and not absent.any():
        return data
    # padding counts as observed zeros in neither place: models ask for real steps first
    return replace(data, x=np.where(seen | ~real, data.x, np.nan), mask=seen | ~real)


def _are_tails(absent: np.ndarray, data: Sequences) -> bool:
    """Whether all that is absent are last steps, whole, of sequences given at full length."""
    steps = np.asarray(absent.any(-1))
    whole = (absent.all(-1) == steps).all() and (steps[:, 1:] >= steps[:, :-1]).all()
    return bool(whole and (data.lengths == data.x.shape[1]).all() and not steps.all(1).any())


def _warn_silent(data: Sequences, seen: np.ndarray, what: str) -> None:
    empty, blank = data.lengths == 0, (data.lengths > 0) & ~seen.any((1, 2))
    for which, why in ((empty, "no steps"), (blank, "no observed entry")):
        if which.any():
            first, count = int(np.argmax(which)), int(which.sum())
            one = f"sequence {_id(data, first)} has" if count == 1 else f"{count} sequences have"
            warnings.warn(f"{what}: {one} {why}, so log p = 0", JensenWarning, stacklevel=5)


def _located(data: Sequences, bad: np.ndarray, how: str) -> str:
    j, count, others = first_column(bad.reshape(-1, bad.shape[-1]))
    n, t = np.argwhere(bad[..., j])[0]
    return (
        f"column {data.columns[j]!r} has {count} {how} value{'s' * (count > 1)}, the first in sequence "
        f"{_id(data, n)}, step {t}{others}"
    )


def _id(data: Sequences, row: int | np.integer) -> str:
    return str(row) if data.ids is None else repr(data.ids[row].item())
