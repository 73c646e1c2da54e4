"""Static binarized MNIST with one stochastic layer: test NLL and the gap table, within a time budget.

    JENSEN_DATA=... python bench/mnist.py --samples-inside 1 --epochs 300
    JENSEN_DATA=... python bench/mnist.py --samples-inside 5 --epochs 100

Decoder and encoder 2×200 tanh, z = 50, batch 100, Adam at 1e-3 decaying by a cosine to 1e-5; the validation
split is only watched. Published after 3,280 epochs: 88.71 (k=1) and 87.63 (k=5) (Burda et al. 2016).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import jax
import numpy as np
import optax

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use


def load() -> dict[str, np.ndarray]:
    """Return the three splits as zeros and ones; the test split, sorted by class, is shuffled."""
    packed = np.load(
        Path(os.environ.get("JENSEN_DATA", "../shared/data")) / "binarized_mnist/binarized_mnist.npz"
    )
    splits = {
        name: np.unpackbits(packed[name], axis=1)[:, :784].astype(np.float32)
        for name in ("train", "valid", "test")
    }
    splits["test"] = splits["test"][np.random.default_rng(0).permutation(len(splits["test"]))]
    return splits


def inference(k: int, key: jax.Array) -> jn.Inference:
    """Return the four choices: the ELBO for one draw inside, the importance-weighted bound for more."""
    to_model, to_posterior = jax.random.split(key)
    model = models.Decoder(784, 50, likelihood="bernoulli", widths=(200, 200), key=to_model)
    q = posteriors.Amortized(families.DiagGaussian(50), data_dim=784, widths=(200, 200), key=to_posterior)
    if k == 1:
        return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    return jn.Inference(model, q, objectives.IWAE(k), gradients.DoublyReparam())


def main() -> None:
    """Train, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples-inside", type=int, default=1, help="k: draws inside the bound")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--nll-rows", type=int, default=1000)
    parser.add_argument("--nll-samples", type=int, default=5000)
    parser.add_argument("--gap-rows", type=int, default=100, help="0 leaves the gap table out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/mnist.jsonl")
    options = parser.parse_args()
    data, key = load(), jax.random.key(options.seed)
    to_start, to_fit, to_score, to_gap = jax.random.split(key, 4)
    steps = options.epochs * (len(data["train"]) // 100)
    begin = time.perf_counter()
    fitted = fit.gradient(
        inference(options.samples_inside, to_start),
        data["train"],
        key=to_fit,
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, steps, alpha=1e-2)),
        epochs=options.epochs,
        batch_size=100,
    )
    trained = time.perf_counter() - begin
    begin = time.perf_counter()
    rows = data["test"][: options.nll_rows]
    scores = use.score(fitted, rows, key=to_score, num_samples=options.nll_samples)
    elbo = fit.evaluate(fitted.inference, rows, key=to_score)
    result = {
        "k": options.samples_inside,
        "epochs": options.epochs,
        "test_nll": float(-scores.mean()),
        "test_nll_se": float(scores.std() / len(scores) ** 0.5),
        "test_bound": float(elbo.mean()),
        "train_seconds": trained,
        "score_seconds": time.perf_counter() - begin,
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
    }
    print(json.dumps(result, indent=1), flush=True)
    if options.gap_rows:
        begin = time.perf_counter()
        gap = diagnose.gap(fitted.inference, data["test"][: options.gap_rows], key=to_gap)
        result |= {"gap_seconds": time.perf_counter() - begin, "gap": gap.to_json()}
        print(gap, f"\ngap: {result['gap_seconds']:.0f} s", flush=True)
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
