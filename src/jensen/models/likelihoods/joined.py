"""Rows whose columns are of several kinds."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jensen.dist import JoinedRow
from jensen.errors import InputError
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.typing import Array, Float


class Joined(AbstractLikelihood):
    """p(x | z) = Π over groups of columns, each with a likelihood of its own.

    For tables of reals, counts and categories. Log-densities of real columns and log-masses of discrete ones
    add up to one log-density, in nats, comparable between models of the same columns in the same units and
    codings. Where a mean is asked for, a category, whose codes are no quantities, gives its most probable
    code. ``for_columns`` makes one from a list of names.

    Args:
        parts: The likelihoods, in the order of their columns.

    Raises:
        InputError: If there are no parts.

    Example:
        >>> from jensen.models.likelihoods import Categorical, Gaussian
        >>> Joined((Gaussian(3), Categorical(1, 5))).num_params
        8
    """

    parts: tuple[AbstractLikelihood, ...]

    def __init__(self, parts: tuple[AbstractLikelihood, ...]):
        if not parts:
            raise InputError("joined likelihood: give at least one likelihood")
        self.parts = tuple(parts)

    @property
    def data_dim(self) -> int:
        """Columns of all parts."""
        return sum(part.data_dim for part in self.parts)

    @property
    def num_params(self) -> int:
        """Outputs of all parts."""
        return sum(part.num_params for part in self.parts)

    def __call__(self, params: Float[Array, "p"]) -> JoinedRow:
        """Read the output part by part."""
        ends = np.cumsum([part.num_params for part in self.parts])[:-1]
        shares = jnp.split(params, ends)
        laws = tuple(part(share) for part, share in zip(self.parts, shares, strict=True))
        return JoinedRow(laws, tuple(part.data_dim for part in self.parts))

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse what any part refuses, naming its columns."""
        for part, columns in self._columns():
            try:
                part.check(x[:, columns], None if mask is None else mask[:, columns])
            except InputError as error:
                first, last = columns.start, columns.stop - 1
                where = f"column {first}" if first == last else f"columns {first}..{last}"
                note = ", of which column 0 below is the first" if first else ""
                raise InputError(f"{where}{note}: {error}") from error

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[Joined, Float[Array, "p"]]:
        """Start every part from its own columns."""
        both = [
            part.start(x[:, columns], None if mask is None else mask[:, columns], weight)
            for part, columns in self._columns()
        ]
        return Joined(tuple(part for part, _ in both)), jnp.concatenate([bias for _, bias in both])

    def _columns(self) -> list[tuple[AbstractLikelihood, slice]]:
        ends = np.cumsum([part.data_dim for part in self.parts])
        return [
            (part, slice(int(end) - part.data_dim, int(end)))
            for part, end in zip(self.parts, ends, strict=True)
        ]
