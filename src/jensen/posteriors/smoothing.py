"""Inference networks that see whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum
from jensen.errors import check_key, checked_sizes
from jensen.families import AbstractFamily, check_family
from jensen.nets import GRU, Merge
from jensen.posteriors.stepwise import AbstractStepwise, Encoder, before, checked, small_head
from jensen.typing import Array, Float, PRNGKey


class Smoothing(AbstractStepwise):
    """q(z_t | carry_t, o_{t:T}, a_{t−1:T}): what the exact posterior looks like, so it can be tight.

    Given the carry, the exact p(z_t | z_{1:t−1}, x_{1:T}) needs the present and the future only: a recurrent
    network runs backwards over them, and the model's carry brings the past.

    Args:
        family: Which laws q(z_t | ·) may be.
        like: The model it is for; only its sizes are read.
        widths: Hidden widths of the head, at least one.
        encoder: Hidden widths of a perceptron on each row of x, or any equinox module in its place;
            empty for the row itself.
        memory: Length of the recurrent state over the present and the future; the first of ``widths`` by
            default.
        key: Randomness of the initial weights.

    Raises:
        CombinationError: If the model has no recurrence.

    References:
        Krishnan, Shalit & Sontag 2017 (deep Kalman smoother).

    Example:
        >>> import jax, jensen as jn
        >>> dmm = jn.models.NeuralStateSpace(3, 2, key=jax.random.key(0))
        >>> q = Smoothing(jn.families.FullGaussian(2), like=dmm, widths=(16,), key=jax.random.key(1))
        >>> q.head.rest.layers[-1].out_features
        5
    """

    family: AbstractFamily
    encoder: Encoder
    gru: GRU
    head: Merge
    cond_dim: int
    carry_dim: int
    initialized: bool

    def __init__(
        self,
        family: AbstractFamily,
        *,
        like: Any,
        widths: Sequence[int] = (200,),
        encoder: Sequence[int] | eqx.Module = (),
        memory: int | None = None,
        key: PRNGKey,
    ):
        check_key(key)
        model = checked("Smoothing", like)
        check_family("Smoothing", "family", family)
        widths = checked_sizes("Smoothing", "widths", widths, "(200,)", least=1)
        keys = jax.random.split(key, 3)
        memory = memory or widths[0]
        self.family = family
        self.encoder = Encoder(encoder, model.seen_dim, key=keys[0])
        seen = self.encoder.out_dim
        self.gru = GRU(seen + model.cond_dim, memory, key=keys[1])
        self.head = small_head(Merge(model.carry_dim, seen + memory, family.num_params, widths, key=keys[2]))
        self.cond_dim, self.carry_dim = model.cond_dim, model.carry_dim
        self.initialized = False

    def evidence(self, datum: Datum) -> Float[Array, "t e"]:
        """Return each row encoded, with the memory of it and those after."""
        seen = self.encoder.over_time(datum)
        along = jnp.concatenate([seen, before(datum, self.cond_dim)], -1)
        return jnp.concatenate([seen, self.gru.over_time(along, datum.steps, reverse=True)], -1)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Smoothing:
        """Take the input's centre and scale from the training sequences."""
        return eqx.tree_at(lambda q: (q.encoder, q.initialized), self, (self.encoder.started(rows), True))
