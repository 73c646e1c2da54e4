"""The forms of `conv.py`: the same layer by XLA's convolutions, split by parity, and as matrix products."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from conv import BATCH, CHANNELS, COLOURS, LATENT, RATE, SIDE, STEPS, pictures
from harness import Run
from jax import Array, lax

from jensen.nets import patches

LAYOUT = ("NHWC", "HWIO", "NHWC")
Layer = Callable[[Array, Array], Array]


class Form(NamedTuple):
    """A layer down and a layer up, functions of (kernel, picture), and how wide kernels are."""

    down: Layer
    up: Layer
    kernel: int = 4


def strided(kernel: Array, x: Array) -> Array:
    """XLA's strided convolution."""
    return lax.conv_general_dilated(x[None], kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)[0]


def transposed(kernel: Array, x: Array) -> Array:
    """XLA's transposed convolution."""
    return lax.conv_transpose(x[None], kernel, (2, 2), ((2, 2), (2, 2)), dimension_numbers=LAYOUT)[0]


def from_space(kernel: Array, x: Array) -> Array:
    """A plain convolution of 2 × 2 blocks."""
    i, o = kernel.shape[2:]
    blocks = kernel.reshape(2, 2, 2, 2, i, o).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 4 * i, o)
    x = patches.space_to_depth(jnp.pad(x, ((1, 1), (1, 1), (0, 0))), 2)
    return lax.conv_general_dilated(x[None], blocks, (1, 1), "VALID", dimension_numbers=LAYOUT)[0]


def by_parity(kernel: Array, x: Array) -> Array:
    """Four plain convolutions, one for each parity of row and column."""
    (h, w, _), x = x.shape, jnp.pad(x, ((1, 1), (1, 1), (0, 0)))
    rows = []
    for a in (0, 1):
        parts = [x[None, a : h + 1 + a, b : w + 1 + b] for b in (0, 1)]
        out = [
            lax.conv_general_dilated(part, kernel[a::2, b::2], (1, 1), "VALID", dimension_numbers=LAYOUT)[0]
            for b, part in enumerate(parts)
        ]
        rows.append(jnp.stack(out, 2))
    return jnp.stack(rows, 1).reshape(2 * h, 2 * w, -1)


def _as(layer: Any, kernel: Array) -> Any:
    """Return jensen's layer with this kernel and no bias."""
    new = object.__new__(layer)
    for name, value in {"weight": kernel, "bias": jnp.zeros(kernel.shape[-1]), "factor": 2}.items():
        object.__setattr__(new, name, value)
    return new


FORMS = {
    "lax": Form(strided, transposed),
    "parity": Form(strided, by_parity),
    "space": Form(from_space, by_parity),
    "products": Form(
        lambda kernel, x: _as(patches.ConvDown, kernel)(x), lambda kernel, x: _as(patches.ConvUp, kernel)(x)
    ),
    "patches": Form(
        lambda kernel, x: _as(patches.PatchDown, kernel)(x),
        lambda kernel, x: _as(patches.PatchUp, kernel)(x),
        kernel=2,
    ),
}


def start(form: Form) -> dict[str, Any]:
    """Return the weights of the two networks."""
    keys: Iterator[Array] = iter(jax.random.split(jax.random.key(0), 10))
    down, up = (COLOURS, *CHANNELS), (*CHANNELS[::-1], COLOURS)
    deep = CHANNELS[-1] * (SIDE // 2 ** len(CHANNELS)) ** 2

    def drawn(shape: tuple[int, ...], fan_in: int) -> Array:
        return jax.random.normal(next(keys), shape) * (2 / fan_in) ** 0.5

    k = form.kernel
    return {
        "down": [(drawn((k, k, a, b), k * k * a), jnp.zeros(b)) for a, b in itertools.pairwise(down)],
        "up": [(drawn((k, k, a, b), (k // 2) ** 2 * a), jnp.zeros(b)) for a, b in itertools.pairwise(up)],
        "heads": (0.1 * drawn((deep, 2 * LATENT), deep), jnp.zeros(2 * LATENT)),
        "expand": (drawn((LATENT, deep), LATENT), jnp.zeros(deep)),
    }


def loss(params: dict[str, Any], form: Form, x: Array, key: Array) -> Array:
    """Return −ELBO of one picture."""
    h = x.reshape(SIDE, SIDE, COLOURS)
    for kernel, bias in params["down"]:
        h = jax.nn.relu(form.down(kernel, h) + bias)
    mean, log_scale = jnp.split(h.reshape(-1) @ params["heads"][0] + params["heads"][1], 2)
    z = mean + jnp.exp(log_scale) * jax.random.normal(key, mean.shape)
    h = (z @ params["expand"][0] + params["expand"][1]).reshape(*[SIDE // 2 ** len(CHANNELS)] * 2, -1)
    for kernel, bias in params["up"]:
        h = form.up(kernel, jax.nn.relu(h)) + bias
    logits = h.reshape(-1)
    kl = 0.5 * jnp.sum(mean**2 + jnp.exp(2 * log_scale) - 2 * log_scale - 1)
    return kl - jnp.sum(x * logits - jnp.logaddexp(0, logits))


def steps(name: str) -> Run:
    """Set up a bare jitted step."""
    form, x, adam = FORMS[name], pictures(640), optax.adam(RATE)

    def batch_loss(params: dict[str, Any], rows: Array, key: Array) -> Array:
        keys = jax.random.split(key, BATCH)
        return jax.vmap(lambda row, key: loss(params, form, row, key))(rows, keys).mean()

    @jax.jit
    def step(params: Any, state: Any, rows: Array, key: Array) -> tuple[Any, Any, Array]:
        value, gradient = jax.value_and_grad(batch_loss)(params, rows, key)
        updates, state = adam.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    def run() -> Callable[[], dict[str, float]]:
        params = start(form)
        state, rng, value = adam.init(params), np.random.default_rng(0), jnp.zeros(())
        for index in range(STEPS):
            rows = jnp.asarray(x[rng.choice(len(x), BATCH, replace=False)])
            params, state, value = step(params, state, rows, jax.random.key(index))
        last = float(value)
        return lambda: {"bound of the last batch": -last, "weights": _count(params)}

    return run


def _count(params: Any) -> float:
    return float(sum(leaf.size for leaf in jax.tree.leaves(params)))
