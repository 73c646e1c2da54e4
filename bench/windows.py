"""Windows of long sequences: drawn with a burn-in, or carried on from one another.

    python bench/windows.py --model rssm --seed 0

Trained on 20 episodes of 1,000 steps of a pendulum under random torques, cos θ and sin θ seen with noise 0.3
and the velocity never, in 16 windows of 20 a step; scored by the bound on 8 whole episodes held out.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import numpy as np
import optax
from sequences import keep

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.datasets.pendulum import pendulum

STEPS, LATENT, WIDTH = 1_000, 4, 32
PLANS = {
    repr(plan): plan
    for plan in (fit.CarriedWindows(20), fit.Windows(20, burn_in=5), fit.Windows(20, burn_in=20))
}


def episodes(num: int, seed: int) -> fit.Data:
    """Simulate, and hide the velocity."""
    data = pendulum(num, STEPS, observations="states", noise=0.3, seed=seed)
    return fit.Data(data.x[..., :2], cond=data.actions)


def inference(name: str, to_model: Any, to_posterior: Any) -> jn.Inference:
    """Return the four choices."""
    if name == "rssm":
        latent = families.DiagGaussian(LATENT)
        model: Any = models.RSSM(2, 1, deter_dim=WIDTH, latent=latent, decoder=(WIDTH,), key=to_model)
    else:
        model = models.NeuralStateSpace(2, LATENT, decoder=(WIDTH,), width=WIDTH, cond_dim=1, key=to_model)
    q = posteriors.Filtering(families.DiagGaussian(LATENT), like=model, widths=(WIDTH,), key=to_posterior)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def main() -> None:
    """Train, score, print, and append to the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=("rssm", "dmm"), default="rssm")
    parser.add_argument("--batches", choices=(*PLANS, "all"), default="all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5_000)
    parser.add_argument("--out", default="bench/results/windows.jsonl")
    options = parser.parse_args()
    rate = optax.cosine_decay_schedule(3e-3, options.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1000.0), optax.adam(rate))
    train, held_out = episodes(20, 1), episodes(8, 2)
    to_model, to_posterior, to_fit = jax.random.split(jax.random.key(options.seed), 3)
    for name in PLANS if options.batches == "all" else (options.batches,):
        start, began = inference(options.model, to_model, to_posterior), time.process_time()
        fitted = fit.gradient(
            start,
            train,
            key=to_fit,
            optimizer=optimizer,
            steps=options.steps,
            batch_size=16,
            batches=PLANS[name],
        )
        seconds = time.process_time() - began
        bound = fit.evaluate(fitted.inference, held_out, key=jax.random.key(9)).mean() / STEPS
        found = {
            "model": options.model,
            "batches": name,
            "seed": options.seed,
            "steps": options.steps,
            "bound_per_step": round(float(bound), 4),
            "training_bound_per_step": round(float(np.mean(fitted.history.bound[-100:])) / STEPS, 4),
            "cpu_seconds_with_compilation": round(seconds, 1),
        }
        keep(found, options.out)


if __name__ == "__main__":
    main()
