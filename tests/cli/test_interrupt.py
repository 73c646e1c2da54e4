"""Ctrl-C at any moment: the command says how to continue, and leaves with status 130."""

from __future__ import annotations

import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jensen.cli.shell import persistent_interrupts

WORDS = ["fit", "vae", "digits", "--steps", "200000", "--validation", "0", "--widths", "16", "--out", "run"]


@pytest.fixture(autouse=True)
def _interrupts_count() -> Iterator[None]:
    """Shells start what runs in the background with interrupts ignored; here they count."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(folder: Path, delay: float) -> tuple[int, str]:
    """Start a fit, interrupt it ``delay`` seconds after its first metrics, and return how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jensen", *WORDS],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    until, metrics = time.monotonic() + 120, folder / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err


SAID = "jensen: interrupted; continue with `jensen fit --resume run`\n"


def test_interrupted_once(tmp_path: Path):
    assert interrupted(tmp_path, 0.3) == (130, SAID)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_interrupted_often(seed: int, tmp_path: Path):
    assert interrupted(tmp_path, random.Random(seed).uniform(0, 2)) == (130, SAID)


def test_an_interrupt_that_falls_into_a_garbage_collection_is_not_lost():
    def press(*_: object) -> None:
        gc.callbacks.remove(press)
        os.kill(os.getpid(), signal.SIGINT)

    gc.callbacks.append(press)
    with pytest.raises(KeyboardInterrupt), persistent_interrupts():
        gc.collect()  # Python prints what is raised in there, and drops it
        time.sleep(5)


def test_an_interrupted_process_ends_without_teardown(tmp_path: Path):
    """Teardown would meet compiled steps that still run: here an exit handler stands for it."""
    code = (
        "import atexit, sys; from jensen.cli import evaluation, main\n"
        "def press(*_, **__): raise KeyboardInterrupt\n"
        "evaluation.measure = press; atexit.register(print, 'torn down')\n"
        "sys.argv = ['jensen', 'fit', 'gaussian', 'iris', '--out', 'run']; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, SAID)
    assert "stopped by" in done.stdout and "torn down" not in done.stdout
