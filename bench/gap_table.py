"""Where the bound of binarized MNIST is lost, by family: one decoder, many posteriors, train and test rows.

    JENSEN_DATA=... python bench/gap_table.py                             # about 40 minutes on two cores
    JENSEN_DATA=... python bench/gap_table.py --epochs 1 --posterior-epochs 1 --train-rows 2000 --rows 4 \
                                              --latent 4 --width 32 --effort 0.05           # a toy

Static bits (Larochelle's files), nets of two tanh layers, 50 latents. A decoder is trained once with a
diagonal Gaussian q and then held; every posterior's network is trained on it for the same epochs. The
semi-amortized ones are the trained networks with gradient steps on top. log p(x) is evaluated once per split,
by annealed importance sampling; q* is climbed to for each row, a richer family's from a poorer one's optimum,
and a flow may choose its own weights for each row. Published for a diagonal q (Cremer, Li & Duvenaud 2018,
other nets and schedule): approximation 1.43, amortization 1.34, total 2.77.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from mnist import static

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors

FAMILIES: dict[str, Callable[[int, jax.Array], Any]] = {
    "diagonal": lambda d, key: families.DiagGaussian(d),
    "low-rank": lambda d, key: families.LowRankGaussian(d, rank=min(5, d)),
    "full": lambda d, key: families.FullGaussian(d),
    "planar flow": lambda d, key: families.PlanarFlow(d, layers=10),
    "coupling flow": lambda d, key: families.CouplingFlow(d, layers=4, widths=(32,), key=key),
    "mixture": lambda d, key: families.Mixture(families.DiagGaussian(d), 3),
    "inverse autoregressive flow": lambda d, key: families.InverseAutoregressiveFlow(
        d, layers=2, widths=(2 * d,), key=key
    ),
}
"""By name, the poorer before the richer that contain them."""


def climbed(
    model: Any, posterior: Any, x: np.ndarray, options: argparse.Namespace, epochs: int, **held: Any
) -> fit.Fitted:
    """Train on the plain bound."""
    steps = epochs * (len(x) // options.batch_size)
    return fit.gradient(
        jn.Inference(model, posterior, objectives.ELBO(), gradients.Reparam()),
        x,
        key=jax.random.key(options.seed + 1),
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, steps, alpha=1e-2)),
        steps=steps,
        batch_size=options.batch_size,
        **held,
    )


def trained(x: np.ndarray, options: argparse.Namespace) -> tuple[dict[str, jn.Inference], dict[str, float]]:
    """Return the posteriors on one decoder, and the seconds their training took."""
    keys = jax.random.split(jax.random.key(options.seed), 2 + len(FAMILIES))
    widths = (options.width, options.width)

    def network(family: Any) -> Any:
        return posteriors.Amortized(family, data_dim=x.shape[1], widths=widths, key=keys[1])

    model = models.Decoder(x.shape[1], options.latent, likelihood="bernoulli", widths=widths, key=keys[0])
    joint = climbed(model, network(families.DiagGaussian(options.latent)), x, options, options.epochs)
    out, seconds = {}, {}
    for key, (name, make) in zip(keys[2:], FAMILIES.items(), strict=True):
        if name not in options.families:
            continue
        begin = time.perf_counter()
        q = network(make(options.latent, key)).initialize_from(fit.Data(x).rows(), key=key)
        fitted = climbed(
            joint.inference.model, q, x, options, options.posterior_epochs, trainable=lambda i: i.posterior
        )
        out[name], seconds[name] = fitted.inference, time.perf_counter() - begin
        print(f"{name}: trained in {seconds[name]:.0f} s", flush=True)
    for name in [name for name in options.semi if name in out]:
        inference = out[name]
        q = posteriors.SemiAmortized(inference.posterior, options.semi_steps, options.semi_step_size)
        out[f"{name}, semi-amortized"] = jn.Inference(
            inference.model, q, objectives.ELBO(), gradients.Reparam()
        )
    return out, seconds


def effort(scale: float) -> diagnose.Effort:
    """Return the work per row, scaled down for toys."""
    plain = diagnose.Effort(temperatures=300, chains=8, steps=800)
    return diagnose.Effort(
        temperatures=max(10, round(scale * plain.temperatures)),
        pilot=max(8, round(scale * plain.pilot)),
        chains=plain.chains if scale >= 1 else 4,
        samples=max(50, round(scale * plain.samples)),
        steps=max(16, round(scale * plain.steps)),
    )


def parse() -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES)[:6])
    parser.add_argument("--semi", nargs="*", choices=FAMILIES, default=["diagonal", "full"])
    parser.add_argument("--semi-steps", type=int, default=20)
    parser.add_argument("--semi-step-size", type=float, default=1e-2)
    parser.add_argument("--latent", type=int, default=50)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=100, help="of the decoder, with a diagonal q")
    parser.add_argument("--posterior-epochs", type=int, default=30, help="of every q on the held decoder")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--train-rows", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--effort", type=float, default=1.0, help="share of the full work per row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/gap_table.jsonl")
    return parser.parse_args()


def main() -> None:
    """Train, decompose on both splits, print both tables."""
    options = parse()
    data = static()
    train = data["train"][: options.train_rows]
    fits, seconds = trained(train, options)
    result: dict[str, Any] = {"options": vars(options), "train_seconds": seconds, "cores": os.cpu_count()}
    for split, x in (("train", train), ("test", data["test"])):
        begin = time.perf_counter()
        gaps = diagnose.gaps(
            fits, x, key=jax.random.key(options.seed + 2), rows=options.rows,
            effort=effort(options.effort), split=split,
        )  # fmt: skip
        print(gaps, f"\n{time.perf_counter() - begin:.0f} s\n", flush=True)
        result[split] = gaps.to_json()
        for name, gap in gaps.by_name.items():
            result[split][name]["converged"] = float(gap.per_datum["converged"].mean())
            result[split][name]["best_elbo"] = float(gap.per_datum["best_elbo"].mean())
    Path(options.out).parent.mkdir(parents=True, exist_ok=True)
    with open(options.out, "a") as file:
        file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
