"""Preparing data: a reproducible split, and binarization."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

from jensen.datasets.dataset import kind
from jensen.errors import InputError


def split(n: int, share: float, *, seed: int) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " held"]]:
    """Hold out a random share of n rows.

    Args:
        n: Number of rows.
        share: Share held out, in [0, 1); when positive, at least one row goes to each side.
        seed: Same seed, same split.

    Returns:
        Indices to train on and indices held out, each ascending.

    Raises:
        InputError: The share is outside [0, 1), or one row would have to be split.

    Example:
        >>> train, held = split(10, 0.2, seed=0)
        >>> len(train), len(held)
        (8, 2)
    """
    if not 0 <= share < 1:
        raise InputError(
            f"the share held out is {share}; it must be at least 0 and below 1 (0 holds out nothing)"
        )
    if share > 0 and n < 2:
        raise InputError(f"{n} row cannot be split; give more rows, or hold out nothing (share 0)")
    order = np.random.default_rng(seed).permutation(n)
    held = min(max(round(n * share), 1), n - 1) if share > 0 else 0
    return np.sort(order[held:]), np.sort(order[:held])


def binarize(
    x: Shaped[np.ndarray, "n d"],
    how: Literal["threshold", "sample"],
    *,
    seed: int,
    mask: Bool[np.ndarray, "n d"] | None = None,
) -> Float32[np.ndarray, "n d"]:
    """Turn intensities into zeros and ones.

    Args:
        x: Values in [0, 1], or integers in 0..255, shape (N, D).
        how: ``"threshold"`` gives 1 above the middle of the range. ``"sample"`` gives one fixed draw of
            Bernoulli(intensity), the usual static binarization (Salakhutdinov and Murray 2008).
        seed: Decides the draw; a threshold ignores it.
        mask: True where observed; everything when None.

    Returns:
        Zeros and ones, NaN where unobserved, shape (N, D).

    Raises:
        InputError: The values are not intensities, or reach at most half of 0..255.

    Example:
        >>> binarize(np.array([[0, 127, 128, 255]], dtype=np.uint8), "threshold", seed=0)
        array([[0., 0., 1., 1.]], dtype=float32)
    """
    if mask is not None:
        bits = binarize(np.where(mask, x, 0), how, seed=seed)
        return np.where(mask, bits, np.float32(np.nan))
    found = kind(x)
    if found not in ("binary", "unit", "bytes"):
        raise InputError(f"cannot binarize values from {np.min(x):g} to {np.max(x):g}; give [0, 1] or 0..255")
    if found == "bytes" and x.max() <= 127:
        raise InputError(
            f"cannot binarize integers up to {x.max():g} as intensities in 0..255; "
            "divide by the largest possible value first"
        )
    intensity = np.asarray(x, dtype=np.float32)
    if found == "bytes":
        intensity = intensity / np.float32(255)
    if how == "threshold":
        return (intensity > 0.5).astype(np.float32)
    draw = np.random.default_rng(seed).random(intensity.shape, dtype=np.float32)
    return (draw < intensity).astype(np.float32)
