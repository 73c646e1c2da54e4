"""How long `import jensen` takes, beside the packages it stands on; each import in a fresh interpreter."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from harness import environment, finish

STATEMENTS = {
    "import jensen": "import jensen",
    "import jax, equinox, numpyro.distributions": "import jax, equinox, numpyro.distributions",
    "import jensen and its folders": "import jensen; from jensen import "
    "models, posteriors, objectives, gradients, families, fit, diagnose, use",
    "jensen --help": "import sys; sys.argv = ['jensen', '--help']; from jensen.cli import main; main()",
}


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter, less nothing: the interpreter's own start is a row of its own."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"`{statement}` failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dry", action="store_true", help="do not append to bench/results")
    args = parser.parse_args()
    statements = {"import jensen": STATEMENTS["import jensen"], "python alone": "pass"} | STATEMENTS
    facts = environment()
    record = {name: {"first": [seconds(s)], "seconds": []} for name, s in statements.items()}
    for _ in range(args.rounds):
        for name, statement in statements.items():
            record[name]["seconds"].append(seconds(statement))
    finish(
        "import_time", "s", "import jensen", {"interpreter": "fresh each time"}, facts, record, dry=args.dry
    )
