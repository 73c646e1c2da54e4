"""Sequences through the command: exact and deep state-space models, from files of every layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from jensen import diagnose, fit, use
from jensen.cli import evaluation, main
from jensen.cli.presets import Facts, check_used, settle
from jensen.datasets import load_sequences, split


def settled(preset: str, facts: Facts, **given: Any) -> dict[str, Any]:
    return settle(check_used(preset, given), given, facts)


def test_the_data_decides_emission_windows_and_gradient():
    def of(kind: str, **more: Any) -> Facts:
        return Facts(kind, 40, 3, 100, 3000, **more)

    laws = {kind: settled("hmm", of(kind))["likelihood"] for kind in ("binary", "bytes", "count", "real")}
    assert laws == {"binary": "categorical", "bytes": "poisson", "count": "gaussian", "real": "gaussian"}
    assert (
        "covariance" not in settled("hmm", of("bytes")) and settled("hmm", of("real"))["covariance"] == "full"
    )
    assert settled("hmm", of("bytes", actions=1, spare=True))["gradient"] == "analytic"
    assert settled("dmm", of("binary"))["likelihood"] == "bernoulli"
    assert settled("rssm", of("real"))["gradient"] == "reparam"
    assert settled("rssm", of("real"), components=4)["gradient"] == "straight-through"
    assert settled("dmm", of("real"), objective="iwae")["gradient"] == "doubly-reparam"
    assert settled("dmm", of("real"), objective="fivo")["num_samples"] == 8
    dmm = settled("dmm", of("real"))
    assert (dmm["batch_size"], dmm["epochs"], "window" in dmm) == (16, 1000, False)
    long = settled("dmm", Facts("real", 1, 3, 5000, 5000))
    assert (long["window"], long["batch_size"], long["epochs"]) == (
        50,
        16,
        333,
    )  # 100 windows, 6 steps an epoch


def test_nile_from_end_to_end(here: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "lgssm", "nile", "--latent", "1", "--steps", "15", "--out", "run"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [
        "nile: one sequence of 100 steps x 1 column; nothing is held out",
        "lgssm: latent 1, gradient em, steps 15",
    ]
    assert any("measuring the gap on the one sequence" in line for line in out) and "report:" in out[-1]
    gap = json.loads(Path("run/gap.json").read_text())
    score = use.score(fit.load("run"), load_sequences("nile"))[0]
    assert (
        gap["per_step"]["log_evidence"] == pytest.approx(score / 100, rel=1e-5) and gap["mean_steps"] == 100
    )
    assert -7 < score / 100 < -6
    assert yaml.safe_load(Path("run/config.yaml").read_text())["validation"] == 0
    assert main(["sample", "run", "--num", "2", "--steps", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sequence,flow" and [line[0] for line in lines[1:]] == list("000111")
    assert main(["sample", "run", "--num", "2", "--out", "s.npz"]) == 0
    assert load_sequences("s.npz").x.shape == (2, 100, 1)
    before = Path("run/report.html").read_bytes()
    assert main(["report", "run"]) == 0 and len(Path("run/report.html").read_bytes()) == len(before)
    Path("two.csv").write_text("a,b\n" + "".join(f"{i % 3},{i % 5}.5\n" for i in range(9)))
    capsys.readouterr()
    assert main(["gap", "run", "two.csv"]) == 2
    said = capsys.readouterr().err
    assert said == "jensen: X has 2 features, but LinearGaussianSSM is expecting 1 features as input.\n"


def test_the_rows_of_a_gap_are_counted_in_words():
    one = load_sequences("nile")
    splits = ("held out", "train", "new.csv")
    said = [evaluation.counted(5, one, split) for split in splits]
    assert said == ["the one held-out sequence", "the one sequence", "the one sequence of new.csv"]


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fit: no gap, no report."""
    monkeypatch.setattr(evaluation, "finish", lambda *_: None)


def test_counts_with_a_sequence_column(here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    rows = [(f"s{i}", t, rng.poisson(2 + 9 * (t // 4 % 2))) for i in range(12) for t in range(8)]
    Path("c.csv").write_text("who,hour,calls\n" + "\n".join(",".join(map(str, row)) for row in rows))
    words = ["fit", "hmm", "c.csv", "--components", "2", "--steps", "3", "--restarts", "2", "--out", "run"]
    assert main([*words, "--sequence", "who", "--drop", "hour"]) == 0
    said = capsys.readouterr()
    assert "c: 12 sequences of up to 8 steps x 1 column; 11 to train on, 1 held out" in said.out
    assert "likelihood poisson: values are integers in 0..255; for codes of categories add" in said.out
    assert not said.err
    fitted = fit.load("run")
    model = fitted.inference.model
    assert model.emission.kind == "poisson" and model.num_states == 2
    # whole sequences are held out, those of the same split
    _, held = split(12, 0.1, seed=0)
    data = load_sequences("c.csv", sequence="who", drop=["hour"])
    assert evaluation.own_rows(_rows("hmm", "run"), fitted)[1].ids == data.ids[held]
    assert main([*words[:3], "--sequence", "who", "--out", "clock", *words[3:9]]) == 0
    assert (
        "column 'hour' rises by 1 at every step, as a time does; leave it out (--drop hour)"
        in capsys.readouterr().err
    )


def _rows(preset: str, run: str) -> Any:
    from jensen.cli.data import divided
    from jensen.cli.runs import Job

    return divided(Job.of(Path(run)))


TINY = ["--epochs", "1", "--widths", "4", "--latent", "2", "--batch-size", "4"]


def test_a_world_model_of_an_archive(here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 7, 8)
    np.savez(
        "w.npz",
        x=rng.normal(size=(lengths.sum(), 2)),
        lengths=lengths,
        actions=np.ones((lengths.sum() - 8, 1)),
    )
    assert main(["fit", "rssm", "w.npz", *TINY, "--components", "3", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "x 2 columns, 1 action; 7 to train on, 1 held out" in out and "gradient straight-through" in out
    assert np.isfinite(fit.load("run").history.bound).all()
    assert main(["sample", "run", "--num", "2", "--out", "s.npy"]) == 0
    assert np.load("s.npy").shape == (2, lengths.max(), 2)
    whose = f"following the actions of sequence {lengths.argmax()}, the longest"
    assert capsys.readouterr().out.endswith(f"written: s.npy (2 sequences, {whose})\n")
    assert main(["sample", "run", "--num", "1"]) == 0 and capsys.readouterr().err == whose + "\n"
    assert main(["sample", "run", "--steps", "50"]) == 2
    assert f"--steps is 50, but there are actions for {lengths.max()} steps only" in capsys.readouterr().err


@pytest.mark.slow
def test_what_filtering_costs(
    here: Path, unmeasured: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    effort = diagnose.Effort(particles=8, samples=20, steps=10, draws=2)
    measure = evaluation.measure
    monkeypatch.setattr(evaluation, "measure", lambda *a, **more: measure(*a, **more | {"effort": effort}))
    rng = np.random.default_rng(0)
    np.save("s.npy", np.cumsum(rng.normal(size=(20, 6, 1)), 1))
    words = ["fit", "dmm", "s.npy", *TINY[2:], "--epochs", "150", "--learning-rate", "0.01"]
    assert main([*words, "--posterior", "filtering", "--out", "run"]) == 0
    before = Path("run/model.safetensors").read_bytes()
    assert main(["gap", "run", "--smoothing", "--json", "run/gap.json"]) == 0
    out = capsys.readouterr().out
    assert "fitting a posterior that looks ahead" in out and "of it, seeing the past only" in out
    assert "pass smoothing=" not in out  # nothing is left to be done
    assert Path("run/model.safetensors").read_bytes() == before
    causality = json.loads(Path("run/gap.json").read_text())["causality"]["value"]
    assert -0.5 < causality < 3.0  # a q that had not been fitted would lie far below
    assert main([*words[:-4], "--epochs", "1", "--out", "ahead"]) == 0
    assert main(["gap", "ahead", "--smoothing"]) == 2
    said = capsys.readouterr().err
    assert "but the posterior of ahead is smoothing; leave it out" in said


def test_a_deep_markov_model_learns_from_windows(here: Path, monkeypatch: pytest.MonkeyPatch):
    class Asked(Exception):
        pass

    def asked(*_: Any, **options: Any) -> None:
        raise Asked(options)

    monkeypatch.setattr(fit, "gradient", asked)
    for more, burn_in in ([], 2), (["--objective", "fivo"], 0):
        with pytest.raises(Asked) as caught:
            main(["fit", "dmm", "nile", *TINY, "--window", "20", *more, "--out", f"run{burn_in}"])
        options = caught.value.args[0]
        assert options["batches"] == fit.Windows(20, burn_in=burn_in) and options["batch_size"] == 4
        assert options["stop"] is None and options["validation"] is None
    carried = ["--posterior", "filtering", "--windows", "carried", "--out", "carried"]
    with pytest.raises(Asked) as caught:
        main(["fit", "dmm", "nile", *TINY, "--window", "20", *carried])
    assert caught.value.args[0]["batches"] == fit.CarriedWindows(20)
