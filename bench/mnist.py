"""Binarized MNIST: test NLL by 5,000 importance samples, the bound, and the gap, within a time budget.

    JENSEN_DATA=... python bench/mnist.py --budget 900                                  # static, k = 1
    JENSEN_DATA=... python bench/mnist.py --budget 900 --binarization dynamic --k 5 --gradient dreg
    JENSEN_DATA=... python bench/mnist.py --epochs 3280                                 # the full schedule
    JENSEN_DATA=... python bench/mnist.py --budget 900 --model two-layer
    JENSEN_DATA=... python bench/mnist.py --binarization dynamic --model ladder --epochs 400 --warm-up 40
                                          --tune-epochs 30 --clip 20
    JENSEN_DATA=... python bench/mnist.py --binarization dynamic --model conv --epochs 200 --warm-up 20
                                          --tune-epochs 10

Nets 2×200 tanh, z = 50, batch 100, Adam at 1e-3 decaying by a cosine to 1e-5 over the run. A budget is
seconds of training: a short pilot tells how many epochs fit into it. Static: the fixed bits of Larochelle's
files, 50,000 rows to train on. Dynamic: 60,000 rows of intensities, their bits drawn anew at every step; the
10,000 test rows are drawn once. Published after 3,280 epochs (Burda et al. 2016), k = 1, 5, 50: static 88.71,
87.63, 87.10, dynamic 86.76, 85.54, 84.78; two layers (z of 100 and 50, 2×100 tanh between): dynamic 85.33,
83.89, 82.90. The ladder has residual steps of width 256 and 64, 32, 16 and 8 latents from the data up, with q
top-down; its KL rises over ``--warm-up`` epochs, and ``--tune-epochs`` at the end climb the bound on 5 draws,
doubly reparameterized. It needs its gradients clipped: a single row can cost 10^10 nats where a
layer's prior is narrow and q is off, and Adam does not recover from the step that follows.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import jensen as jn
from jensen import datasets, diagnose, families, fit, gradients, models, nets, objectives, posteriors, use

FOLDER = Path(os.environ.get("JENSEN_DATA", "../shared/data"))
ROWS = {"static": 50_000, "dynamic": 60_000}
"""Rows to train on."""


def static() -> dict[str, np.ndarray]:
    """Return the three splits as zeros and ones; the test split, sorted by class, is shuffled."""
    packed = np.load(FOLDER / "binarized_mnist/binarized_mnist.npz")
    splits = {
        name: np.unpackbits(packed[name], axis=1)[:, :784].astype(np.float32)
        for name in ("train", "valid", "test")
    }
    splits["test"] = splits["test"][np.random.default_rng(0).permutation(len(splits["test"]))]
    return splits


def dynamic() -> dict[str, np.ndarray]:
    """Return training intensities in [0, 1], and test rows as bits drawn once."""
    train, test = (
        datasets.load(FOLDER / f"mnist/{name}-images-idx3-ubyte.gz").x for name in ("train", "t10k")
    )
    test = test[np.random.default_rng(0).permutation(len(test))]
    return {
        "train": (np.asarray(train, np.float32) / np.float32(255)),
        "test": datasets.binarize(test, "sample", seed=0),
    }


SPLITS = {"static": static, "dynamic": dynamic}


def one_layer(options: argparse.Namespace, key: jax.Array) -> tuple[Any, Any]:
    """Return the decoder and the encoder with one stochastic layer."""
    to_model, to_posterior = jax.random.split(key)
    model = models.Decoder(784, 50, likelihood="bernoulli", widths=(200, 200), key=to_model)
    q = posteriors.Amortized(families.DiagGaussian(50), data_dim=784, widths=(200, 200), key=to_posterior)
    return model, q


def two_layers(options: argparse.Namespace, key: jax.Array) -> tuple[Any, Any]:
    """Return the two stochastic layers of Burda et al., drawn from the data up."""
    to_prior, to_model, to_posterior = jax.random.split(key, 3)
    prior = models.priors.Hierarchical((50, 100), widths=(100, 100), key=to_prior)
    model = models.Decoder(784, likelihood="bernoulli", widths=(200, 200), prior=prior, key=to_model)
    q = posteriors.BottomUp(like=model, widths=(200, 200), between=(100, 100), key=to_posterior)
    return model, q


def ladder(options: argparse.Namespace, key: jax.Array) -> tuple[Any, Any]:
    """Return four stochastic layers that all reach the data, drawn from the top down."""
    to_prior, to_model, to_posterior = jax.random.split(key, 3)
    nets: dict[str, Any] = {"activation": jax.nn.silu}
    prior = models.priors.Ladder((8, 16, 32, 64), width=256, key=to_prior)
    model = models.Decoder(784, likelihood="bernoulli", widths=(512,), prior=prior, key=to_model, **nets)
    q = posteriors.TopDown(like=model, widths=(512, 256), between=(256,), key=to_posterior, **nets)
    return model, q


def conv(options: argparse.Namespace, key: jax.Array) -> tuple[Any, Any]:
    """Return convolutions around one stochastic layer: 14 × 14 × 32, 7 × 7 × 64, and 256 units."""
    to_model, to_posterior = jax.random.split(key)
    sizes: dict[str, Any] = {"channels": (32, 64), "widths": (256,), "activation": jax.nn.silu}
    decoder = nets.ConvDecoder(50, (28, 28), key=to_model, **sizes)
    encoder = nets.ConvEncoder((28, 28), 100, key=to_posterior, **sizes)
    model = models.Decoder(784, 50, likelihood="bernoulli", net=decoder, key=to_model)
    return model, posteriors.Amortized(
        families.DiagGaussian(50), data_dim=784, net=encoder.quiet(), key=to_posterior
    )


ARCHITECTURES = {"one-layer": one_layer, "two-layer": two_layers, "ladder": ladder, "conv": conv}
"""By name: from options and a key to a model and a posterior."""


def steps_per_epoch(options: argparse.Namespace) -> int:
    """Return the gradient steps of a pass over the training rows."""
    return ROWS[options.binarization] // options.batch_size


def inference(options: argparse.Namespace, key: jax.Array) -> jn.Inference:
    """Return the four choices: the ELBO for one draw inside, the importance-weighted bound for more."""
    model, q = ARCHITECTURES[options.model](options, key)
    if options.k == 1:
        steps = options.warm_up * steps_per_epoch(options)
        beta = objectives.Linear(0.01, 1.0, steps) if steps else 1.0
        return jn.Inference(model, q, objectives.ELBO(beta=beta), gradients.Reparam())
    estimator = {"plain": gradients.Reparam, "dreg": gradients.DoublyReparam}[options.gradient]()
    return jn.Inference(model, q, objectives.IWAE(options.k), estimator)


def climb(
    start: jn.Inference, data: dict[str, np.ndarray], options: argparse.Namespace, key: jax.Array, steps: int
) -> fit.Fitted:
    """Take so many steps under the schedule they make, then those on the tighter bound."""
    run = None if options.run is None else Path(options.run)
    fitted = walk(start, data, options, key, steps, horizon=steps, run=run)
    tuning = options.tune_epochs * steps_per_epoch(options)
    if not tuning:
        return fitted
    own = fitted.inference
    start = jn.Inference(own.model, own.posterior, objectives.IWAE(5), gradients.DoublyReparam())
    then = None if run is None else run / "tuned"
    return walk(start, data, options, jax.random.fold_in(key, 1), tuning, horizon=tuning, rate=0.3, run=then)


def walk(
    start: jn.Inference,
    data: dict[str, np.ndarray],
    options: argparse.Namespace,
    key: jax.Array,
    steps: int,
    *,
    horizon: int,
    rate: float = 1.0,
    run: Path | None = None,
) -> fit.Fitted:
    """Take the first steps of a schedule over ``horizon`` steps, from so much of the learning rate."""
    adam = optax.adam(optax.cosine_decay_schedule(rate * options.learning_rate, horizon, alpha=1e-2))
    return fit.gradient(
        start,
        data["train"],
        key=key,
        optimizer=adam
        if options.clip is None
        else optax.chain(optax.clip_by_global_norm(options.clip), adam),
        steps=steps,
        batch_size=options.batch_size,
        batches=fit.DynamicBinarization() if options.binarization == "dynamic" else None,
        run=None if run is None else fit.Run(run, resume=True, checkpoint_every=5 * steps_per_epoch(options)),
    )


def epochs_within(
    start: jn.Inference, data: dict[str, np.ndarray], options: argparse.Namespace, key: jax.Array
) -> int:
    """Return how many epochs the budget holds, by the time between two pilots of unlike length."""
    seconds = []
    for steps in (10, 10, 510):  # the first compiles
        begin = time.perf_counter()
        walk(start, data, options, key, steps, horizon=10_000)
        seconds.append(time.perf_counter() - begin)
    step = max((seconds[2] - seconds[1]) / 500, 1e-5)
    print(f"pilot: {1e3 * step:.2f} ms a step", flush=True)
    return max(1, round(options.budget / step / steps_per_epoch(options)))


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binarization", choices=SPLITS, default="static")
    parser.add_argument("--model", choices=ARCHITECTURES, default="one-layer")
    parser.add_argument("--k", type=int, default=1, help="draws inside the bound")
    parser.add_argument("--gradient", choices=("plain", "dreg"), default="plain", help="for k above 1")
    parser.add_argument("--budget", type=float, help="seconds of training, instead of --epochs")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--warm-up", type=int, default=0, help="epochs over which the KL's weight rises to 1")
    parser.add_argument("--tune-epochs", type=int, default=0, help="epochs on five draws after the others")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--clip", type=float, help="greatest norm of a gradient")
    parser.add_argument("--nll-rows", type=int, default=1000)
    parser.add_argument("--nll-samples", type=int, default=5000)
    parser.add_argument("--gap-rows", type=int, default=0, help="rows of the gap table; 0 leaves it out")
    parser.add_argument("--run", help="folder of checkpoints, from which a run that was cut off goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/mnist.jsonl")
    return parser.parse_args()


def main() -> None:
    """Train, score, and print the row of the table."""
    options = parse()
    data, key = SPLITS[options.binarization](), jax.random.key(options.seed)
    to_start, to_fit, to_score, to_gap = jax.random.split(key, 4)
    start = inference(options, to_start)
    epochs = options.epochs if options.budget is None else epochs_within(start, data, options, to_fit)
    begin = time.perf_counter()
    fitted = climb(start, data, options, to_fit, epochs * steps_per_epoch(options))
    trained = time.perf_counter() - begin
    begin = time.perf_counter()
    rows = data["test"][: options.nll_rows]
    scores = use.score(fitted, rows, key=to_score, num_samples=options.nll_samples)
    elbo = fit.evaluate(fitted.inference, rows, key=to_score)
    result = {
        **{
            name: getattr(options, name)
            for name in (
                "binarization",
                "model",
                "k",
                "gradient",
                "learning_rate",
                "batch_size",
                "warm_up",
                "tune_epochs",
                "clip",
            )
        },
        "epochs": epochs,
        "seed": options.seed,
        "test_rows": len(rows),
        "test_nll": float(-scores.mean()),
        "test_nll_se": float(scores.std() / len(scores) ** 0.5),
        "test_bound": float(elbo.mean()),
        "nll_samples": options.nll_samples,
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
