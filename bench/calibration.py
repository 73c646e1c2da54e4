"""How often simulation-based calibration catches faults planted in an exact posterior, over many keys.

    python bench/calibration.py --runs 100

The model is probabilistic PCA, 10 columns and 6 latents, 500 simulations, 99 draws, level 0.01; prints, for
each fault, how many runs failed and which quantities did it.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
from pathlib import Path

import jax

from jensen import diagnose

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "diagnose"))
from test_calibration import FAULTS, bent


def main() -> None:
    """Print one row per fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, fault in {"none": {}, **FAULTS, "q = prior": {"prior": 1.0}}.items():
        start, failed, by = time.perf_counter(), 0, collections.Counter()
        for seed in range(args.runs):
            got = diagnose.calibration(bent(**fault), key=jax.random.key(seed), progress=diagnose.Silent())
            failed += not got.passed
            by.update(quantity.split("[")[0] for quantity in got.failed)
        seconds = (time.perf_counter() - start) / args.runs
        print(f"{name:12s} failed {failed:3d} of {args.runs}  {seconds:.2f} s each  {dict(by)}", flush=True)


if __name__ == "__main__":
    main()
