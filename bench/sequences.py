"""What the studies of sequences share: padding, the optimizer, and keeping what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import optax

from jensen import fit


def padded(frames: np.ndarray, lengths: np.ndarray) -> fit.Data:
    """Return sequences laid end to end as padded ones."""
    x = np.zeros((len(lengths), lengths.max(), frames.shape[1]), np.float32)
    for row, part in zip(x, np.split(frames, np.cumsum(lengths)[:-1]), strict=True):
        row[: len(part)] = part
    return fit.Data(x, lengths=lengths)


def adamw(learning_rate: float, weight_decay: float, steps: int) -> optax.GradientTransformation:
    """Return AdamW on clipped gradients, its rate falling by a cosine to a twentieth."""
    rate = optax.cosine_decay_schedule(learning_rate, steps, 0.05)
    return optax.chain(optax.clip_by_global_norm(10.0), optax.adamw(rate, b1=0.95, weight_decay=weight_decay))


def keep(result: dict[str, Any], out: str) -> None:
    """Print what was found, and append it to the results."""
    print(json.dumps(result, indent=1))
    with Path(out).open("a") as file:
        file.write(json.dumps(result) + "\n")
