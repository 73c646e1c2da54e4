"""Sequences continued past what was observed of them: what rollouts, forecasts and open-loop errors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasRecurrence, IndexesData, Inference
from jensen.diagnose.progress import Silent
from jensen.diagnose.rows import per_row
from jensen.dist import AncestralPath, draw
from jensen.errors import InputError, check_key
from jensen.fit import Data
from jensen.fit.enter import centred, check_support, narrowed, origin, real_entries
from jensen.models.sequence import LinearGaussianSSM
from jensen.objectives.stepwise import is_stepwise
from jensen.typing import Array, Float, PRNGKey, PRNGKeys, PyTree

BLOCK = 256
"""Most sequences in one compiled call."""

MEMORY = 2**25
"""Most numbers that one compiled call may keep."""


def in_units(inference: Inference, x: np.ndarray) -> np.ndarray:
    """Return rows that came out of a centred inference in the data's own coordinates."""
    shift = origin(inference)
    return x if shift is None or not shift.any() else shift + x


def check_rows(model: Any, rows: Datum) -> None:
    """Refuse rows the model cannot be given; that nothing was observed of any sequence is legal here.

    Raises:
        InputError: As ``fit.enter.check_support``.
    """
    if is_stepwise(model) and np.ndim(rows.x) == 3 and not real_entries(rows).any():
        rows = Datum(np.zeros(np.shape(rows.x)), rows.cond)
    check_support(model, rows)


def prepared(
    name: str,
    inference: Inference,
    context: Any,
    actions: Any,
    *,
    horizon: int,
    num_samples: int,
    where: str = "pass actions=",
) -> tuple[Inference, Datum]:
    """Check contexts and what is asked of them.

    Args:
        name: Who asks, for messages.
        inference: The four choices.
        context: Sequences (N, T, D), or ``fit.Data``.
        actions: Those of the context and of the steps to come; by default what the data holds in ``cond``.
        horizon: Steps to go on.
        num_samples: Continuations of every sequence.
        where: How the caller takes actions, for messages.

    Returns:
        The inference and the contexts, ``cond`` holding all actions, about the origin of the model's frame.

    Raises:
        InputError: If the model has no dynamics, a number is not positive, or there are too few actions.
    """
    model, data = inference.model, Data.of(context)
    actions = data.cond if actions is None else np.asarray(actions)
    if not is_stepwise(model):
        raise InputError(f"{name}: {type(model).__name__} has no dynamics; use a model of sequences")
    if not isinstance(horizon, int | np.integer) or horizon < 1 or num_samples < 1:
        raise InputError(
            f"{name}: horizon={horizon}, num_samples={num_samples}; both must be whole numbers, at least 1"
        )
    if data.x.ndim != 3:
        raise InputError(f"{name}: context must be sequences (N, T, D), got shape {data.x.shape}")
    _check_actions(name, model, data, actions, horizon, where)
    length = data.x.shape[1]
    last = length if data.lengths is None else int(data.lengths.max())
    known = model.num_steps if isinstance(model, LinearGaussianSSM) else None
    if known is not None and last + horizon > known:
        raise InputError(
            f"{name}: horizon {horizon} after {last} steps goes past the {known} that parameters "
            "were given for"
        )
    now = None if actions is None else actions[:, :length]
    seen = Data(data.x, cond=now, lengths=data.lengths, mask=data.mask).rows()
    check_rows(model, seen)
    moved, rows = centred(inference, seen)
    steps = np.full(data.num_data, length) if rows.steps is None else rows.steps
    return moved, narrowed(Datum(rows.x, actions, mask=rows.mask, steps=steps))


def enters_own_step(model: Any) -> bool:
    """Whether a step's input reaches its own observation, as those of exact models do, and no actions."""
    if isinstance(model, LinearGaussianSSM):
        return model.input_to == "both"
    return not isinstance(model, HasRecurrence)


def _check_actions(name: str, model: Any, data: Data, actions: Any, horizon: int, where: str) -> None:
    if actions is not None:
        n, t = data.x.shape[:2]
        shape, needed = np.shape(actions), t + horizon - (not enters_own_step(model))
        if len(shape) != 3 or shape[0] != n or shape[1] < needed:
            raise InputError(
                f"{name}: horizon {horizon} after {t} observations needs actions ({n}, {needed} or more, "
                f"U), got {shape}"
            )
        return
    dim = model.cond_dim if isinstance(model, HasRecurrence) else model.input_dim
    if dim:
        kind, what = type(model).__name__, "inputs" if enters_own_step(model) else "actions"
        raise InputError(f"{name}: {kind} takes {what} of length {dim}; {where}, past and to come")


def past(datum: Datum) -> Datum:
    """Return the context alone, without the actions to come."""
    cond = None if datum.cond is None else datum.cond[: len(datum.x)]
    return Datum(datum.x, cond, mask=datum.mask, steps=datum.steps)


def per_sequence(
    function: Callable[..., PyTree],
    inference: Inference,
    rows: Datum,
    *,
    key: PRNGKey,
    size: int,
    args: tuple[Any, ...],
) -> PyTree:
    """Apply ``function(inference, datum, key, *args)`` to every row, in blocks that fit into memory.

    Args:
        function: A function at the top of a module, so that the compiled code is found again.
        inference: The four choices.
        rows: Stacked sequences.
        key: Randomness; each row gets its own by its place.
        size: Numbers that one row keeps.
        args: Hashable extras.
    """
    check_key(key)
    return per_row(
        lambda part, keys: mapped(function, inference, part, keys, args),
        rows,
        key=key,
        progress=Silent(),
        label="",
        block=int(min(max(MEMORY // max(size, 1), 1), BLOCK)),
    )


@eqx.filter_jit
def mapped(
    function: Callable[..., PyTree], inference: Inference, rows: Datum, keys: PRNGKeys, args: tuple[Any, ...]
) -> PyTree:
    """Apply ``function(inference, datum, key, *args)`` to stacked rows, compiled."""
    return jax.vmap(lambda datum, key: function(inference, datum, key, *args))(rows, keys)


def continued(
    inference: Inference, datum: Datum, key: PRNGKey, horizon: int, num: int
) -> tuple[Float[Array, "s h *means"], Float[Array, "s h d"], PyTree]:
    """Infer z over the context, then follow the dynamics alone, several times. Traced code.

    After an empty context z starts from the prior.

    Args:
        inference: The four choices.
        datum: One context with the actions to come.
        key: Randomness of the latents, past and future, and of the observations.
        horizon: Steps to go on.
        num: S, continuations.

    Returns:
        E[x_t | z_t], draws of x_t, and z_t.

    Raises:
        InputError: If the posterior has no answer for a context.
    """
    if isinstance(inference.posterior, IndexesData):
        name = type(inference.posterior).__name__
        raise InputError(
            f"{name} knows whole training sequences alone; fit posteriors.Filtering or Smoothing"
        )
    model = inference.bound_model()
    go_on = _from_carry if isinstance(model, HasRecurrence) else _from_state
    to_q, to_draws = jax.random.split(key)
    q = inference.posterior(model, past(datum), key=to_q)

    def sample(key: PRNGKey) -> tuple[Array, Array, PyTree]:
        to_past, to_future, to_x = jax.random.split(key, 3)
        z, laws = go_on(model, draw(q, key=to_past), datum, horizon, to_future)
        xs = jax.vmap(lambda law, k: law.sample(key=k))(laws, jax.random.split(to_x, horizon))
        return laws.mean, xs, z

    return jax.vmap(sample)(jax.random.split(to_draws, num))


def _from_carry(model: Any, drawn: Any, datum: Any, horizon: int, key: PRNGKey) -> tuple[Array, Any]:
    """Follow a recurrent model from the carry of the last real step."""
    t = len(datum.x)
    last = datum.steps - 1
    found, start = jax.tree.map(lambda a: a[last], (drawn.carry.carries, drawn.z)), model.start()
    state = jax.tree.map(lambda a, b: jnp.where(last < 0, a, b), start, found)
    everything = model.inputs(datum.cond, t + horizon)
    ahead = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, last + 1, horizon), everything)
    z, carries = AncestralPath(model, ahead).walk(state, key=key)
    return z, jax.vmap(model.observation_from)(z, carries)


def _from_state(model: Any, drawn: Any, datum: Any, horizon: int, key: PRNGKey) -> tuple[Array, Any]:
    """Follow a Markov model from the latent of the last real step."""
    last = datum.steps - 1

    def step(z: Array, at: Array) -> tuple[Array, Array]:
        own = jax.random.fold_in(key, at)
        moved, _ = model.transition(z, at, datum).sample_and_log_prob(key=own)
        first, _ = model.initial(datum).sample_and_log_prob(key=own)
        z = jnp.where(at < 0, first, moved)
        return z, z

    times = last + jnp.arange(horizon)
    _, z = jax.lax.scan(step, drawn.z[last], times)
    return z, jax.vmap(lambda z, t: model.observation_at(z, t, datum))(z, times + 1)
