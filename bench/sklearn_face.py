"""Fits through jensen.sklearn beside scikit-learn's own: seconds of the first and of later fits, same steps.

python bench/sklearn_face.py --out sklearn_face.json          # about 4 minutes on 2 cores
python bench/sklearn_face.py --largest 1000 --out toy.json
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.decomposition
import sklearn.mixture

from jensen.sklearn import FactorAnalysis, GaussianMixture

MIXTURES = [(1_000, 4, 3), (20_000, 16, 8), (200_000, 16, 32)]
"""Rows, columns, components."""

STEPS = 10
"""EM steps of every fit; tolerance 0."""


def rows_of(num: int, dim: int, components: int) -> np.ndarray:
    """Draw rows about as many centres."""
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(components, dim))[rng.integers(components, size=num)] + rng.normal(
        size=(num, dim)
    )


def seconds(fit: Callable[[], Any]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    fit()
    return time.perf_counter() - begun


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int = 3) -> dict[str, float]:
    """Return seconds of the first fit, and medians of later ones taken in turn."""
    first, pairs = seconds(ours), [(seconds(ours), seconds(theirs)) for _ in range(repeats)]
    later, other = np.median(pairs, axis=0)
    return {"first": first, "later": float(later), "scikit_learn": float(other)}


def main() -> None:
    """Run all cases and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=int, default=200_000, help="leave out cases of more rows")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    table = {}
    for num, dim, k in MIXTURES:
        if num > args.largest:
            continue
        x = rows_of(num, dim, k)
        for dtype in (np.float64, np.float32):
            rows, options = (
                x.astype(dtype),
                {"n_components": k, "tol": 0.0, "max_iter": STEPS, "random_state": 0},
            )
            options["init_params"] = "random_from_data"
            name = f"GaussianMixture {num} x {dim}, K={k}, {np.dtype(dtype).name}"
            table[name] = compare(
                lambda rows=rows, o=options: GaussianMixture(**o).fit(rows),
                lambda rows=rows, o=options: sklearn.mixture.GaussianMixture(**o).fit(rows),
            )
            print(name, table[name], flush=True)
    x = rows_of(min(args.largest, 20_000), 32, 5)
    table[f"FactorAnalysis {len(x)} x 32, R=4"] = compare(
        lambda: FactorAnalysis(4).fit(x), lambda: sklearn.decomposition.FactorAnalysis(4).fit(x)
    )
    args.out.write_text(json.dumps(table, indent=1))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
