"""New rows or sequences from a fitted run, as text and files."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from jensen.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from jensen.datasets import Dataset, Sequences
    from jensen.fit import Fitted

FILES = (".csv", ".npy", ".npz", ".png")
"""Endings of files that samples can go to."""


def draw(fitted: Fitted, data: Dataset | Sequences, num: int, steps: int | None, seed: int) -> np.ndarray:
    """Draw rows (num, D), or sequences (num, T, D).

    Sequences of a model with actions all follow those of the longest sequence of the data.

    Args:
        fitted: The run's model.
        data: The run's data.
        num: How many.
        steps: T; by default as many as the longest sequence of the data has.
        seed: Same seed, same draws.

    Raises:
        InputError: Steps of rows, or more steps than there are actions.
    """
    import jax

    from jensen import use
    from jensen.datasets import Dataset

    key = jax.random.key(seed)
    if isinstance(data, Dataset):
        refuse_steps(steps)
        return use.sample(fitted, num, key=key)
    row = int(data.lengths.argmax())
    longest = int(data.lengths[row])
    steps = longest if steps is None else steps
    if data.cond is None:
        return use.sample(fitted, num, key=key, steps=steps)
    if steps > longest:
        raise InputError(f"--steps is {steps}, but there are actions for {longest} steps only; lower it")
    less = data.x.shape[1] - data.cond.shape[1]  # 1 where no action follows the last step
    return use.sample(fitted, num, key=key, steps=steps, cond=data.cond[row, : steps - less])


def refuse_steps(steps: int | None) -> None:
    """Refuse steps of rows.

    Raises:
        InputError: Some are given.
    """
    if steps is not None:
        raise InputError("--steps belongs to runs of sequences; this one fitted rows, leave it out")


def followed(data: Dataset | Sequences) -> str | None:
    """Say whose actions all drawn sequences follow; None where there are none."""
    from jensen.datasets import Dataset

    if isinstance(data, Dataset) or data.cond is None:
        return None
    row = int(data.lengths.argmax())
    name = row if data.ids is None else repr(data.ids[row].item())
    return f"following the actions of sequence {name}, the longest"


def csv_text(drawn: np.ndarray, data: Dataset | Sequences) -> str:
    """Write samples as csv; those of sequences with a column that tells them apart."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if drawn.ndim == 2:
        writer.writerow(data.columns)
        writer.writerows(_cells(row) for row in drawn)
    else:
        writer.writerow(("sequence", *data.columns))
        writer.writerows((i, *_cells(row)) for i, steps in enumerate(drawn) for row in steps)
    return text.getvalue()


def _cells(row: np.ndarray) -> list[str]:
    return [f"{value:.7g}" for value in row]


def encoded(drawn: np.ndarray, ending: str, data: Dataset | Sequences) -> bytes:
    """Write samples as the content of a file.

    Raises:
        InputError: A picture of what is none.
    """
    import numpy as np

    if ending == ".csv":
        return csv_text(drawn, data).encode()
    raw = io.BytesIO()
    if ending == ".npy":
        np.save(raw, drawn)
    elif ending == ".npz":
        np.savez_compressed(raw, x=drawn)
    else:
        _picture(drawn, data).save(raw, format="png")
    return raw.getvalue()


def _picture(rows: np.ndarray, data: Dataset | Sequences) -> Any:
    """Tile pictures on a nearly square sheet, or one sequence a line; small ones are enlarged."""
    import numpy as np
    from PIL import Image

    if data.image_shape is None:
        raise InputError(f"{data.name} does not hold pictures; write its rows as csv, npy or npz")
    high = 255.0 if data.kind == "bytes" else 1.0
    pictures = np.clip(rows / high, 0, 1).reshape(-1, *data.image_shape)
    wide = rows.shape[1] if rows.ndim == 3 else int(np.ceil(np.sqrt(len(rows))))
    tall = -(-len(pictures) // wide)
    height, width, *color = data.image_shape
    sheet = np.ones((tall, height + 1, wide, width + 1, *color))
    for i, picture in enumerate(pictures):
        sheet[i // wide, :height, i % wide, :width] = picture
    sheet = sheet.reshape(tall * (height + 1), wide * (width + 1), *color)
    zoom = max(1, 32 // height)
    return Image.fromarray((sheet * 255).round().astype(np.uint8)).resize(
        (sheet.shape[1] * zoom, sheet.shape[0] * zoom), Image.Resampling.NEAREST
    )
