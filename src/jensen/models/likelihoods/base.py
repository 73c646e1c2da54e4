"""A likelihood turns a network's output into a law of one row."""

# annotations stay unquoted in this file: equinox cannot see an AbstractVar in a string
from abc import abstractmethod

import equinox as eqx
import numpy as np

from jensen.dist import AbstractObservation
from jensen.typing import Array, Float


class AbstractLikelihood(eqx.Module):
    """Output of a network to p(x | z), entries independent."""

    data_dim: eqx.AbstractVar[int]

    @property
    @abstractmethod
    def num_params(self) -> int:
        """Length of the network's output."""

    @abstractmethod
    def __call__(self, params: Float[Array, "p"]) -> AbstractObservation:
        """Build the law of a row."""

    @abstractmethod
    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse rows outside the support.

        Raises:
            InputError: Saying which values do not belong and which likelihood or coding to use.
        """

    @abstractmethod
    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple["AbstractLikelihood", Float[Array, "p"]]:
        """Choose data-dependent constants and the output bias at which the law matches the column means."""
