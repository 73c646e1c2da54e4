"""Inference networks that see the past only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import CarriesOn, Datum, End
from jensen.errors import check_key, checked_sizes
from jensen.families import AbstractFamily, check_family
from jensen.nets import GRU, Merge
from jensen.posteriors.stepwise import AbstractStepwise, Encoder, before, checked, small_head
from jensen.typing import Array, Float, PRNGKey


class Filtering(AbstractStepwise, CarriesOn):
    """q(z_t | carry_t, o_{1:t}, a_{1:t−1}): usable online, never tight where the future tells of the past.

    The carry is the model's own: z_{t−1} in a deep Markov model, the recurrent state in an RSSM. Where the
    carry does not remember the past, a recurrent network over past observations does.

    Args:
        family: Which laws q(z_t | ·) may be.
        like: The model it is for; only its sizes are read.
        widths: Hidden widths of the head, at least one.
        encoder: Hidden widths of a perceptron on each row of x, or any equinox module in its place;
            empty for the row itself.
        memory: Length of the recurrent state over past observations and actions; 0 for none. By default
            none if the model's carry remembers, else the first of ``widths``.
        key: Randomness of the initial weights.

    Raises:
        CombinationError: If the model has no recurrence.

    Example:
        >>> import jax, jensen as jn
        >>> dmm = jn.models.NeuralStateSpace(3, 2, key=jax.random.key(0))
        >>> q = Filtering(jn.families.DiagGaussian(2), like=dmm, widths=(16,), key=jax.random.key(1))
        >>> q.gru.state_dim
        16
    """

    family: AbstractFamily
    encoder: Encoder
    gru: GRU | None
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
        model = checked("Filtering", like)
        check_family("Filtering", "family", family)
        widths = checked_sizes("Filtering", "widths", widths, "(200,)", least=1)
        keys = jax.random.split(key, 3)
        memory = (0 if model.remembers else widths[0]) if memory is None else memory
        self.family = family
        self.encoder = Encoder(encoder, model.seen_dim, key=keys[0])
        seen = self.encoder.out_dim
        self.gru = GRU(seen + model.cond_dim, memory, key=keys[1]) if memory else None
        evidence = seen + memory
        self.head = small_head(Merge(model.carry_dim, evidence, family.num_params, widths, key=keys[2]))
        self.cond_dim, self.carry_dim = model.cond_dim, model.carry_dim
        self.initialized = False

    def evidence(self, datum: Datum) -> Float[Array, "t e"]:
        """Return each row encoded, with the memory of it and those before."""
        seen = self.encoder.over_time(datum)
        if self.gru is None:
            return seen
        along = jnp.concatenate([seen, before(datum, self.cond_dim)], -1)
        memory = self.gru.over_time(along, datum.steps, start=self._remembered(datum))
        return jnp.concatenate([seen, memory], -1)

    def onset(self, model: Any) -> End:
        """Return the model's start, and an empty memory."""
        return End(model.start(), jnp.zeros(self.gru.state_dim if self.gru else 0))

    def _remembered(self, datum: Datum) -> Float[Array, "h"] | None:
        """Return the memory at the end of the window before; ``None`` where there is none to go on from."""
        carried = datum.carried
        if carried is None:
            return None
        assert carried.end is not None  # the loop that cuts windows fills it in
        return jnp.where(carried.goes_on, jax.lax.stop_gradient(carried.end.memory), 0.0)

    def initialize_from(self, rows: Datum, *, key: PRNGKey) -> Filtering:
        """Take the input's centre and scale from the training sequences."""
        return eqx.tree_at(lambda q: (q.encoder, q.initialized), self, (self.encoder.started(rows), True))
