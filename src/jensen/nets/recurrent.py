"""Recurrent networks over one sequence; what does not depend on the state is done for all steps at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.nets.mlp import MLP, glorot
from jensen.typing import Array, Float, PRNGKey


class GRU(eqx.Module):
    """A gated recurrent unit.

    h' = (1 − u) ⊙ n + u ⊙ h with gates r, u = sigmoid(W x + U h + b) and n = tanh(W x + b + r ⊙ (U h + c)).

    Args:
        in_dim: Length of the input.
        state_dim: Length of h.
        key: Randomness of the initial weights.

    References:
        Cho et al. 2014.

    Example:
        >>> import jax
        >>> gru = GRU(3, 4, key=jax.random.key(0))
        >>> gru.over_time(jax.numpy.ones((5, 3))).shape
        (5, 4)
    """

    entry: eqx.nn.Linear
    own: eqx.nn.Linear
    state_dim: int

    def __init__(self, in_dim: int, state_dim: int, *, key: PRNGKey):
        to_entry, to_own = jax.random.split(key)
        self.entry = glorot(in_dim, 3 * state_dim, key=to_entry)
        self.own = glorot(state_dim, 3 * state_dim, key=to_own)
        self.state_dim = state_dim

    def __call__(self, state: Float[Array, "h"], projected: Float[Array, "g"]) -> Float[Array, "h"]:
        """Take one step.

        Args:
            state: h.
            projected: W x + b of this step, as ``entry`` gives it.
        """
        enter_r, enter_u, enter_n = jnp.split(projected, 3)
        own_r, own_u, own_n = jnp.split(self.own(state), 3)
        keep = jax.nn.sigmoid(enter_u + own_u)
        new = jnp.tanh(enter_n + jax.nn.sigmoid(enter_r + own_r) * own_n)
        return new + keep * (state - new)

    def over_time(
        self, x: Float[Array, "t i"], steps: Any = None, *, reverse: bool = False, start: Any = None
    ) -> Float[Array, "t h"]:
        """Return the state at every step.

        Args:
            x: Inputs.
            steps: Real steps; padded ones leave the state as it is.
            reverse: Start at the last real step and go backwards.
            start: The state to start from; ``None`` for zeros.
        """
        real = jnp.ones(len(x), bool) if steps is None else jnp.arange(len(x)) < steps

        def step(state: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
            projected, here = at
            moved = self(state, projected)
            state = moved if steps is None else jnp.where(here, moved, state)
            return state, state

        start = jnp.zeros(self.state_dim, x.dtype) if start is None else start
        return jax.lax.scan(step, start, (jax.vmap(self.entry)(x), real), reverse=reverse)[1]


class Bidirectional(eqx.Module):
    """Two gated recurrent units, one each way, their states joined.

    Args:
        in_dim: Length of the input.
        state_dim: Length of each state.
        key: Randomness of the initial weights.
    """

    forward: GRU
    backward: GRU

    def __init__(self, in_dim: int, state_dim: int, *, key: PRNGKey):
        one, other = jax.random.split(key)
        self.forward = GRU(in_dim, state_dim, key=one)
        self.backward = GRU(in_dim, state_dim, key=other)

    def over_time(self, x: Float[Array, "t i"], steps: Any = None) -> Float[Array, "t hh"]:
        """Return both states at every step."""
        both = self.forward.over_time(x, steps), self.backward.over_time(x, steps, reverse=True)
        return jnp.concatenate(both, -1)


class Merge(eqx.Module):
    """A perceptron of two inputs, of which the second's share can be computed ahead for all steps.

    Args:
        first_dim: Length of the input known only inside a scan.
        second_dim: Length of the input known before it.
        out_dim: Length of the output.
        widths: Hidden widths, at least one.
        activation: Applied between layers.
        key: Randomness of the initial weights.
    """

    first: eqx.nn.Linear
    second: eqx.nn.Linear
    rest: MLP
    activation: Callable[[Array], Array]

    def __init__(
        self,
        first_dim: int,
        second_dim: int,
        out_dim: int,
        widths: Sequence[int],
        *,
        activation: Callable[[Array], Array] = jnp.tanh,
        key: PRNGKey,
    ):
        keys = jax.random.split(key, 3)
        self.first = glorot(first_dim, widths[0], key=keys[0])
        self.second = glorot(second_dim, widths[0], key=keys[1])
        self.rest = MLP(widths[0], out_dim, widths[1:], activation=activation, key=keys[2])
        self.activation = activation

    def prepare(self, second: Float[Array, "s"]) -> Float[Array, "w"]:
        """Return what the second input adds to the first hidden layer."""
        return self.second(second)

    def __call__(self, first: Float[Array, "f"], prepared: Float[Array, "w"]) -> Float[Array, "o"]:
        """Map the first input and what ``prepare`` returned."""
        return self.rest(self.activation(self.first(first) + prepared))
