"""What comes next: sequences continued without observing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.core import Datum, HasMarkovLatents, HasRecurrence, Inference
from jensen.dist import AncestralPath, draw
from jensen.errors import InputError
from jensen.fit import Data
from jensen.fit.enter import centred, check_support, narrowed
from jensen.typing import Array, PRNGKey, PRNGKeys, PyTree
from jensen.use.rows import BLOCK, in_units, inference_of


@dataclass(frozen=True)
class Rollout:
    """Sequences continued past their last observation.

    Attributes:
        mean: E[x_t | z_t], averaged over draws, (N, horizon, D), in the data's own units.
        draws: Observations drawn, (S, N, horizon, D).
        z: Latents drawn, (S, N, horizon, ...).
    """

    mean: np.ndarray
    draws: np.ndarray
    z: np.ndarray


def rollout(
    fitted: Any,
    context: Any,
    actions: Any = None,
    *,
    horizon: int,
    key: PRNGKey,
    num_samples: int = 1,
) -> Rollout:
    """Continue sequences open loop: infer z over the context, then follow the dynamics alone.

    Args:
        fitted: What ``fit.*`` returned, or an ``Inference``; its model needs latents that go forward in time.
        context: Observed sequences (N, T, D), or ``fit.Data`` with masks and lengths; row n goes on after
            its own last real step.
        actions: (N, ≥ T + horizon − 1, U), a_t following observation o_t: the context's and those to come;
            for models that take actions. Exact models with inputs need one row more.
        horizon: Steps to go on.
        key: Randomness of the latents, past and future, and of the observations.
        num_samples: Independent continuations of every row.

    Returns:
        Means, draws and latents as numpy arrays.

    Raises:
        InputError: If the model cannot be rolled out, the horizon or a number is not positive, a context is
            empty, or there are too few actions.

    Example:
        >>> import jax, numpy as np, jensen as jn
        >>> dmm = jn.models.NeuralStateSpace(3, 2, decoder=(8,), width=8, key=jax.random.key(0))
        >>> q = jn.posteriors.Filtering(
        ...     jn.families.DiagGaussian(2), like=dmm, widths=(8,), key=jax.random.key(1))
        >>> inference = jn.Inference(dmm, q, jn.objectives.ELBO(), jn.gradients.Reparam())
        >>> rollout(inference, np.ones((4, 5, 3)), horizon=7, key=jax.random.key(2)).mean.shape
        (4, 7, 3)
    """
    inference = inference_of(fitted)
    data = Data.of(context)
    _check(inference.model, data, actions, horizon, num_samples)
    now = None if actions is None else np.asarray(actions)[:, : data.x.shape[1]]
    seen = Data(data.x, cond=now, lengths=data.lengths, mask=data.mask).rows()
    check_support(inference.model, seen)
    moved, rows = centred(inference, seen)
    steps = np.full(data.num_data, data.x.shape[1]) if rows.steps is None else rows.steps
    whole = narrowed(Datum(rows.x, None if now is None else np.asarray(actions), mask=rows.mask, steps=steps))
    out = []
    for start in range(0, data.num_data, BLOCK):
        part = jax.tree.map(lambda a, s=start: jnp.asarray(a[s : s + BLOCK]), whole)
        keys = jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(start, start + len(part.x)))
        out.append(jax.tree.map(np.asarray, _rolled(moved, part, keys, horizon, num_samples)))
    mean, draws, z = jax.tree.map(lambda *parts: np.concatenate(parts), *out)
    mean, draws = in_units(inference, mean.mean(1)), in_units(inference, np.moveaxis(draws, 1, 0))
    return Rollout(mean, draws, np.moveaxis(z, 1, 0))


def _check(model: Any, data: Data, actions: Any, horizon: int, num_samples: int) -> None:
    if not isinstance(model, HasRecurrence | HasMarkovLatents):
        raise InputError(f"rollout: {type(model).__name__} has no dynamics; use a model of sequences")
    if horizon < 1 or num_samples < 1:
        raise InputError(f"rollout: horizon={horizon}, num_samples={num_samples}; both must be at least 1")
    if data.x.ndim != 3:
        raise InputError(f"rollout: context must be sequences (N, T, D), got shape {data.x.shape}")
    if data.lengths is not None and (np.asarray(data.lengths) < 1).any():
        row = int(np.argmax(np.asarray(data.lengths) < 1))
        raise InputError(f"rollout: context {row} is empty; use sample(..., steps=) to start from nothing")
    if actions is not None:
        n, t = data.x.shape[:2]
        # inputs of exact models reach the observation of their own step too
        shape, needed = np.shape(actions), t + horizon - isinstance(model, HasRecurrence)
        if len(shape) != 3 or shape[0] != n or shape[1] < needed:
            raise InputError(
                f"rollout: horizon {horizon} after {t} observations needs actions ({n}, {needed} or more, "
                f"U), got {shape}"
            )
    elif isinstance(model, HasRecurrence) and model.cond_dim:
        name = type(model).__name__
        raise InputError(f"rollout: {name} takes actions of length {model.cond_dim}; pass actions=")


@eqx.filter_jit
def _rolled(inference: Inference, rows: Datum, keys: PRNGKeys, horizon: int, num: int) -> PyTree:
    model = inference.bound_model()
    go_on = _from_carry if isinstance(model, HasRecurrence) else _from_state

    def one(datum: Datum, key: PRNGKey) -> PyTree:
        to_q, to_draws = jax.random.split(key)
        t = len(datum.x)
        cond = None if datum.cond is None else datum.cond[:t]
        seen = Datum(datum.x, cond, mask=datum.mask, steps=datum.steps)
        q = inference.posterior(model, seen, key=to_q)

        def sample(key: PRNGKey) -> PyTree:
            to_past, to_future, to_x = jax.random.split(key, 3)
            drawn = draw(q, key=to_past)
            z, laws = go_on(model, drawn, datum, horizon, to_future)
            xs = jax.vmap(lambda law, k: law.sample(key=k))(laws, jax.random.split(to_x, horizon))
            return laws.mean, xs, z

        return jax.vmap(sample)(jax.random.split(to_draws, num))

    return jax.vmap(one)(rows, keys)


def _from_carry(model: Any, drawn: Any, datum: Any, horizon: int, key: PRNGKey) -> tuple[Array, Any]:
    """Follow a recurrent model from the carry of the last real step."""
    t = len(datum.x)
    last = datum.steps - 1
    state = jax.tree.map(lambda a: a[last], (drawn.carry.carries, drawn.z))
    everything = model.inputs(datum.cond, t + horizon)
    ahead = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, last + 1, horizon), everything)
    z, carries = AncestralPath(model, ahead).walk(state, key=key)
    return z, jax.vmap(model.observation_from)(z, carries)


def _from_state(model: Any, drawn: Any, datum: Any, horizon: int, key: PRNGKey) -> tuple[Array, Any]:
    """Follow a Markov model from the latent of the last real step."""
    last = datum.steps - 1

    def step(z: Array, at: Array) -> tuple[Array, Array]:
        z, _ = model.transition(z, at, datum).sample_and_log_prob(key=jax.random.fold_in(key, at))
        return z, z

    times = last + jnp.arange(horizon)
    _, z = jax.lax.scan(step, drawn.z[last], times)
    return z, jax.vmap(lambda z, t: model.observation_at(z, t, datum))(z, times + 1)
