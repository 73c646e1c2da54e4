"""A row whose columns follow laws of several kinds."""

from __future__ import annotations

from collections.abc import Sequence

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


def means_by_kind(law: AbstractObservation) -> tuple[Float[Array, "..."], ...]:
    """Return means that may be averaged over latents, one array a group of columns."""
    return tuple(part.mean for part in law.parts) if isinstance(law, JoinedRow) else (law.mean,)


def row_of_means(means: Sequence[Float[Array, "..."]], ndim: int) -> Float[Array, "*t d"]:
    """Return averaged means as one row.

    The mean of category codes has no meaning: the most probable category stands for them.

    Args:
        means: One array a group of columns.
        ndim: Dimensions of the row; of categories, probabilities have one more.
    """
    rows = [m if m.ndim == ndim else jnp.argmax(m, -1).astype(m.dtype) for m in means]
    return jnp.concatenate(rows, -1)
