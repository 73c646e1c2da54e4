"""One latent behind the whole data set, seen as one datum: the data set itself."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jensen.core import AbstractLatentModel, AbstractModel, Datum
from jensen.typing import Scalar


class Pooled(AbstractModel):
    """log p(x_1, …, x_N, z) of a model whose z is shared by all data. Its datum is the stacked rows."""

    base: AbstractModel

    def log_joint(self, z: Any, datum: Datum) -> Scalar:
        """Return log p(z) + Σᵢ wᵢ log p(xᵢ | z); for a black-box model, the sum of its log-joints."""
        base = self.base

        def one(row: Datum) -> tuple[Any, Any]:
            if isinstance(base, AbstractLatentModel):
                prior: Any = base.prior_of(row.cond)
                return base.log_likelihood(z, row), prior.log_prob(z).sum()
            return base.log_joint(z, row), jnp.zeros(())

        data, prior = jax.vmap(one)(datum)
        weighted = data if datum.weight is None else data * datum.weight
        return weighted.sum() + prior.mean()


def as_one(rows: Datum) -> Datum:
    """Return the stacked rows as a stack of one datum."""
    return jax.tree.map(lambda leaf: leaf[None], rows)
