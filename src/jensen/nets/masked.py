"""Small networks for the layers of flows: arrays only, so that a law may hold one."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.errors import checked_sizes
from jensen.typing import Array, Float, PRNGKey


class Conditioner(eqx.Module):
    """A tanh perceptron whose last layer starts at zero, so that the layer of a flow starts as the identity.

    Its leaves are arrays alone: laws that hold one can be stacked and mapped over.

    Args:
        in_dim: Length of the input.
        out_dim: Length of the output.
        widths: Widths of the hidden layers.
        key: Randomness of the initial weights.
    """

    weights: tuple[Float[Array, "o i"], ...]
    biases: tuple[Float[Array, "o"], ...]

    def __init__(self, in_dim: int, out_dim: int, widths: Sequence[int], *, key: PRNGKey):
        sizes = [in_dim, *checked_sizes("flow", "widths", widths, "(32,)"), out_dim]
        keys = jax.random.split(key, len(sizes))
        hidden = tuple(
            jax.random.normal(k, (b, a)) / max(a, 1) ** 0.5
            for a, b, k in zip(sizes[:-2], sizes[1:-1], keys, strict=False)
        )
        self.weights = (*hidden, jnp.zeros((out_dim, sizes[-2])))
        self.biases = tuple(jnp.zeros(size) for size in sizes[1:])

    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        """Map one input to one output."""
        return self.masked(x, (None,) * len(self.weights))

    def masked(self, x: Float[Array, "i"], masks: Sequence[np.ndarray | None]) -> Float[Array, "o"]:
        """Map one input with some weights held at zero.

        Args:
            x: The input.
            masks: For each layer which weights count, (out, in); ``None`` for all.
        """
        last = len(self.weights) - 1
        for i, (weight, bias, mask) in enumerate(zip(self.weights, self.biases, masks, strict=True)):
            x = (weight if mask is None else weight * mask) @ x + bias
            x = x if i == last else jnp.tanh(x)
        return x


class Masked(eqx.Module):
    """A perceptron from (u, context) to two numbers a coordinate, those of i seeing u_{<i} and the context.

    Args:
        dim: Length d of u.
        context_dim: Length of the context.
        widths: Widths of the hidden layers.
        key: Randomness of the initial weights.

    References:
        Germain et al. 2015, MADE: masked autoencoder for distribution estimation.
    """

    net: Conditioner
    dim: int = eqx.field(static=True)
    context_dim: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, dim: int, context_dim: int, widths: Sequence[int], *, key: PRNGKey):
        self.net = Conditioner(dim + context_dim, 2 * dim, widths, key=key)
        self.dim, self.context_dim, self.widths = dim, context_dim, tuple(widths)

    def __call__(self, x: Float[Array, "i"]) -> Float[Array, "o"]:
        """Map u joined to the context to d shifts and d raw log-scales."""
        return self.net.masked(x, self._masks())

    def _masks(self) -> list[np.ndarray]:
        """Number units by the last coordinate they have seen, 0 for none; nothing flows to lower numbers."""
        seen = np.concatenate([1 + np.arange(self.dim), np.zeros(self.context_dim, int)])
        masks, first = [], 0 if self.context_dim else min(1, self.dim - 1)
        for width in self.widths:
            unit = first + np.arange(width) % max(self.dim - first, 1)
            masks.append((unit[:, None] >= seen[None]).astype(np.float32))
            seen = unit
        out = np.tile(1 + np.arange(self.dim), 2)
        return [*masks, (out[:, None] > seen[None]).astype(np.float32)]
