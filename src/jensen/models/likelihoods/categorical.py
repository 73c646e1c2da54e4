"""Entries that are one of K categories."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jensen.dist import CategoricalRow
from jensen.errors import InputError
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.nets import column_means
from jensen.typing import Array, Float


class Categorical(AbstractLikelihood):
    """p(x | z) = Π softmax(logitsᵢ)[xᵢ], for entries coded 0..K−1.

    Args:
        data_dim: Number of columns.
        num_classes: K, the same for all columns.

    Raises:
        InputError: If K < 2.
    """

    data_dim: int
    num_classes: int

    def __check_init__(self):
        if self.num_classes < 2:
            raise InputError(
                f"categorical likelihood: num_classes is {self.num_classes}; it must be 2 or more"
            )

    @property
    def num_params(self) -> int:
        """K logits a column."""
        return self.data_dim * self.num_classes

    def __call__(self, params: Float[Array, "p"]) -> CategoricalRow:
        """Read the output as logits, column by column."""
        return CategoricalRow(params.reshape(self.data_dim, self.num_classes))

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but whole numbers in 0..K−1."""
        seen = x if mask is None else x[mask]
        if not seen.size:
            return
        if (seen != np.floor(seen)).any():
            raise InputError("categorical likelihood: x holds fractions; code categories as 0, 1, 2, …")
        low, high = seen.min(), seen.max()
        if low < 0 or high >= self.num_classes:
            raise InputError(
                f"categorical likelihood: x ranges over {low:g}..{high:g}, the model has categories "
                f"0..{self.num_classes - 1}: recode x or set num_classes={int(high) + 1}; where categories "
                "not known to the fit may turn up, use likelihoods.OpenCategorical"
            )

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[Categorical, Float[Array, "p"]]:
        """Start at the columns' log-frequencies."""
        shares = [column_means(x == k, mask, weight) for k in range(self.num_classes)]
        return self, jnp.asarray(np.log(np.clip(np.stack(shares, -1), 0.01, 1)).reshape(-1), jnp.float32)
