"""Planned actions per second: CEM in an RSSM of the pendulum's size, by number of environments.

    python bench/planner_speed.py --out bench/results/planner_speed.json

128 candidates, 4 iterations, horizon 15, so 7,680 imagined steps an action (and 15 for the plan's value); 128
deterministic and 16 stochastic units, pictures of 1,024 pixels encoded at each step. The median of repeated
calls after one that compiles; beside it the same for observations of 4 numbers, which shows whether a reward
head is read without drawing pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors
from jensen.control import CEM, BoxActions, ModelWorld
from jensen.control.plan import FromMean, sequences_in
from jensen.control.plan.policy import Settings, begun, planned

BOX = BoxActions(np.full(1, -2.0, np.float32), np.full(1, 2.0, np.float32), (1,), np.dtype("float32"))


def world(pixels: int) -> ModelWorld:
    """Return an untrained model."""
    family, key = families.DiagGaussian(16), jax.random.key(0)
    model = models.RSSM(
        pixels,
        1,
        deter_dim=128,
        latent=family,
        decoder=(96, 96),
        heads=(models.likelihoods.Gaussian(1),),
        key=key,
    )
    q = posteriors.Filtering(family, like=model, widths=(96,), encoder=(96, 96), key=key)
    return ModelWorld(jn.Inference(model, q, objectives.ELBO(), gradients.Reparam()), latent="mean")


def seconds(pixels: int, num: int, repeats: int) -> float:
    """Return the median time of planning once in each environment."""
    here = world(pixels)
    settings = Settings(CEM(15, candidates=128, iterations=4), sequences_in(BOX), FromMean())
    courses = begun(here, settings, jax.random.key(1), num)
    seen, took = jnp.full((num, pixels), 0.1), []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        courses, plans = planned(here, None, settings, courses, seen)
        jax.block_until_ready(plans.value)
        took.append(time.perf_counter() - began)
    return float(np.median(took[1:]))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nums", type=int, nargs="+", default=[1, 8, 32, 100])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("bench/results/planner_speed.json"))
    options = parser.parse_args()
    rows = []
    for pixels in (1024, 4):
        for num in options.nums:
            took = seconds(pixels, num, options.repeats)
            rows.append(
                {"pixels": pixels, "environments": num, "seconds": took, "actions_per_second": num / took}
            )
            print(json.dumps(rows[-1]), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
