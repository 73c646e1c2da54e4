"""Binary entries."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jensen.dist import BernoulliRow
from jensen.errors import InputError
from jensen.models.likelihoods.base import AbstractLikelihood
from jensen.nets import column_means
from jensen.typing import Array, Float


class Bernoulli(AbstractLikelihood):
    """p(x | z) = Π Bernoulli(xᵢ; sigmoid(logitᵢ)), for entries 0 and 1.

    Args:
        data_dim: Number of columns.
    """

    data_dim: int

    @property
    def num_params(self) -> int:
        """One logit a column."""
        return self.data_dim

    def __call__(self, params: Float[Array, "p"]) -> BernoulliRow:
        """Read the output as logits."""
        return BernoulliRow(params)

    def check(self, x: np.ndarray, mask: np.ndarray | None) -> None:
        """Refuse anything but 0 and 1; grey values need an explicit choice."""
        seen = x if mask is None else x[mask]
        if ((seen == 0) | (seen == 1)).all():
            return
        low, high = seen.min(), seen.max()
        if low >= 0 and high <= 1:
            raise InputError(
                "bernoulli likelihood: x holds values strictly between 0 and 1; a Bernoulli only knows 0 and "
                "1: binarize x (datasets.binarize, --binarize sample|threshold) or use likelihood='gaussian'"
            )
        if low < 0:
            raise InputError(
                f"bernoulli likelihood: x ranges over {low:g}..{high:g}, not 0 and 1: use "
                "likelihood='gaussian', or binarize x (datasets.binarize, --binarize threshold)"
            )
        raise InputError(
            f"bernoulli likelihood: x ranges over {low:g}..{high:g}, not 0 and 1: divide by {high:g} and "
            "binarize (datasets.binarize, --binarize sample|threshold), or use likelihood='gaussian'"
        )

    def start(
        self, x: np.ndarray, mask: np.ndarray | None, weight: np.ndarray | None
    ) -> tuple[Bernoulli, Float[Array, "p"]]:
        """Start at the columns' log-odds, kept within 1 % and 99 %."""
        mean = np.clip(column_means(x, mask, weight), 0.01, 0.99)
        return self, jnp.asarray(np.log(mean) - np.log1p(-mean), jnp.float32)
