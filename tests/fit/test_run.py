"""Run directories: what they hold, and that a fit cut off anywhere ends where it would have ended."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import fit_toys as toys
import jax
import numpy as np
import optax
import pytest

from jensen import fit
from jensen.errors import CorruptRunError, InputError, JensenWarning, MissingExtraError
from jensen.fit.tracker import JSONLines

KEY = jax.random.key(0)


def outcome(folder: Path):
    """The hashes of all weights, and the metrics to the byte."""
    document = json.loads((folder / "model.json").read_text())
    return document["tensors"], (folder / "metrics.jsonl").read_bytes()


class Breaker:
    """A tracker that raises at a step, as a failing disk or an impatient user would."""

    def __init__(self, step: int, error: type[BaseException]):
        self.step, self.error = step, error

    def log(self, step, values):
        if step >= self.step:
            raise self.error

    def close(self):
        pass


def train(folder, *, x=None, rate=1e-2, epochs=12, resume=False, trackers=(), stop=fit.Patience(50)):
    return fit.gradient(
        toys.vae(),
        toys.rows(40) if x is None else x,
        key=KEY,
        optimizer=optax.adam(rate),
        epochs=epochs,
        batch_size=16,
        validation=toys.rows(10, seed=1),
        stop=stop,
        run=fit.Run(folder, checkpoint_every=2, resume=resume, trackers=trackers),
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    return folder, train(folder)


def test_a_run_directory_loads_to_the_same_fit(whole):
    folder, fitted = whole
    loaded = fit.load(folder)
    assert loaded.stop_reason == fitted.stop_reason == "epochs"
    assert loaded.meta == fitted.meta
    assert toys.same(loaded.inference.model.net, fitted.inference.model.net)
    for name in ("step", "bound", "validation_step", "validation"):
        assert np.array_equal(getattr(loaded.history, name), getattr(fitted.history, name))
    assert (loaded.history.events, loaded.history.chunk) == (fitted.history.events, fitted.history.chunk)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["validation"] for line in lines] == fitted.history.validation.tolist()
    assert [line["step"] for line in lines] == list(range(2, 25, 2))


@pytest.mark.parametrize(("step", "error"), [(1, RuntimeError), (9, RuntimeError), (14, KeyboardInterrupt)])
def test_an_interrupted_run_resumes_to_the_same_bits(whole, tmp_path, step, error):
    if error is KeyboardInterrupt:
        assert train(tmp_path, trackers=(Breaker(step, error),)).stop_reason == "interrupted"
    else:
        with pytest.raises(error):
            train(tmp_path, trackers=(Breaker(step, error),))
    resumed = train(tmp_path, resume=True)
    assert outcome(tmp_path) == outcome(whole[0])
    assert np.array_equal(resumed.history.bound, whole[1].history.bound)
    assert np.array_equal(resumed.history.validation, whole[1].history.validation)


def test_a_finished_run_resumes_to_itself_or_goes_on(whole, tmp_path):
    train(tmp_path, epochs=8)
    assert len(train(tmp_path, epochs=8, resume=True).history.bound) == 16
    longer = train(tmp_path, epochs=12, resume=True)
    assert np.array_equal(longer.history.bound, whole[1].history.bound)
    with pytest.raises(InputError, match="at step 24, past the 4 asked for"):
        train(tmp_path, epochs=2, resume=True)
    with pytest.warns(JensenWarning, match="held checkpoints up to step 24, which are removed, for the run"):
        again = train(tmp_path, epochs=2)
    assert np.array_equal(again.history.bound[:4], whole[1].history.bound[:4])


def test_a_run_that_lost_patience_stays_stopped(tmp_path):
    first = train(tmp_path, rate=0.5, epochs=40, stop=fit.Patience(2))
    assert first.stop_reason == "patience"
    again = train(tmp_path, rate=0.5, epochs=40, stop=fit.Patience(2), resume=True)
    assert again.stop_reason == "patience"
    assert np.array_equal(first.history.bound, again.history.bound)
    assert toys.same(first.inference.model.net, again.inference.model.net)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"x": toys.rows(40, seed=5)}, "data set"),
        ({"rate": 2e-2}, "optimizer"),
        ({"stop": fit.Patience(51)}, "stopping rule"),
    ],
)
def test_another_fit_may_not_resume(whole, options, word):
    with pytest.raises(InputError, match=f"made with another {word}: resume with the same one"):
        train(whole[0], resume=True, **options)


def test_history_and_model_of_two_saves_are_refused(whole, tmp_path):
    fit.save(whole[1], tmp_path)
    other = fit.gradient(toys.gaussian(), toys.rows(), key=KEY, optimizer=optax.sgd(0.1), steps=2)
    fit.save(other, tmp_path / "other")
    for name in ("history.json", "history.safetensors"):
        (tmp_path / "other" / name).replace(tmp_path / name)
    with pytest.raises(CorruptRunError, match="two different saves"):
        fit.load(tmp_path)


def test_metrics_lose_a_torn_line_and_what_comes_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "bound": -2.0}\n{"step": 2, "bound": -1.5}\n{"step": 3, "bo')
    tracker = JSONLines(path, step=2)
    tracker.log(3, {"bound": -1.0})
    tracker.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]
    JSONLines(path).close()
    assert path.read_bytes() == b""


def test_tensorboard_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"jensen\[tensorboard\]"):
        fit.TensorBoard(tmp_path)


def test_a_run_needs_positive_intervals(tmp_path):
    with pytest.raises(InputError, match="checkpoint_every is 0"):
        fit.Run(tmp_path, checkpoint_every=0)


@pytest.mark.slow
def test_killed_twice_and_resumed(tmp_path):
    script = Path(__file__).parents[2] / "bench" / "kill_test.py"
    command = [sys.executable, str(script), "--fit"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, env=_env())
    chance, target, kills = random.Random(0), tmp_path / "killed", 0
    while kills < 2:
        process = subprocess.Popen([*command, str(target)], env=_env())
        _wait_for_checkpoint(process, target)
        time.sleep(chance.uniform(0.0, 0.4))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, str(target)], check=True, env=_env())
    assert kills == 2
    assert outcome(target) == outcome(tmp_path / "whole")


def _wait_for_checkpoint(process, folder):
    """Wait until the process has made a checkpoint that was not there before."""
    before = set(folder.glob("checkpoints/step-*"))
    while process.poll() is None and set(folder.glob("checkpoints/step-*")) <= before:
        time.sleep(0.01)


def _env():
    return {**os.environ, "JAX_PLATFORMS": "cpu"}
