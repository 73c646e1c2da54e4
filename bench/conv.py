"""One training step of a convolutional VAE, 64×64×3, batch 64: ways to write a convolution, and torch.

    JENSEN_DATA=... benchvenv/bin/python bench/conv.py

Four strided layers each way (kernel 4, stride 2, padding 1; 32, 64, 128, 256 channels), 32 latents, relu,
Bernoulli likelihood, Adam(1e-3), float32. The forms compute the same numbers, but for two: ``patches``, whose
kernels are 2 wide and do not overlap, with a quarter of the weights, and ``jensen``, what
``jensen fit vae --net conv`` makes for pictures of this size: patches of 4, then two overlapping layers as
matrix products (64, 128, 256 channels). The forms are steps of a bare jitted loop; jensen's is
``fit.gradient`` with all it does. The data are MNIST's digits, enlarged to 32 to 56 pixels and put anywhere,
ink and ground of random colours, every channel 0 or 1.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import Benchmark, Setup, main

SIDE, COLOURS, LATENT, BATCH, RATE, STEPS = 64, 3, 32, 64, 1e-3, 20
CHANNELS = (32, 64, 128, 256)
TRAIN, HELD_OUT = 6000, 500


def pictures(count: int = TRAIN + HELD_OUT) -> np.ndarray:
    """Return coloured digits as rows of zeros and ones, (count, 12288), float32."""
    from PIL import Image

    from jensen import datasets

    folder = os.environ.get("JENSEN_DATA")
    if folder is None:
        raise SystemExit("set JENSEN_DATA to the folder that holds mnist/train-images-idx3-ubyte.gz")
    digits = datasets.load(Path(folder) / "mnist" / "train-images-idx3-ubyte.gz").x[:count].astype(np.uint8)
    rng = np.random.default_rng(0)
    out = np.zeros((count, SIDE, SIDE, COLOURS), np.float32)
    for picture, digit in zip(out, digits.reshape(-1, 28, 28), strict=True):
        side = int(rng.integers(32, 57))
        top, left = rng.integers(0, SIDE - side + 1, 2)
        ink = np.zeros((SIDE, SIDE, 1), bool)
        large = Image.fromarray(digit).resize((side, side), Image.Resampling.BILINEAR)
        ink[top : top + side, left : left + side, 0] = np.asarray(large) > 127
        colour, ground = rng.integers(0, 2, (2, COLOURS))
        ground[rng.integers(COLOURS)] ^= (colour == ground).all()
        picture[:] = np.where(ink, colour, ground)
    return out.reshape(count, -1)


Encode = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
Decode = Callable[[np.ndarray], np.ndarray]


def held_out_bound(encode: Encode, decode: Decode, x: np.ndarray) -> float:
    """Return the mean ELBO in nats a row, in float64, by the same code and the same noise for all.

    Args:
        encode: Rows to means and log-scales of q.
        decode: Latents to logits of the pixels, in the order of x.
        x: Rows.
    """
    mean, log_scale = (np.asarray(part, np.float64) for part in encode(x))
    noise = np.random.default_rng(1).normal(size=mean.shape)
    logits = np.asarray(decode((mean + np.exp(log_scale) * noise).astype(np.float32)), np.float64)
    log_likelihood = np.sum(x * logits - np.logaddexp(0, logits), 1)
    kl = 0.5 * np.sum(mean**2 + np.exp(2 * log_scale) - 2 * log_scale - 1, 1)
    return float(np.mean(log_likelihood - kl))


def contestant(module: str, function: str, *arguments: str) -> Setup:
    """Import a contestant only in the process that runs it."""
    return lambda: getattr(importlib.import_module(module), function)(*arguments)


SETUPS = {
    "jensen": contestant("conv_jensen", "steps"),
    "jensen, patches of 8": contestant("conv_jensen", "steps", "8"),
    "lax, conv_transpose": contestant("conv_forms", "steps", "lax"),
    "lax, split by parity": contestant("conv_forms", "steps", "parity"),
    "space to depth, split by parity": contestant("conv_forms", "steps", "space"),
    "matrix products": contestant("conv_forms", "steps", "products"),
    "patches": contestant("conv_forms", "steps", "patches"),
    "torch": contestant("conv_torch", "steps", "plain"),
    "torch, channels last, fused Adam": contestant("conv_torch", "steps", "best"),
}

if __name__ == "__main__":
    net = "-".join(map(str, CHANNELS))
    settings = {"pictures": "64x64x3", "channels": net, "batch": BATCH, "Adam": RATE, "steps per run": STEPS}
    main(Benchmark("conv_step", SETUPS, per=STEPS, unit="s per step", settings=settings, rounds=5), __file__)
