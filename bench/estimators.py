"""Gradient estimators of discrete latents: bias and variance by cost, and what they reach.

    python bench/estimators.py bits --out bench/results/estimators.jsonl
    JENSEN_DATA=... python bench/estimators.py mnist --epochs 15 --out bench/results/estimators.jsonl

``bits``: binarized 8×8 digits, 12 Bernoulli latents, nets of one hidden layer of 64 tanh units; every
estimator against the exact gradient (a sum over 4,096 values) in the encoder's parameters, on 50 rows, early
(one epoch) and late in training. ``mnist``: static binarized MNIST, 200 Bernoulli latents, nets of one hidden
layer of 200 tanh units, batch 100, Adam at 1e-3 decaying by a cosine to 1e-5. Every estimator trains the same
start alone; then the same table where DisARM ended. The picture is the validation bound by time and by epoch,
VIMCO's that of its own objective. The test ELBO is of one draw, the NLL of 500 importance samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from mnist import static

import jensen as jn
from jensen import datasets, diagnose, families, fit, gradients, models, objectives, posteriors, use

ELBO, IWAE = objectives.ELBO, objectives.IWAE


def estimators(data_dim: int, steps: int, key: jax.Array) -> dict[str, tuple[Any, Any]]:
    """Return objective and gradient by name; the number of draws is in the name."""
    loo = gradients.ScoreFunction(gradients.LeaveOneOut())
    learned = gradients.Learned(data_dim, widths=(64,), key=key)
    return {
        "RLOO, 2 draws": (ELBO(2), loo),
        "RLOO, 4 draws": (ELBO(4), loo),
        "DisARM, 2 draws": (ELBO(2), gradients.DisARM()),
        "DisARM, 4 draws": (ELBO(4), gradients.DisARM()),
        "VIMCO, 2 draws": (IWAE(2), loo),
        "VIMCO, 4 draws": (IWAE(4), loo),
        "no baseline": (ELBO(1), gradients.ScoreFunction()),
        "running mean": (ELBO(1), gradients.ScoreFunction(gradients.RunningMean())),
        "learned baseline": (ELBO(1), gradients.ScoreFunction(learned)),
        "REBAR, τ = 0.5": (ELBO(1), gradients.REBAR(0.5)),
        "REBAR, τ = 0.1": (ELBO(1), gradients.REBAR(0.1)),
        "Gumbel, τ = 1": (ELBO(1), gradients.Relaxed(1.0)),
        "Gumbel, τ = 0.5": (ELBO(1), gradients.Relaxed(0.5)),
        "Gumbel, τ = 0.1": (ELBO(1), gradients.Relaxed(0.1)),
        "Gumbel, τ 1 → 0.2": (ELBO(1), gradients.Relaxed(objectives.Linear(1.0, 0.2, max(steps, 1)))),
        "Gumbel, hard forward, τ = 0.5": (ELBO(1), gradients.Relaxed(0.5, forward="hard")),
        "straight-through": (ELBO(1), gradients.StraightThrough()),
    }


TRAINED = (
    "RLOO, 2 draws",
    "RLOO, 4 draws",
    "DisARM, 2 draws",
    "VIMCO, 4 draws",
    "running mean",
    "learned baseline",
    "REBAR, τ = 0.5",
    "Gumbel, τ = 0.5",
    "Gumbel, τ 1 → 0.2",
    "straight-through",
)
ANNEALED = "Gumbel, τ 1 → 0.2"
"""A table at one step says nothing of a schedule."""


def start(data_dim: int, bits: int, width: int, key: jax.Array) -> tuple[Any, Any]:
    """Return model and posterior before training."""
    to_model, to_posterior = jax.random.split(key)
    prior = models.priors.Bernoulli(bits)
    model = models.Decoder(data_dim, likelihood="bernoulli", widths=(width,), prior=prior, key=to_model)
    family = families.Bernoulli(bits)
    return model, posteriors.Amortized(family, data_dim=data_dim, widths=(width,), key=to_posterior)


def optimizer(steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(1e-3, steps, alpha=1e-2))


def table(
    inference: jn.Inference, x: np.ndarray, options: argparse.Namespace, rows: int
) -> list[dict[str, Any]]:
    """Measure every estimator at these parameters, the learned baseline trained for them first."""
    entries = {
        name: e for name, e in estimators(x.shape[1], 1, jax.random.key(9)).items() if name != ANNEALED
    }
    objective, gradient = entries["learned baseline"]
    taught = fit.gradient(
        jn.Inference(inference.model, inference.posterior, objective, gradient),
        x,
        key=jax.random.key(8),
        optimizer=optax.adam(1e-3),
        steps=options.baseline_steps,
        batch_size=min(100, len(x)),
        trainable=lambda i: i.gradient,
    )
    entries["learned baseline"] = (objective, taught.inference.gradient)
    out = diagnose.compare_gradients(
        inference, x, entries, key=jax.random.key(7), rows=rows, repeats=options.repeats
    )
    print(out, flush=True)
    return [row._asdict() for row in out.rows]


def bits(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Twelve bits, against the exact gradient."""
    x = (np.asarray(datasets.load("digits").x) > 0.5).astype(np.float32)
    model, q = start(64, 12, 64, jax.random.key(0))
    results, done = [], 0
    for epochs in (1, options.epochs):
        inference = jn.Inference(model, q, ELBO(2), gradients.DisARM())
        fitted = fit.gradient(
            inference, x, key=jax.random.key(1), optimizer=optax.adam(1e-3), epochs=epochs, batch_size=100
        )
        model, q, done = fitted.inference.model, fitted.inference.posterior, done + epochs
        print(f"after {done} epochs, bound {fitted.history.bound[-10:].mean():.2f}")
        rows = table(fitted.inference, x, options, rows=50)
        results.append({"study": "bits", "epochs": done, "repeats": options.repeats, "rows": rows})
    return results


def mnist(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Two hundred bits: training curves, then the table where DisARM ended."""
    data = {name: rows[: options.num_rows] for name, rows in static().items()}
    steps = options.epochs * (len(data["train"]) // 100)
    curves, ended = [], None
    for name, (objective, gradient) in estimators(784, steps, jax.random.key(9)).items():
        if name not in TRAINED:
            continue
        model, q = start(784, 200, 200, jax.random.key(0))
        fitted = fit.gradient(
            jn.Inference(model, q, objective, gradient),
            data["train"],
            key=jax.random.key(1),
            validation=data["valid"][:2000],
            optimizer=optimizer(steps),
            epochs=options.epochs,
            batch_size=100,
        )
        one = jn.Inference(
            fitted.inference.model, fitted.inference.posterior, ELBO(), gradients.ScoreFunction()
        )
        score = use.score(one, data["test"][: options.nll_rows], num_samples=500)
        curves.append(
            {
                "name": name,
                "seconds": fitted.history.seconds,
                "validation": [float(v) for v in fitted.history.validation],
                "test_elbo": float(fit.evaluate(one, data["test"], key=jax.random.key(2)).mean()),
                "test_nll": float(-score.mean()),
                "nll_se": float(score.std() / np.sqrt(len(score))),
            }
        )
        print({k: v for k, v in curves[-1].items() if k != "validation"}, flush=True)
        ended = fitted.inference if name == "DisARM, 2 draws" else ended
    assert ended is not None
    draw(curves, Path(options.picture))
    rows = table(ended, data["train"], options, rows=100)
    return [
        {"study": "mnist", "epochs": options.epochs, "num_rows": len(data["train"]), "curves": curves},
        {"study": "mnist table", "epochs": options.epochs, "repeats": options.repeats, "rows": rows},
    ]


def draw(curves: list[dict[str, Any]], path: Path) -> None:
    """Draw the validation bound by epoch and by time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    colours = plt.get_cmap("tab10")
    for i, curve in enumerate(curves):
        at = np.arange(1, len(curve["validation"]) + 1)
        for axis, x in zip(axes, (at, at * curve["seconds"] / len(at)), strict=True):
            axis.plot(x, curve["validation"], label=curve["name"], color=colours(i), linewidth=1.4)
    every = np.concatenate([curve["validation"] for curve in curves])
    axes[0].set_ylim(np.quantile(every, 0.1), every.max() + 1)
    axes[0].set(xlabel="epochs", ylabel="validation bound, nats per image")
    axes[1].set(xlabel="seconds")
    axes[1].legend(fontsize=8, frameon=False, loc="lower right")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=("bits", "mnist"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--baseline-steps", type=int, default=2000)
    parser.add_argument("--num-rows", type=int, default=50_000)
    parser.add_argument("--nll-rows", type=int, default=2000)
    parser.add_argument("--picture", default="docs/images/estimators.png")
    parser.add_argument("--out", default="bench/results/estimators.jsonl")
    options = parser.parse_args()
    results = {"bits": bits, "mnist": mnist}[options.study](options)
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "a") as file:
        file.writelines(json.dumps(result) + "\n" for result in results)


if __name__ == "__main__":
    main()
