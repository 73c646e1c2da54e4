"""Published variational autoencoders as four choices each: trained on binarized MNIST, or what you give.

    JENSEN_DATA=... python bench/presets.py                      # every preset, 20 epochs
    JENSEN_DATA=... python bench/presets.py --only vamp iwae --epochs 5

Static binarized MNIST (Larochelle's bits, 50,000 rows), nets 784-512-40 and back, relu, batch 100, Adam at
1e-3 decaying by a cosine to 1e-5 over the epochs; these are pythae's default networks. NLL is an upper bound
from importance samples of the fitted posterior on the first test rows, the same rows and number for every
preset; where the posterior is not meant to be tight (WAE) it is loose. ``docs/presets.md`` holds the table;
the tests train every preset for a few steps on digits.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import AbstractObjective
from jensen.dist import AbstractDensity

priors = models.priors


class Sizes(NamedTuple):
    """What a preset is built from.

    Attributes:
        data_dim: Number of columns, all binary.
        latent_dim: Length of z.
        widths: Hidden widths of encoder and, reversed, decoder.
        steps: Length of the run in gradient steps, for schedules.
        pseudo: Pseudo-inputs of a VampPrior, components of a mixture.
        nats: What z is let tell where that is held.
    """

    data_dim: int = 784
    latent_dim: int = 40
    widths: Sequence[int] = (512,)
    steps: int = 10_000
    pseudo: int = 200
    nats: float = 25.0


Build = Callable[[Sizes, jax.Array], jn.Inference]


def vae(
    objective: Any = None,
    *,
    prior: Callable[[Sizes, jax.Array], Any] | None = None,
    family: Callable[[Sizes, jax.Array], Any] | None = None,
    refine: Callable[[Any], Any] = lambda q: q,
    gradient: Any = None,
) -> Build:
    """Return a preset that differs from the plain autoencoder in what is given."""

    def build(sizes: Sizes, key: jax.Array) -> jn.Inference:
        to_model, to_posterior, to_prior, to_family, to_objective = jax.random.split(key, 5)
        own = priors.StandardNormal(sizes.latent_dim) if prior is None else prior(sizes, to_prior)
        law = families.DiagGaussian(sizes.latent_dim) if family is None else family(sizes, to_family)
        model = models.Decoder(
            sizes.data_dim, prior=own, widths=sizes.widths[::-1], activation=jax.nn.relu, key=to_model
        )
        q = posteriors.Amortized(
            law, data_dim=sizes.data_dim, widths=sizes.widths, activation=jax.nn.relu, key=to_posterior
        )
        bound: Any = objectives.ELBO() if objective is None else objective
        if not isinstance(bound, AbstractObjective):
            bound = bound(sizes, to_objective)
        return jn.Inference(model, refine(q), bound, gradient or gradients.Reparam())

    return build


def vector_quantized(sizes: Sizes, key: jax.Array) -> jn.Inference:
    """Return pairs of latents rounded to the nearest of 64 learned places, the odds of places learned."""
    to_codes, to_model, to_posterior = jax.random.split(key, 3)
    num, relu = sizes.latent_dim // 2, jax.nn.relu
    codes = priors.Codebook(64, num, 2, key=to_codes)
    model = models.Decoder(
        sizes.data_dim, prior=codes, widths=sizes.widths[::-1], activation=relu, key=to_model
    )
    q = posteriors.VectorQuantized(
        num, 2, data_dim=sizes.data_dim, widths=sizes.widths, activation=relu, key=to_posterior
    )
    return jn.Inference(model, q, objectives.ELBO(), gradients.StraightThrough())


def hierarchical(sizes: Sizes, key: jax.Array) -> jn.Inference:
    """Return two layers of latents, inferred from the top down."""
    to_prior, to_model, to_posterior = jax.random.split(key, 3)
    layers, relu = (sizes.latent_dim // 2, sizes.latent_dim), jax.nn.relu
    prior = priors.Hierarchical(layers, widths=sizes.widths, activation=relu, key=to_prior)
    model = models.Decoder(
        sizes.data_dim, prior=prior, widths=sizes.widths[::-1], activation=relu, key=to_model
    )
    q = posteriors.TopDown(
        like=model, widths=sizes.widths, between=sizes.widths, activation=relu, key=to_posterior
    )
    warm = objectives.Linear(0.0, 1.0, max(sizes.steps // 4, 1))  # without it most latents are never used
    return jn.Inference(model, q, objectives.ELBO(beta=warm), gradients.Reparam())


def capacity(sizes: Sizes, key: jax.Array) -> Any:
    """Let z tell as much as it may by half of the run."""
    return objectives.Capacity(objectives.Linear(0.0, sizes.nats, max(sizes.steps // 2, 1)), strength=10.0)


def discrepancy(alpha: float) -> Callable[[Sizes, jax.Array], Any]:
    """Weigh the squared discrepancy, at most 2, like a few dozen columns."""
    return lambda sizes, key: objectives.InfoVAE(alpha=alpha, strength=sizes.data_dim / 8)


PRESETS: dict[str, Build] = {
    "vae": vae(),
    "beta-vae": vae(objectives.ELBO(beta=2.0)),
    "disentangled-beta-vae": vae(capacity),
    "beta-tc-vae": vae(objectives.BetaTC(4.0)),
    "factor-vae": vae(lambda s, key: objectives.FactorVAE(10.0, latent_dim=s.latent_dim, key=key)),
    "info-vae": vae(discrepancy(0.0)),
    "wae-mmd": vae(discrepancy(1.0)),
    "iwae": vae(objectives.IWAE(10), gradient=gradients.DoublyReparam()),
    "miwae": vae(objectives.MIWAE(10, groups=2)),
    "piwae": vae(objectives.PIWAE(10, groups=2)),
    "ciwae": vae(objectives.CIWAE(10, beta=0.5)),
    "vamp": vae(prior=lambda s, key: priors.VampPrior(s.latent_dim, s.data_dim, s.pseudo, key=key)),
    "vae-lin-nf": vae(family=lambda s, key: families.PlanarFlow(s.latent_dim, layers=4)),
    "vae-iaf": vae(
        family=lambda s, key: families.InverseAutoregressiveFlow(
            s.latent_dim, layers=2, widths=(128,), context_dim=32, key=key
        )
    ),
    "hvae": vae(refine=lambda q: posteriors.HamiltonianRefined(q, steps=3)),
    "vq-vae": vector_quantized,
    "mixture-prior": vae(prior=lambda s, key: priors.MixtureOfGaussians(s.latent_dim, s.pseudo, key=key)),
    "flow-prior": vae(
        prior=lambda s, key: priors.Learned(
            families.CouplingFlow(s.latent_dim, widths=(128,), context_dim=0, key=key)
        )
    ),
    "hierarchical": hierarchical,
    "semi-amortized": vae(refine=lambda q: posteriors.SemiAmortized(q, steps=5, step_size=1e-2)),
    "dvae": vae(
        objectives.ELBO(4),
        prior=lambda s, key: priors.Bernoulli(s.latent_dim),
        family=lambda s, key: families.Bernoulli(s.latent_dim),
        gradient=gradients.DisARM(),
    ),
}
"""By pythae's name, in its order, then jensen's own."""


def load() -> dict[str, np.ndarray]:
    """Return training and test rows as zeros and ones; the test rows, sorted by class, are shuffled."""
    folder = Path(os.environ.get("JENSEN_DATA", "../shared/data"))
    packed = np.load(folder / "binarized_mnist/binarized_mnist.npz")
    splits = {
        name: np.unpackbits(packed[name], axis=1)[:, :784].astype(np.float32) for name in ("train", "test")
    }
    splits["test"] = splits["test"][np.random.default_rng(0).permutation(len(splits["test"]))]
    return splits


def measure(name: str, data: dict[str, np.ndarray], options: argparse.Namespace) -> dict[str, Any]:
    """Train a preset and score it."""
    to_start, to_fit, to_score, to_units = jax.random.split(jax.random.key(options.seed), 4)
    steps = options.steps or options.epochs * (len(data["train"]) // 100)
    begin = time.perf_counter()
    fitted = fit.gradient(
        PRESETS[name](Sizes(steps=steps), to_start),
        data["train"],
        key=to_fit,
        optimizer=optax.adam(optax.cosine_decay_schedule(1e-3, steps, alpha=1e-2)),
        steps=steps,
        batch_size=100,
    )
    trained = time.perf_counter() - begin
    rows = data["test"][: options.rows]
    begin = time.perf_counter()
    scores = use.score(fitted, rows, key=to_score, num_samples=options.samples)
    four = fitted.inference
    dense = issubclass(four.posterior.law(four.model), AbstractDensity)
    draws = 1 if isinstance(four.posterior, posteriors.VectorQuantized) else 2
    # what is asked of an estimator here is that the bound accepts it: nothing is differentiated
    weighted = isinstance(four.gradient, gradients.DoublyReparam)
    within = gradients.Reparam() if weighted else four.gradient
    plain = jn.Inference(four.model, four.posterior, objectives.ELBO(draws), within)
    elbo = fit.evaluate(plain, rows, key=to_score)
    used = diagnose.collapse(four, rows, key=to_units) if dense else None
    return {
        "preset": name,
        "epochs": options.epochs,
        "steps": steps,
        "nll": float(-scores.mean()),
        "nll_se": float(scores.std() / len(scores) ** 0.5),
        "elbo": float(elbo.mean()),
        "kl": None if used is None else float(used.kl.value),
        "active": None if used is None else used.num_active,
        "rows": len(rows),
        "samples": options.samples,
        "seconds": trained,
        "score_seconds": time.perf_counter() - begin,
        "device": str(jax.devices()[0].device_kind),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Train, score, and print one line a preset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--steps", type=int, help="instead of --epochs")
    parser.add_argument("--rows", type=int, default=1000, help="test rows scored")
    parser.add_argument("--samples", type=int, default=1000, help="importance samples a row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="bench/results/presets.jsonl")
    options = parser.parse_args()
    data = load()
    print(f"{'preset':22s} {'NLL':>8s} {'ELBO':>9s} {'KL':>6s} {'active':>6s} {'seconds':>7s}", flush=True)
    out = Path(options.out)
    lines = out.read_text().splitlines() if out.exists() else []
    done = {(row["preset"], row["steps"]) for row in map(json.loads, lines)}
    steps = options.steps or options.epochs * (len(data["train"]) // 100)
    for name in options.only:
        if (name, steps) in done:
            continue
        row = measure(name, data, options)
        jax.clear_caches()
        active = "-" if row["active"] is None else str(row["active"])
        kl = "-" if row["kl"] is None else f"{row['kl']:.2f}"
        numbers = f"{row['nll']:8.2f} {row['elbo']:9.2f} {kl:>6} {active:>6} {row['seconds']:7.0f}"
        print(f"{name:22s} {numbers}", flush=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
