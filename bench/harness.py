"""Paired, interleaved timing of contestants that each live in a process of their own.

Every contestant is a function that sets up and returns `run`. `run()` does the timed work and returns a
function giving what the work reached (quality), which is not timed. The parent starts one long-lived worker
per contestant and lets them run in turn, A, B, C, C, B, A, ..., so that a disturbance of the machine falls on
all; ratios are taken within a round. Only one worker computes at any moment.

`python bench/harness.py` prints the newest results as markdown; with `--write` it puts them in the README.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import pty
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = (
    "jax",
    "numpy",
    "equinox",
    "optax",
    "numpyro",
    "torch",
    "pythae",
    "pyro-ppl",
    "scikit-learn",
    "hmmlearn",
    "dynamax",
)

Quality = dict[str, float]
Run = Callable[[], Callable[[], Quality]]
Setup = Callable[[], Run]


@dataclass(frozen=True)
class Benchmark:
    """What is compared, and how its seconds are read.

    Attributes:
        name: file name of the results.
        setups: contestants by name; the functions import what they need.
        reference: the contestant that every other is divided by.
        per: how many units of work one run does (seconds are divided by it).
        unit: the unit's name, as in "s per epoch".
        settings: facts a reader needs to judge or repeat the run.
        calls: runs of each worker in a round; with `fresh` the first is the compiling one.
        fresh: start new workers every round, so that first calls are timed too.
        rounds: default number of rounds.
    """

    name: str
    setups: Mapping[str, Setup]
    reference: str = "jensen"
    per: float = 1.0
    unit: str = "s"
    settings: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 1
    fresh: bool = False
    rounds: int = 9


class Worker:
    """A contestant in a process of its own, driven by one line per command.

    Its stderr is a terminal (a pseudo one, read by a thread), so that progress bars are really drawn.
    """

    def __init__(self, script: str, name: str):
        self.name = name
        self._log: deque[bytes] = deque(maxlen=200)
        terminal, stderr = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=stderr, text=True, env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        )  # fmt: skip
        os.close(stderr)
        self._reader = threading.Thread(target=self._drain, args=(terminal,), daemon=True)
        self._reader.start()
        self.setup_seconds = self._answer()["seconds"]

    def _drain(self, terminal: int) -> None:
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that the other end is gone
            while block := os.read(terminal, 4096):
                self._log.append(block)
        os.close(terminal)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._reader.join(5)
            raise RuntimeError(f"{self.name} died:\n{b''.join(self._log).decode(errors='replace')[-3000:]}")
        return json.loads(line)

    def run(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve(setup: Setup) -> None:
    """Answer commands; whatever the libraries print goes to the terminal, never among the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = time.perf_counter()
    run = setup()
    print(json.dumps({"seconds": time.perf_counter() - start}), file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        quality = run()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "quality": quality()}), file=answers, flush=True)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """The machine and the versions, so that a number can be judged later."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017
        "commit": commit.stdout.strip(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {p: v for p in PACKAGES if (v := _version(p)) is not None},
    }


def median_ratio(a: np.ndarray, b: np.ndarray, draws: int = 10_000) -> dict[str, float]:
    """Median of the paired ratios a/b and its 95% bootstrap interval over rounds."""
    ratios = a / b
    rows = np.random.default_rng(0).integers(0, len(ratios), (draws, len(ratios)))
    low, high = np.quantile(np.median(ratios[rows], axis=1), [0.025, 0.975])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def _rounds(benchmark: Benchmark, script: str, names: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    record: dict[str, dict[str, Any]] = {n: {"first": [], "seconds": []} for n in names}

    def note(name: str, answers: list[dict[str, Any]], first: bool) -> None:
        seconds = [a["seconds"] / benchmark.per for a in answers]
        if first:
            record[name]["first"].append(seconds.pop(0))
        record[name]["seconds"] += seconds
        record[name]["quality"] = answers[-1]["quality"]

    workers: dict[str, Worker] = {}
    if not benchmark.fresh:
        for name in names:
            workers[name] = Worker(script, name)
            note(name, [workers[name].run()], first=True)
    for index in range(rounds):
        for name in names if index % 2 == 0 else reversed(names):
            worker = Worker(script, name) if benchmark.fresh else workers[name]
            note(name, [worker.run() for _ in range(benchmark.calls)], first=benchmark.fresh)
            if benchmark.fresh:
                worker.close()
            print(
                f"round {index + 1}/{rounds} {name:24s} {record[name]['seconds'][-1]:.4f} {benchmark.unit}",
                flush=True,
            )
    for worker in workers.values():
        worker.close()
    return record


def main(benchmark: Benchmark, script: str) -> None:
    """Command line of a benchmark: run the contestants in turn, print the table, append the results."""
    parser = argparse.ArgumentParser(
        description=f"{benchmark.name}: paired timing of {', '.join(benchmark.setups)}"
    )
    parser.add_argument("--rounds", type=int, default=benchmark.rounds)
    parser.add_argument("--only", nargs="+", choices=list(benchmark.setups), default=list(benchmark.setups))
    parser.add_argument("--dry", action="store_true", help="do not append to bench/results")
    parser.add_argument("--worker", choices=list(benchmark.setups), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return _serve(benchmark.setups[args.worker])
    facts = environment()
    record = _rounds(benchmark, script, args.only, args.rounds)
    finish(
        benchmark.name,
        benchmark.unit,
        benchmark.reference,
        dict(benchmark.settings),
        facts,
        record,
        dry=args.dry,
    )


def finish(
    name: str, unit: str, reference: str, settings: dict[str, Any], facts: dict[str, Any],
    record: dict[str, dict[str, Any]], *, dry: bool,
) -> None:  # fmt: skip
    """Add ratios to the reference, print, and append to the results file."""
    reference = reference if reference in record else next(iter(record))
    for entry in record.values():
        for kind in ("first", "seconds"):
            a, b = (np.asarray(r[kind]) for r in (entry, record[reference]))
            if len(a) > 1 and len(a) == len(b):
                entry[f"{kind}_ratio"] = median_ratio(a, b)
    result = {"name": name, "unit": unit, "reference": reference, "settings": settings, "environment": facts,
              "contestants": record}  # fmt: skip
    print(table(result))
    if not dry:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        previous = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*previous, result], indent=1) + "\n")


def _ratio(entry: dict[str, Any], kind: str) -> str:
    r = entry.get(f"{kind}_ratio")
    return f"{r['median']:.2f} [{r['low']:.2f}, {r['high']:.2f}]" if r else ""


def table(result: dict[str, Any]) -> str:
    """One result as markdown: medians, ratios to the reference with 95% intervals, and quality."""
    facts = result["environment"]
    ratio = f"ratio to {result['reference']} | first-call ratio"
    lines = [
        f"| contestant | first call | median, {result['unit']} | {ratio} | reached |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in result["contestants"].items():
        first = f"{np.median(entry['first']):.3g}" if entry["first"] else ""
        reached = ", ".join(f"{k} {v:.6g}" for k, v in entry.get("quality", {}).items())
        cells = [name, first, f"{np.median(entry['seconds']):.4g}", _ratio(entry, "seconds"),
                 _ratio(entry, "first"), reached]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    settings = ", ".join(f"{k} {v}" for k, v in result["settings"].items())
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    rounds = max(len(e["seconds"]) for e in result["contestants"].values())
    machine = f"{facts['cores']} cores of {facts['cpu']}, load before {facts['load_before']:.2f}"
    when = f"{rounds} rounds, {facts['when'][:10]}, commit {facts['commit']}"
    lines += ["", f"{settings}. {when}, {machine}; Python {facts['python']}, {versions}."]
    return "\n".join(lines)


def all_tables() -> str:
    """The newest result of every race; studies keep results of other forms beside them."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    races = {name: runs[-1] for name, runs in found.items() if isinstance(runs, list) and "unit" in runs[-1]}
    blocks = [f"### {name}\n\n{table(race)}" for name, race in races.items()]
    return "\n\n".join(blocks) or "No results yet."


def _fill_readme() -> None:
    begin, end = "<!-- results -->", "<!-- end of results -->"
    path = HERE / "README.md"
    before, rest = path.read_text().split(begin)
    path.write_text(f"{before}{begin}\n\n{all_tables()}\n\n{end}{rest.split(end)[1]}")


if __name__ == "__main__":
    _fill_readme() if "--write" in sys.argv[1:] else print(all_tables())
