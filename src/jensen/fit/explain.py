"""Which term of the objective, and which parameters, are not finite."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jensen.core import Datum, Inference
from jensen.fit.chunk import Program, State, batch_at
from jensen.fit.prepare import BatchLoss
from jensen.typing import Array, PyTree

_TERMS = (
    ("log_likelihood", "log p(x|z)"),
    ("log_prior", "log p(z)"),
    ("log_q", "log q(z|x)"),
    ("kl", "KL(q ‖ p)"),
    ("log_joint", "log p(x, z)"),
    ("penalty", "the draw's penalty"),
)


def explain(program: Program, loss: BatchLoss, state: State, frozen: PyTree, rows: Datum) -> str:
    """Take the step after ``state`` slowly and say what of it is not finite.

    Args:
        program: What was run.
        loss: Its loss.
        state: The finite state before the step.
        frozen: Arrays that are not trained.
        rows: The data set.

    Returns:
        As in ``log p(x|z) is not finite for row 17, nor the gradient of .model.net.layers[0].weight``.
    """
    batch, key = batch_at(program, state, rows)

    def run(params: PyTree) -> tuple[Array, Any]:
        value, (bound, *_) = loss(params, frozen, batch, key=key, step=state.step, memory=state.memory)
        return value, bound

    (value, bound), grads = jax.value_and_grad(run, has_aux=True)(state.params)
    parts = [_term(loss, state, frozen, batch, key)]
    if not parts[0]:
        kind = "the loss" if not (jnp.isfinite(value) & jnp.isfinite(bound)) else ""
        parts = [kind]
    group = _first(grads)
    if group:
        parts.append(f"the gradient of {group}")
    said = " and ".join(part for part in parts if part)
    return f"not finite: {said or 'the update of the optimizer'}"


def _term(loss: BatchLoss, state: State, frozen: PyTree, batch: Datum, key: Array) -> str:
    """Name the first non-finite term and its row."""
    inference: Inference = eqx.combine(state.params, frozen, loss.static.value)
    each = loss.estimates(inference, batch, key=key, step=state.step, memory=state.memory)
    values = [("the bound", each.value)]
    if each.terms is not None:
        values = [(word, getattr(each.terms, name)) for name, word in _TERMS] + values
    elif inference.gradient is not None:
        values = [("log p(x)", each.value)]
    for word, value in values:
        if value is None:
            continue
        bad = ~jnp.isfinite(value).reshape(value.shape[0], -1).all(1)
        if bad.any():
            place = int(jnp.argmax(bad))
            row = place if batch.index is None else int(batch.index[place])
            return f"{word} of row {row}"
    return ""


def _first(tree: PyTree) -> str:
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        if not jnp.isfinite(leaf).all():
            return jax.tree_util.keystr(path).removeprefix(".")
    return ""
