"""A user's network, tried on shapes before anything is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.errors import InputError
from jensen.nets.mlp import MLP
from jensen.typing import Array, PRNGKey


def checked_net(owner: str, net: Any, in_dim: int, out_dim: int) -> Any:
    """Return a network after tracing it once on a vector; nothing is computed.

    Args:
        owner: Class the network is given to, for messages.
        net: From a vector to a vector.
        in_dim: Length of what it will be given.
        out_dim: Length of what it has to make.

    Raises:
        InputError: If it cannot read such a vector, or makes another shape.
    """
    vector = jax.ShapeDtypeStruct((in_dim,), jnp.result_type(float))
    try:
        found = eqx.filter_eval_shape(net, vector)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{owner}: net cannot read a vector of {in_dim} numbers: {reason}") from error
    shape = getattr(found, "shape", None)
    if shape != (out_dim,):
        wrong = f"shape {shape}" if shape is not None else type(found).__name__
        raise InputError(f"{owner}: net makes {wrong} of {in_dim} numbers; wanted is a vector of {out_dim}")
    return net


def net_or_mlp(
    owner: str,
    net: Any,
    in_dim: int,
    out_dim: int,
    widths: Sequence[int],
    *,
    activation: Callable[[Array], Array] = jnp.tanh,
    key: PRNGKey,
) -> Any:
    """Return the network that was given, checked; or a perceptron where none was.

    Args:
        owner: Class the network is given to, for messages.
        net: From a vector to a vector; or None.
        in_dim: Length of what it will be given.
        out_dim: Length of what it has to make.
        widths: Hidden widths of the perceptron.
        activation: Between its layers.
        key: Randomness of its weights.

    Raises:
        InputError: If the network cannot read such a vector, or makes another shape.
    """
    if net is None:
        return MLP(in_dim, out_dim, widths, activation=activation, key=key)
    return checked_net(owner, net, in_dim, out_dim)
