"""Variants of a datum that must not be told apart."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum


def hide(datum: Datum) -> tuple[Datum, Datum] | None:
    """Return two data that differ in hidden entries alone: every other entry is masked, one copy holds zeros.

    Entries that were hidden stay so. ``None`` where x has a single entry.
    """
    x = jnp.asarray(datum.x)
    if x.size < 2:
        return None
    mask = jnp.arange(x.size).reshape(x.shape) % 2 == 0
    if datum.mask is not None:
        mask = mask & jnp.asarray(datum.mask)
    blank = jnp.where(mask, x, jnp.zeros_like(x))
    return _with(datum, x, mask), _with(datum, blank, mask)


def pad(datum: Datum) -> Datum | None:
    """Return the datum with zeros and ones after its last real step; ``None`` if it has no such steps."""
    if datum.steps is None or np.ndim(datum.x) < 2 or int(np.asarray(datum.steps)) >= len(datum.x):
        return None
    x = jnp.asarray(datum.x)
    later = (jnp.arange(len(x)) >= datum.steps).reshape(-1, *[1] * (x.ndim - 1))
    other = jnp.where(later, (1 - jnp.clip(x, 0, 1)).astype(x.dtype), x)
    return eqx.tree_at(lambda d: d.x, datum, other)


def on_device(datum: Datum) -> Datum:
    """Return the datum with numpy's arrays and numbers turned into jax's."""
    return jax.tree.map(jnp.asarray, datum)


def stacked(datum: Datum) -> Datum:
    """Return two copies of the datum on a leading axis."""
    return jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * 2), datum)


def _with(datum: Datum, x: object, mask: object) -> Datum:
    return eqx.tree_at(lambda d: (d.x, d.mask), datum, (x, mask), is_leaf=lambda leaf: leaf is None)
