"""One observation with everything that may come with it."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from jensen.typing import PyTree, Shaped


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
    """

    x: Shaped[Any, "*batch_and_event"]
    cond: PyTree = None
    index: Shaped[Any, "*batch"] | None = None
    mask: Shaped[Any, "*batch_and_event"] | None = None
    steps: Shaped[Any, "*batch"] | None = None
    weight: Shaped[Any, "*batch"] | None = None
    burn_in: Shaped[Any, "*batch"] | None = None
