"""The lower half of a binarized digit given its upper half: a conditional VAE, and a net without latents.

    JENSEN_DATA=... python bench/mnist_halves.py --epochs 60 --pictures halves.png

Both have hidden layers of 2×400; the conditional VAE has z = 30 under a learned p(z | upper half). The bound
and the estimate of ``--samples`` importance-weighted draws are those of test rows, in nats per row of 392
pixels; the net's NLL is exact, its pixels being independent given the upper half.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from mnist import load
from sequences import keep

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors, use

HALF, BATCH = 392, 100


def halves(rows: np.ndarray) -> fit.Data:
    """Return lower halves given upper ones."""
    return fit.Data(rows[:, HALF:], cond=rows[:, :HALF])


def inference(options: argparse.Namespace, key: jax.Array) -> jn.Inference:
    """Return the conditional VAE."""
    to_model, to_posterior = jax.random.split(key)
    widths = (options.width, options.width)
    model = models.ConditionalDecoder(
        HALF, HALF, options.latent, likelihood="bernoulli", widths=widths, key=to_model
    )
    q = posteriors.Amortized(
        families.DiagGaussian(options.latent), data_dim=HALF, cond_dim=HALF, widths=widths, key=to_posterior
    )
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def independent(options: argparse.Namespace, key: jax.Array) -> jn.Inference:
    """Return a net without latents: every pixel on its own given the upper half."""
    model = models.CategoricalNet(HALF, 2, HALF, widths=(options.width, options.width), key=key)
    return jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def train(inference: jn.Inference, data: dict[str, np.ndarray], options: argparse.Namespace) -> fit.Fitted:
    """Fit by Adam, its rate falling by a cosine, the parameters those with the best validation bound."""
    steps = options.epochs * (len(data["train"]) // BATCH)
    return fit.gradient(
        inference,
        halves(data["train"]),
        key=jax.random.key(options.seed + 1),
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, steps, alpha=1e-2)),
        epochs=options.epochs,
        batch_size=BATCH,
        validation=halves(data["valid"][:2000]),
        stop=fit.Patience(options.patience),
    )


def pictures(fitted: fit.Fitted, rows: np.ndarray, path: Path, key: jax.Array) -> None:
    """Draw digits, and beside each five completions of its upper half."""
    from matplotlib import pyplot

    grid = [[row.reshape(28, 28)] for row in rows]
    for line, row, k in zip(grid, rows, jax.random.split(key, len(rows)), strict=True):
        drawn = use.sample(fitted, 5, cond=row[:HALF], key=k)
        line += [np.concatenate([row[:HALF], lower]).reshape(28, 28) for lower in drawn]
    board = np.block([[np.pad(cell, 1, constant_values=0.5) for cell in line] for line in grid])
    pyplot.imsave(path, board, cmap="gray_r", dpi=100)


def main() -> None:
    """Train both, score, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--patience", type=int, default=10)
    parser.add_argument("--latent", type=int, default=30)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", default="bench/results/mnist_halves.jsonl")
    options = parser.parse_args()
    data = load()
    test, result = halves(data["test"][: options.rows]), dict[str, Any]()
    for name, make in (("conditional vae", inference), ("independent pixels", independent)):
        start = time.perf_counter()
        fitted = train(make(options, jax.random.key(options.seed)), data, options)
        seconds = time.perf_counter() - start
        bound = fit.evaluate(fitted.inference, test, key=jax.random.key(2))
        result[name] = {"bound": float(bound.mean()), "seconds": seconds, "stop": fitted.stop_reason}
        result[name]["epochs"] = len(fitted.history.bound) / (len(data["train"]) // BATCH)
        if name == "conditional vae":
            score = use.score(fitted, test, key=jax.random.key(3), num_samples=options.samples)
            result[name]["log_p"] = float(score.mean())
            result[name]["se"] = float(score.std() / len(score) ** 0.5)
            if options.pictures:
                pictures(fitted, data["test"][:10], options.pictures, jax.random.key(4))
        print(name, result[name], flush=True)
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    keep(result | {"cores": os.cpu_count(), "options": settings}, options.out)


if __name__ == "__main__":
    main()
