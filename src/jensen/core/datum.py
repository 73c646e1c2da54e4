"""One observation with everything that may come with it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import numpy as np

from jensen.typing import PyTree, Shaped


class End(eqx.Module):
    """Where a window of a sequence ended, for the next one to go on from.

    Attributes:
        state: The model's carry and the z of the last step.
        memory: The posterior's own recurrent state there; of length zero where it has none.
    """

    state: PyTree
    memory: Shaped[Any, "*batch h"]


class Carried(eqx.Module):
    """What comes before a window of a sequence.

    Attributes:
        goes_on: Whether the window goes on from ``end``; else it begins as sequences do.
        cond: The row of the condition before the window's first.
        end: Where the window before ended; ``None`` until somebody fills it in.
    """

    goes_on: Shaped[Any, "*batch"]
    cond: PyTree = None
    end: End | None = None


class Datum(eqx.Module):
    """One datum; ``jax.vmap`` over a ``Datum`` with leading axes is the caller's.

    Arrays may be jax's or, on the host, numpy's.

    Attributes:
        x: The observation: a row (D,) or, t-major, a sequence (T, D).
        cond: What the model is conditioned on; ``None`` for unconditional models.
        index: Position of the datum in the training set; read by per-datum posteriors.
        mask: True where an entry of x is observed, the shape of x; ``None`` means everywhere.
        steps: Number of real time steps of a padded sequence.
        weight: Weight of the datum, averaging one over the data set; ``None`` means one.
        burn_in: Number of leading real steps that are inferred but not scored; ``None`` for none.
        carried: What a window goes on from; ``None`` for a sequence of its own.
    """

    x: Shaped[Any, "*batch_and_event"]
    cond: PyTree = None
    index: Shaped[Any, "*batch"] | None = None
    mask: Shaped[Any, "*batch_and_event"] | None = None
    steps: Shaped[Any, "*batch"] | None = None
    weight: Shaped[Any, "*batch"] | None = None
    burn_in: Shaped[Any, "*batch"] | None = None
    carried: Carried | None = None


def real_steps_of(rows: Datum) -> np.ndarray:
    """Return which steps of stacked sequences are real, (N, T). Host code."""
    n, t = np.shape(rows.x)[:2]
    steps = np.full(n, t) if rows.steps is None else np.asarray(rows.steps)
    return np.arange(t) < steps[:, None]
