"""What a linear-Gaussian model asks of its data, and where its fits start. Host code."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jensen.core import Datum
from jensen.errors import InputError
from jensen.models.sequence.linear_gaussian_parts import Dynamics, Emission, Initial, Noise
from jensen.models.static.raw import floored
from jensen.nets import Frame
from jensen.typing import Array

RIDGE = 1e-2
"""Of the regressions a start is made of, relative to the regressors' variances."""

STABLE = 0.99
"""Largest spectral radius a start has."""


def check_sequences(model: Any, rows: Datum) -> None:
    """Refuse what is not a set of sequences.

    Raises:
        InputError: On other axes, lengths out of range, inputs missing, unasked for or of another shape, or
            nothing observed.
    """
    name, x = type(model).__name__, np.asarray(rows.x)
    if x.ndim != 3:
        raise InputError(
            f"{name} takes sequences (N, T, D), got shape {x.shape}: use x[None] for one sequence of rows"
        )
    n, t = x.shape[:2]
    if model.num_steps is not None and t > model.num_steps:
        raise InputError(
            f"{name}: sequences have {t} steps, its parameters were given for {model.num_steps}; cut x, or "
            "give more"
        )
    if rows.steps is not None:
        steps = np.asarray(rows.steps)
        if steps.shape != (n,) or steps.dtype.kind not in "iu" or (steps < 0).any() or (steps > t).any():
            raise InputError(f"{name}: lengths must be {n} whole numbers between 0 and {t}")
    if not model.input_dim and rows.cond is not None:
        raise InputError(f"{name}: cond was given, but the model has no inputs; make it with input_dim=")
    if model.input_dim:
        shape = None if rows.cond is None else np.shape(rows.cond)
        legal = [(n, t, model.input_dim)]
        if model.input_to == "transition":
            legal.append((n, t - 1, model.input_dim))
        if shape not in legal:
            raise InputError(
                f"{name}: cond must hold inputs {legal[0]}, one row for every step of x; got {shape}. The "
                "last row may only be left out with input_to='transition'"
            )
    if not seen_entries(rows).any():
        raise InputError(f"{name}: no entry of x is observed; there is nothing to fit")


def seen_entries(rows: Datum) -> np.ndarray:
    """Return which entries are real and observed, (N, T, D)."""
    n, t, d = np.shape(rows.x)
    steps = np.full(n, t) if rows.steps is None else np.asarray(rows.steps)
    seen = np.broadcast_to((np.arange(t) < steps[:, None])[..., None], (n, t, d))
    return seen if rows.mask is None else seen & np.asarray(rows.mask)


def started(
    model: Any, rows: Datum
) -> tuple[
    Initial,
    Dynamics,
    Emission,
    Frame,
    Frame,
]:
    """Return the parts to start from, the frame of x and the frame of the inputs."""
    seen, d = seen_entries(rows), np.shape(rows.x)[-1]
    n, t = seen.shape[:2]
    weight = np.ones(n) if rows.weight is None else np.asarray(rows.weight, np.float64)
    flat = np.broadcast_to(weight[:, None], (n, t)).reshape(-1)
    frame = Frame.standardizing(np.asarray(rows.x).reshape(-1, d), seen.reshape(-1, d), flat)
    y = (np.asarray(rows.x, np.float64) - _double(frame.shift)) / _double(frame.scale)
    y = _carried(np.where(seen, y, 0.0), seen)
    lengths = np.full(n, t) if rows.steps is None else np.asarray(rows.steps)
    inputs, u = _inputs(model, rows, t, lengths)
    own = (model.start, model.dynamics, model.emission, frame, inputs)
    states = _states(y, u, lengths, weight, model.latent_dim)
    return (
        own if states is None else (*_regressions(model, y, u, states, lengths, weight, seen), frame, inputs)
    )


def _inputs(model: Any, rows: Datum, t: int, lengths: np.ndarray) -> tuple[Frame, np.ndarray]:
    n, width = len(lengths), model.input_dim
    if not width:
        return model.input_frame, np.zeros((n, t, 0))
    u = np.asarray(rows.cond, np.float64)
    real = np.arange(u.shape[1]) < lengths[:, None]
    frame = Frame.standardizing(u[real], None, None)
    u = np.where(real[..., None], (u - _double(frame.shift)) / _double(frame.scale), 0.0)
    return frame, np.concatenate([u, np.zeros((n, t - u.shape[1], width))], 1)


def _carried(y: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return sequences with missing entries filled by the last one observed, or the mean, zero."""
    where = np.where(seen, np.arange(y.shape[1])[None, :, None], 0)
    return np.take_along_axis(y, np.maximum.accumulate(where, 1), 1)


def _windows(y: np.ndarray, u: np.ndarray, lengths: np.ndarray, weight: np.ndarray, lag: int) -> list[tuple]:
    """Return (sequence, first future step, past, future, weight) of all windows, stacked by sequence."""
    found = []
    for i, length in enumerate(lengths):
        count = int(length) - 2 * lag + 1
        if count < 1 or weight[i] == 0:
            continue
        rows = np.arange(count)[:, None]
        past = np.concatenate([y[i][rows + np.arange(lag)], u[i][rows + np.arange(lag)]], -1).reshape(
            count, -1
        )
        future = y[i][rows + lag + np.arange(lag)].reshape(count, -1)
        inside = u[i][rows + lag + np.arange(lag)].reshape(count, -1)
        found.append((i, past, future, inside, np.full(count, weight[i])))
    return found


def _states(
    y: np.ndarray, u: np.ndarray, lengths: np.ndarray, weight: np.ndarray, n: int
) -> dict[int, np.ndarray] | None:
    """Return a first guess at the states, by sequence, from step ``lag`` on; ``None`` where data is short."""
    lag = max(2, -(-n // y.shape[-1]) + 1)
    found = _windows(y, u, lengths, weight, lag)
    if not found:
        return None
    past, future, inside, w = (np.concatenate([f[k] for f in found]) for k in (1, 2, 3, 4))
    if len(past) < 2 * (past.shape[1] + inside.shape[1]):
        return None
    both = np.concatenate([past, inside], 1)
    coefficients = _ridge(both, future, w)[: past.shape[1]]
    told = past @ coefficients  # what the past says about the future, inputs of the future set aside
    values, vectors = np.linalg.eigh((w[:, None] * told).T @ told / w.sum())
    top = np.maximum(values[::-1][:n], 1e-8 * max(values[-1], 1e-12))
    basis = vectors[:, ::-1][:, :n] / np.sqrt(top)
    return {f[0]: f[1] @ coefficients @ basis for f in found} | {-1: np.full(1, lag)}


def _regressions(
    model: Any, y: np.ndarray, u: np.ndarray, states: dict[int, np.ndarray], lengths: np.ndarray,
    weight: np.ndarray, seen: np.ndarray,
) -> tuple[Initial, Dynamics, Emission]:  # fmt: skip
    """Return the parts that the guessed states suggest."""
    lag, n = int(states.pop(-1)[0]), model.latent_dim
    width = model.emission.inputs.shape[1]
    now, after, w, all_z, x, ux, wx, first = [], [], [], [], [], [], [], []
    for i, z in states.items():
        inside = slice(lag, lag + len(z))
        ones = np.ones((len(z), 1))
        now.append(np.concatenate([z, u[i, inside], ones], 1)[:-1])
        after.append(z[1:])
        w.append(np.full(len(z) - 1, weight[i]))
        all_z.append(z)
        ux.append(np.concatenate([z, u[i, inside, :width], ones], 1))
        x.append(y[i, inside])
        wx.append(np.full(len(z), weight[i]))
        first.append(z[0])
    now, after, w, z, ux, x, wx = (np.concatenate(v) for v in (now, after, w, all_z, ux, x, wx))
    if len(now) < now.shape[1] + n:
        return model.start, model.dynamics, model.emission
    moved, shown = _ridge(now, after, w), _ridge(ux, x, wx)
    left, rest = after - now @ moved, x - ux @ shown
    noise = (w[:, None] * left).T @ left / w.sum() + RIDGE * np.eye(n)
    a = moved[:n].T
    a = a * min(1.0, STABLE / max(np.abs(np.linalg.eigvals(a)).max(), 1e-12))
    spread = np.cov(z.T, aweights=wx).reshape(n, n) + RIDGE * np.eye(n)
    scale = np.sqrt(np.maximum((wx[:, None] * rest**2).sum(0) / wx.sum(), RIDGE))
    start = Initial(_array(np.mean(first, 0)), Noise.of(_array(np.linalg.cholesky(spread))))
    p = n + model.input_dim
    dynamics = Dynamics(
        _array(a), _array(moved[n:p].T), _array(moved[p]), Noise.of(_array(np.linalg.cholesky(noise)))
    )
    emission = Emission(
        _array(shown[:n].T), _array(shown[n : n + width].T), _array(shown[n + width]), floored(_array(scale))
    )
    return start, dynamics, emission


def _ridge(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the coefficients of a weighted ridge regression."""
    gram = (weight[:, None] * left).T @ left
    ridge = RIDGE * np.diagonal(gram).mean() * np.eye(len(gram))
    return np.linalg.solve(gram + ridge, (weight[:, None] * left).T @ right)


def _double(values: Any) -> np.ndarray:
    return np.asarray(values, np.float64)


def _array(values: np.ndarray) -> Array:
    return jnp.asarray(values, jnp.result_type(float))
