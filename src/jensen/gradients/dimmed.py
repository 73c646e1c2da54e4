"""Draws that pass on to q only a part of the gradient that reaches them, a part found after they are made."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum
from jensen.dist import Draw, draw
from jensen.gradients.common import made_of_model
from jensen.typing import Array, Float, PRNGKeys, PyTree, Scalar


class Dial(NamedTuple):
    """Zeros by whose slopes a loss says how much of its gradient passes through each draw.

    Where the loss holds ``(s * share).sum() + whole``, which is zero, draw k passes on the part sₖ of it.

    Attributes:
        share: A zero for each draw.
        whole: A zero that gets the weight of the datum in the loss, by which the slopes of the shares are
            divided.
    """

    share: Float[Array, "draws"]
    whole: Scalar


def dimmed_draws(q: Any, posterior: Any, model: Any, datum: Datum, *, keys: PRNGKeys) -> tuple[Draw, Dial]:
    """Draw once for each key along the path, dimming the gradient in the posterior's own parameters.

    Args:
        q: The law the posterior returned for this model and datum.
        posterior: The posterior.
        model: The model. What q is made of that is the model's gets its whole gradient.
        datum: The datum.
        keys: Randomness, one for each draw.

    Returns:
        The draws, stacked, and the dial that dims them.
    """
    apart = (jax.tree.leaves(datum.x)[0], jax.random.key_data(keys))
    if made_of_model(posterior):
        family, own = posterior.family_given(model, datum), posterior.parameters(datum)
        each, dial = dimmed(jnp.broadcast_to(own, (len(keys), *own.shape)), *apart)
        return jax.vmap(lambda own, key: draw(family(own), key=key))(each, keys), dial
    drawn = jax.vmap(lambda key: draw(q, key=key))(keys)
    (z, carry), dial = dimmed((drawn.z, drawn.carry), *apart)
    return Draw(z, drawn.log_q, carry, drawn.penalty), dial


def dimmed(tree: PyTree, *apart: Array) -> tuple[PyTree, Dial]:
    """Return a tree stacked over draws unchanged, and the dial that dims its gradient.

    Args:
        tree: What is dimmed, with a leading axis of draws.
        apart: What differs between the data and the draws that a caller's vmap goes over. The slopes of what
            they share would be added up before they are multiplied, so the tree is made to depend on these.
    """
    floats, others = eqx.partition(tree, eqx.is_inexact_array)
    for beside in apart:
        zero = jnp.where((beside == beside).all(), 0, 0)
        floats = jax.tree.map(lambda leaf: leaf + zero.astype(leaf.dtype), floats)  # noqa: B023
    floats, dial = _dimmed(floats)
    return eqx.combine(floats, others), dial


@jax.custom_vjp
def _dimmed(floats: PyTree) -> tuple[PyTree, Dial]:
    first = jax.tree.leaves(floats)[0]
    share = jnp.where(first == first, 0, 0).astype(first.dtype).sum(range(1, first.ndim))
    return floats, Dial(share, share.sum())


def _forward(floats: PyTree) -> tuple[tuple[PyTree, Dial], None]:
    return _dimmed(floats), None


def _backward(_: None, slopes: tuple[PyTree, Dial]) -> tuple[PyTree]:
    above, dial = slopes
    weightless = dial.whole == 0  # a padding row
    part = jnp.where(weightless, 0.0, dial.share / jnp.where(weightless, 1.0, dial.whole))
    return (jax.tree.map(lambda leaf: leaf * part.reshape(-1, *[1] * (leaf.ndim - 1)), above),)


_dimmed.defvjp(_forward, _backward)
