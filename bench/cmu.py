"""CMU walking and jogging: held-out prediction by a deep state-space model and by a linear-Gaussian one.

    JENSEN_DATA=... python bench/cmu.py --latent 6 --seed 0

62 channels, 31 training and 2 held-out sequences. After every prefix of at least ``CONTEXT`` steps of a
held-out sequence the next 30 steps are predicted (``diagnose.open_loop``). Errors are root mean squares,
every channel divided by its standard deviation over the training set. Five training sequences, taken by the
seed, choose the epoch of the deep model; the linear one is fitted by EM on all 31.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sequences import adamw, keep, padded

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors

CONTEXT, HORIZONS, HELD = 10, (1, 5, 10, 30), 5


def load() -> tuple[fit.Data, fit.Data, np.ndarray]:
    """Return training and held-out sequences in units of the training set, and which channels vary."""
    packed = np.load(Path(os.environ.get("JENSEN_DATA", "../shared/data")) / "cmu35/cmu35_walkjog.npz")
    scale = packed["train"].std(0)
    varies = scale > 1e-3 * np.median(scale)
    centre = packed["train"].mean(0)[varies]
    train, test = ((packed[name][:, varies] - centre) / scale[varies] for name in ("train", "test"))
    return padded(train, packed["train_lengths"]), padded(test, packed["test_lengths"]), varies


def errors(fitted: Any, data: fit.Data, train: fit.Data, draws: int, key: jax.Array) -> diagnose.OpenLoop:
    """Return the errors by steps ahead, from every step on that has enough before and after it."""
    return diagnose.open_loop(
        fitted,
        data,
        context=CONTEXT,
        horizon=max(HORIZONS),
        stride=1,
        train=train,
        num_samples=draws,
        key=key,
    )


def picked(curve: np.ndarray) -> dict[str, float]:
    """Return the errors at some horizons, and over all of them."""
    return {str(h): float(curve[h - 1]) for h in HORIZONS} | {"all": float(np.sqrt((curve**2).mean()))}


def deep(train: fit.Data, options: argparse.Namespace) -> fit.Fitted:
    """Fit the deep model, the epoch chosen by held-out training sequences."""
    key = jax.random.key(options.seed)
    to_model, to_posterior, to_fit = jax.random.split(key, 3)
    order = np.random.default_rng(options.seed).permutation(train.num_data)
    held, kept = train.take(order[:HELD]), train.take(order[HELD:])
    model = models.NeuralStateSpace(
        train.data_dim,
        options.latent,
        likelihood="gaussian",
        decoder=(options.width,),
        width=options.width,
        key=to_model,
    )
    q = posteriors.Filtering(
        families.DiagGaussian(options.latent), like=model, widths=(options.width,), key=to_posterior
    )
    beta = objectives.Linear(0.1, 1.0, max(1, options.steps // 10))
    return fit.gradient(
        jn.Inference(model, q, objectives.ELBO(beta=beta), gradients.Reparam()),
        kept,
        key=to_fit,
        optimizer=adamw(options.learning_rate, options.weight_decay, options.steps),
        steps=options.steps,
        validation=held,
        stop=fit.Patience(options.patience),
    )


def main() -> None:
    """Fit both, score, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latent", type=int, default=6)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/cmu.jsonl")
    options = parser.parse_args()
    train, test, varies = load()
    to_linear, to_score = jax.random.split(jax.random.key(options.seed + 1))
    seconds, fits = {}, {}
    start = time.perf_counter()
    linear = models.LinearGaussianSSM(options.latent, train.data_dim, key=to_linear)
    fits["linear"] = fit.em(linear, train, steps=200)
    seconds["linear"] = time.perf_counter() - start
    start = time.perf_counter()
    fits["deep"] = deep(train, options)
    seconds["deep"] = time.perf_counter() - start
    found = {n: errors(fitted, test, train, options.draws, to_score) for n, fitted in fits.items()}
    result: dict[str, Any] = {name: picked(errors.model) for name, errors in found.items()}
    result |= {
        "copy-last": picked(found["deep"].copy_last),
        "mean": picked(found["deep"].mean),
        "autoregression": picked(found["deep"].linear),
    }
    result |= {"seconds": seconds, "channels": int(varies.sum()), "stop": fits["deep"].stop_reason}
    result |= {"options": vars(options)}
    keep(result, options.out)


if __name__ == "__main__":
    main()
