"""Where a conditional model is asked: at inputs that were written, or at those of held-out rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from jensen.datasets import Dataset
from jensen.errors import InputError, nearest

if TYPE_CHECKING:
    from jensen.cli.data import Rows
    from jensen.fit import Fitted


def sample(
    fitted: Fitted, rows: Rows, num: int, at: str | None, seed: int
) -> tuple[Dataset, np.ndarray, str]:
    """Draw targets, each at its inputs.

    Args:
        fitted: The run's model.
        rows: The run's data.
        num: How many rows.
        at: Inputs as written, ``name=value,...``; None for those of rows held out.
        seed: Same seed, same draws.

    Returns:
        A data set that names the columns; inputs and drawn targets beside each other, (num, C + D); and whose
        inputs they are.

    Raises:
        InputError: An input that is unknown, missing, or no number.
    """
    import jax

    from jensen import use

    data = rows.dataset
    assert isinstance(data, Dataset) and data.cond is not None
    if at is not None:
        cond, whose = np.tile(read(at, data.inputs), (num, 1)), f"at {at}"
    else:
        kind, there = ("held-out", rows.held) if len(rows.held) else ("training", rows.train)
        order = np.random.default_rng(seed).permutation(there)
        cond = data.cond[np.resize(order, num)]
        distinct = min(num, len(there))
        whose = f"at the inputs of {distinct} of {len(there)} {kind} rows; choose others by --at"
    drawn = use.predict(fitted, cond, num_samples=2, key=jax.random.key(seed)).samples[0]
    both = replace(data, x=data.x[:0], columns=(*data.inputs, *data.columns), cond=None, inputs=())
    return both, np.concatenate([cond, drawn], axis=1), whose


def read(written: str, inputs: tuple[str, ...]) -> np.ndarray:
    """Read ``name=value,...``, or plain values in the order of the inputs.

    Raises:
        InputError: An input that is unknown, named twice or missing, or a value that is no number.
    """
    parts = [part.strip() for part in written.split(",")]
    pairs = [part.rpartition("=")[::2] for part in parts]
    if all(not name for name, _ in pairs) and len(parts) == len(inputs):
        pairs = list(zip(inputs, parts, strict=True))
    found: dict[str, float] = {}
    for name, value in pairs:
        if name not in inputs:
            wanted = "name=value,... for each input" if not name else "a known input"
            raise InputError(
                f"--at {written}: {name or value!r} is not {wanted}{nearest(name or value, inputs)}"
            )
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"--at {written}: {value!r} for {name} is not a number") from None
    absent = [name for name in inputs if name not in found]
    if absent or not np.isfinite(list(found.values())).all():
        said = f"{absent[0]} is missing" if absent else "every value must be finite"
        raise InputError(f"--at {written}: {said}; give all of {', '.join(inputs)}")
    return np.array([found[name] for name in inputs])


def aligned(data: Dataset, inputs: tuple[str, ...]) -> Dataset:
    """Return other data with its inputs in the order of a run's, those the run does not know left out.

    Raises:
        InputError: An input of the run is not there.
    """
    assert data.cond is not None
    if data.inputs == inputs or not set(inputs) & set(data.inputs):
        return data  # the model says whether the number fits
    absent = [name for name in inputs if name not in data.inputs]
    if absent:
        hint = nearest(absent[0], data.inputs)
        raise InputError(f"{data.name}: no column {absent[0]!r}, which the run predicts from{hint}")
    order = [data.inputs.index(name) for name in inputs]
    return replace(data, cond=data.cond[:, order], inputs=inputs)
