"""The embedded data sets: small real tables and series shipped in a wheel, and a simulated pendulum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Literal

import numpy as np

from jensen.datasets.sequences import Sequences
from jensen.datasets.table import Table, default_columns

MINARI = "minari:"
"""How a source begins that names a Minari data set."""

EPISODES, STEPS = 100, 100
"""Size of the simulated pendulum."""


def _from_sklearn(name: str, *, divide_by: float = 1.0, image_shape: tuple[int, ...] | None = None) -> Table:
    from sklearn import datasets as bundled

    bunch = getattr(bundled, f"load_{name}")()
    x = np.asarray(bunch.data, dtype=np.float64) / divide_by
    columns = default_columns(x.shape[1]) if image_shape else tuple(map(str, bunch.feature_names))
    labels = bunch.target if image_shape else np.asarray(bunch.target_names)[bunch.target]
    return Table(x, columns, np.asarray(labels), image_shape)


def _nile() -> Table:
    raw = (resources.files("jensen.datasets") / "assets" / "nile.csv").read_text("utf-8")
    flow = np.array([[float(line.split(",")[1])] for line in raw.split()[1:]])
    return Table(flow, ("flow",))


def _nile_sequence() -> Sequences:
    flow = _nile()
    return Sequences(flow.x[None], np.array([len(flow.x)]), flow.columns, "nile")


def _pendulum(observations: Literal["pixels", "states"], name: str) -> Sequences:
    from jensen.datasets.pendulum import pendulum

    made = pendulum(EPISODES, STEPS, observations=observations, seed=0)
    columns = default_columns(made.x.shape[-1]) if made.image_shape else ("cos", "sin", "speed")
    x = made.x if made.image_shape else made.x.astype(np.float64)
    acts = made.actions.astype(np.float64)
    lengths = np.full(EPISODES, STEPS)
    return Sequences(x, lengths, columns, name, acts, actions=("torque",), image_shape=made.image_shape)


# Digits are stored as counts 0..16 of inked pixels in a 4 x 4 block: divided by 16 they are intensities.
BUNDLED: dict[str, Callable[[], Table]] = {
    "digits": partial(_from_sklearn, "digits", divide_by=16.0, image_shape=(8, 8)),
    "iris": partial(_from_sklearn, "iris"),
    "wine": partial(_from_sklearn, "wine"),
    "breast_cancer": partial(_from_sklearn, "breast_cancer"),
    "nile": _nile,
}

SEQUENCES: dict[str, Callable[[], Sequences]] = {
    "nile": _nile_sequence,
    "pendulum": partial(_pendulum, "states", "pendulum"),
    "pendulum-pixels": partial(_pendulum, "pixels", "pendulum-pixels"),
}


def names() -> tuple[str, ...]:
    """Name the embedded data sets that `load` knows.

    Returns:
        The names.

    Example:
        >>> names()
        ('digits', 'iris', 'wine', 'breast_cancer', 'nile', 'pendulum', 'pendulum-pixels')
    """
    return tuple(dict.fromkeys([*BUNDLED, *SEQUENCES]))
