"""Polyphonic music with a deep Markov model: the test bound in nats per frame, within a time budget.

    JENSEN_DATA=... python bench/jsb.py --epochs 200
    JENSEN_DATA=... python bench/jsb.py --augment --epochs 300 --latent 48 --width 192
    JENSEN_DATA=... python bench/jsb.py --data piano_midi --window 100 --burn-in 10 --latent 48 --width 192

The figure is the bound itself (no importance samples), averaged over ``--draws`` draws, as a mean over all
frames and as a mean over sequences. The parameters are those with the best validation bound. With
``--augment`` the training set holds every chorale four times as it is and once shifted by each of −5 … 5
semitones, so that ten in fourteen are shifted; an epoch is fourteen times as long then. Published bounds:
6.93 (Krishnan et al. 2017), 6.87 (Pyro's deep Markov model, 20 GPU hours). ``evidence`` is the bound by
``--particles`` importance-weighted paths of q, nearer to log p and still below it. Options are chosen by
``valid``. With ``--window`` training sees windows of so many frames, needed for Piano-midi, whose pieces have
up to 3,857; every figure is of whole pieces all the same.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from sequences import adamw, keep, padded

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors

KEYS = 88
COPIES, SHIFT = 4, 5
AT_ONCE = 5_120
"""Frames scored at once, padding included."""


def load(source: str) -> dict[str, fit.Data]:
    """Return the three splits as padded sequences of 88 keys."""
    packed = np.load(Path(os.environ.get("JENSEN_DATA", "../shared/data")) / f"polyphonic/{source}.npz")
    splits = {}
    for name in ("train", "valid", "test"):
        frames = np.unpackbits(packed[f"{name}_bits"], axis=1)[:, :KEYS].astype(np.float32)
        splits[name] = padded(frames, packed[f"{name}_lengths"])
    return splits


def transposed(data: fit.Data) -> fit.Data:
    """Return the training set with its transpositions."""
    shifts = [0] * COPIES + [s for s in range(-SHIFT, SHIFT + 1) if s]
    x = np.concatenate([np.roll(data.x, s, axis=-1) for s in shifts])
    return fit.Data(x, lengths=np.tile(data.lengths, len(shifts)))


def inference(options: argparse.Namespace, steps: int) -> jn.Inference:
    """Return the four choices, the KL warmed up over a tenth of the run."""
    to_model, to_posterior = jax.random.split(jax.random.key(options.seed))
    model = models.NeuralStateSpace(
        KEYS,
        options.latent,
        likelihood="bernoulli",
        decoder=(options.width, options.width),
        width=2 * options.latent,
        key=to_model,
    )
    q = getattr(posteriors, options.posterior)(
        families.DiagGaussian(options.latent), like=model, widths=(options.width,), key=to_posterior
    )
    beta = objectives.Linear(0.1, 1.0, max(1, steps // 10))
    return jn.Inference(model, q, objectives.ELBO(beta=beta), gradients.Reparam())


def per_frame(
    inference: jn.Inference, data: fit.Data, draws: int, key: jax.Array, at_once: int = AT_ONCE
) -> dict[str, float]:
    """Return −bound in nats per frame: over all frames, and the mean over sequences."""
    batch_size = max(1, at_once // data.x.shape[1])
    bound = fit.evaluate(inference, data, key=key, repeats=draws, batch_size=batch_size)
    return {
        "total": float(-bound.sum() / data.lengths.sum()),
        "per_sequence": float(-(bound / data.lengths).mean()),
    }


def evidence(fitted: fit.Fitted, data: fit.Data, particles: int, key: jax.Array) -> dict[str, float]:
    """Return −log p in nats per frame as bounded by importance-weighted paths."""
    inference = eqx.tree_at(lambda i: i.objective, fitted.inference, objectives.IWAE(particles))
    return per_frame(inference, data, 1, key, AT_ONCE // 8)


def batches(options: argparse.Namespace) -> fit.Windows | fit.ByLength | None:
    """Return how batches are made."""
    if options.window:
        return fit.Windows(options.window, options.burn_in)
    return fit.ByLength(options.groups) if options.groups > 1 else None


def main() -> None:
    """Train, score, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="jsb_chorales", choices=("jsb_chorales", "piano_midi"))
    parser.add_argument("--posterior", default="Smoothing", choices=("Smoothing", "Filtering"))
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--groups", type=int, default=1, help="batches by length, in so many groups")
    parser.add_argument("--window", type=int, default=0, help="frames of a window; 0 for whole sequences")
    parser.add_argument("--burn-in", type=int, default=0, help="frames before a window that are not scored")
    parser.add_argument("--learning-rate", type=float, default=8e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--latent", type=int, default=32)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/jsb.jsonl")
    options = parser.parse_args()
    data = load(options.data)
    train = transposed(data["train"]) if options.augment else data["train"]
    units = int(train.lengths.sum()) // options.window if options.window else train.num_data
    steps = options.epochs * (units // options.batch_size)
    start = time.perf_counter()
    fitted = fit.gradient(
        inference(options, steps),
        train,
        key=jax.random.key(options.seed + 1),
        optimizer=adamw(options.learning_rate, options.weight_decay, steps),
        epochs=options.epochs,
        batch_size=options.batch_size,
        batches=batches(options),
        validation=data["valid"],
        stop=fit.Patience(options.patience),
    )
    seconds = time.perf_counter() - start
    key = jax.random.key(options.seed + 2)
    result: dict[str, Any] = {
        name: per_frame(fitted.inference, data[name], options.draws, key)
        for name in ("train", "valid", "test")
    }
    result["evidence"] = evidence(fitted, data["test"], options.particles, key)
    result |= {"seconds": seconds, "stop": fitted.stop_reason, "steps": len(fitted.history.bound)}
    result |= {"options": vars(options)}
    keep(result, options.out)


if __name__ == "__main__":
    main()
