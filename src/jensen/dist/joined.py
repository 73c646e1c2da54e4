"""A row whose columns follow laws of several kinds."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jensen.dist.observation import AbstractObservation, CategoricalRow
from jensen.typing import Array, Float, PRNGKey


class JoinedRow(AbstractObservation):
    """Independent groups of columns.

    Attributes:
        parts: The law of each group.
        dims: Columns of each group.
    """

    parts: tuple[AbstractObservation, ...]
    dims: tuple[int, ...]

    def log_prob_entries(self, x: Float[Array, "d"]) -> Float[Array, "d"]:
        """Return the log-density of every entry, in nats."""
        columns = jnp.split(x, np.cumsum(self.dims)[:-1])
        return jnp.concatenate(
            [part.log_prob_entries(c) for part, c in zip(self.parts, columns, strict=True)]
        )

    @property
    def mean(self) -> Float[Array, "*b d"]:
        """E[x], entry by entry; of categories the most probable code."""
        return jnp.concatenate(
            [part.mode if isinstance(part, CategoricalRow) else part.mean for part in self.parts], -1
        )

    @property
    def mode(self) -> Float[Array, "*b d"]:
        """The most probable value of every entry."""
        return jnp.concatenate([part.mode for part in self.parts], -1)

    def sample(self, *, key: PRNGKey) -> Float[Array, "d"]:
        """Draw one row."""
        keys = jax.random.split(key, len(self.parts))
        return jnp.concatenate([part.sample(key=k) for part, k in zip(self.parts, keys, strict=True)])
