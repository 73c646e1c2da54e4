"""Kill a fit with SIGKILL at random moments, resume it until it is done, and compare the bits.

    python bench/kill_test.py [KILLS]

prints where the kills fell, and whether the hash of every weight and the bytes of the metrics equal those of
a fit that was left alone. ``--fit FOLDER`` is the fit itself, resumed if the folder holds one.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LAST = 1_400
"""Steps of the whole fit: 200 epochs of 7 batches."""


def fit_once(folder: str) -> None:
    """A small VAE on random rows: minibatches, validation, the best parameters kept, checkpoints."""
    import jax
    import numpy as np
    import optax

    import jensen as jn

    def slowed(step: int, values: dict[str, float]) -> None:
        time.sleep(0.004)  # gives a kill somewhere to fall besides the compiler

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(300, 6))
    p, q, key = jax.random.split(jax.random.key(0), 3)
    model = jn.models.Decoder(6, 2, likelihood="gaussian", widths=(8,), key=p)
    posterior = jn.posteriors.Amortized(jn.families.DiagGaussian(2), data_dim=6, widths=(8,), key=q)
    tracker = type("Slow", (), {"log": staticmethod(slowed), "close": staticmethod(lambda: None)})()
    jn.fit.gradient(
        jn.Inference(model, posterior, jn.objectives.ELBO(), jn.gradients.Reparam()),
        x[:250],
        key=key,
        optimizer=optax.adam(3e-3),
        epochs=200,
        batch_size=32,
        validation=x[250:],
        stop=jn.fit.Patience(1_000),
        run=jn.fit.Run(folder, checkpoint_every=5, resume=True, trackers=(tracker,)),
    )


def outcome(folder: Path) -> tuple[dict, bytes]:
    """The hashes of all weights, and the metrics to the byte."""
    return json.loads((folder / "model.json").read_text())["tensors"], (folder / "metrics.jsonl").read_bytes()


def main(kills: int) -> None:
    chance = random.Random(0)
    command = [sys.executable, __file__, "--fit"]
    with tempfile.TemporaryDirectory() as root:
        whole, killed = Path(root) / "whole", Path(root) / "killed"
        began = time.perf_counter()
        subprocess.run([*command, str(whole)], check=True)
        alone = time.perf_counter() - began
        expected, steps, finished = outcome(whole), [], 0
        while len(steps) < kills:
            process = subprocess.Popen([*command, str(killed)])
            try:
                # anywhere: importing, compiling, training, in the middle of a checkpoint
                process.wait(timeout=alone * chance.uniform(0.1, 1.1))
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                found = sorted(p.name for p in killed.glob("checkpoints/step-*"))
                steps.append(int(found[-1][5:]) if found else 0)
            if process.returncode == 0 or (steps and steps[-1] == LAST):
                finished += finish(command, killed, expected)
        finished += finish(command, killed, expected)
    print(f"{len(steps)} kills, newest checkpoint at each: {steps}")
    print(f"{finished} fits resumed to the end, all bit-identical to the one left alone")


def finish(command: list[str], folder: Path, expected: tuple[dict, bytes]) -> int:
    """Resume to the end, compare, and clear the folder for the next fit."""
    subprocess.run([*command, str(folder)], check=True)
    if outcome(folder) != expected:
        sys.exit("DIFFERENT from the fit left alone")
    shutil.rmtree(folder)
    return 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fit"]:
        fit_once(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
