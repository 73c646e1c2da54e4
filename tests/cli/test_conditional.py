"""Targets through the command: fits, reports, gaps on other data, samples at conditions, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from jensen import fit, use
from jensen.cli import conditions, evaluation, main
from jensen.cli.preset import Facts
from jensen.cli.presets import check_used, settle
from jensen.datasets import load
from jensen.errors import InputError


def rows(count: int, seed: int, order: str = "b,a,y,w", shift: float = 0.0) -> str:
    """y goes 2a or 2a + 3 by chance; w follows b."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, count))
    made = {"a": a, "b": b, "y": 2 * a + 3 * rng.integers(0, 2, count) + 0.3 * rng.normal(size=count) + shift}
    made["w"] = b + 0.5 * rng.normal(size=count)
    lines = [",".join(f"{made[name][i]:.4f}" for name in order.split(",")) for i in range(count)]
    return order + "\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conditional") / "fork.csv"
    path.write_text(rows(90, 0))
    return path


@pytest.fixture(scope="module")
def mdn(table: Path) -> Path:
    """A tiny mixture, fitted by the command."""
    run = table.parent / "mdn"
    small = ["--drop", "w", "--components", "2", "--widths", "6", "--steps", "20", "--gap-rows", "4"]
    assert main(["fit", "mdn", str(table), "--target", "y", "--out", str(run), *small]) == 0
    return run


def test_the_header_says_what_is_predicted_from_what(
    table: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["fit", "regression", str(table), "--target", "y,w", "--gap-rows", "0", "--out", "run"]
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "fork: 90 rows, b, a → y, w; 81 to train on, 9 held out"
    assert out[1] == "regression: gradient em, steps 10"
    fitted = fit.load("run").model
    np.testing.assert_allclose(fitted.weights, [[0, 2], [1, 0]], atol=0.5)
    assert "y, w given b, a" in Path("run/report.html").read_text("utf-8")


def test_a_mixture_from_end_to_end(table: Path, mdn: Path, capsys: pytest.CaptureFixture[str]):
    assert yaml.safe_load((mdn / "config.yaml").read_text())["target"] == ["y"]
    gap = json.loads((mdn / "gap.json").read_text())
    data = load(table, target="y", drop="w")
    assert data.cond is not None
    found = use.score(fit.load(mdn), fit.Data(data.x, cond=data.cond))
    assert gap["log_evidence"]["lower_kind"] == "exact" and -6 < found.mean() < 0
    page = (mdn / "report.html").read_text("utf-8")
    assert "90 rows (9 held out) of y given b, a" in page
    for title in ("Prediction", "Do intervals hold?", "Components"):
        assert f"<h2>{title}</h2>" in page
    before = len(page)
    assert main(["report", str(mdn)]) == 0 and len((mdn / "report.html").read_text("utf-8")) == before
    capsys.readouterr()
    assert main(["fit", "--resume", str(mdn)]) == 0
    assert "is finished" in capsys.readouterr().out


def test_samples_stand_beside_their_conditions(mdn: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["sample", str(mdn), "--num", "3"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "b,a,y" and len(said.out.splitlines()) == 4
    assert "at the inputs of 3 of 9 held-out rows" in said.err
    target = mdn / "s.npz"
    words = ["sample", str(mdn), "--num", "40", "--at", "a=1.5,b=0", "--out", str(target)]
    assert main(words) == 0
    assert "40 rows, at a=1.5,b=0" in capsys.readouterr().out
    drawn = load(target).x
    assert drawn.shape == (40, 3) and (drawn[:, :2] == [0, 1.5]).all() and np.ptp(drawn[:, 2]) > 0.5
    for at, why in (
        ("a=1", "b is missing; give all of b, a"),
        ("a=1,bb=2", "'bb' is not a known input (did you mean 'b'?)"),
        ("a=1,b=x", "'x' for b is not a number"),
    ):
        assert main(["sample", str(mdn), "--at", at]) == 2
        assert f"jensen: --at {at}: {why}\n" == capsys.readouterr().err
    assert main(["sample", str(mdn), "--steps", "3"]) == 2
    assert "--steps belongs to runs of sequences" in capsys.readouterr().err
    assert conditions.read("1, 2", ("b", "a")).tolist() == [1, 2]


def test_the_gap_on_other_data_finds_columns_by_name(
    mdn: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    Path("other.csv").write_text(rows(12, 1, "w,y,a,b"))
    assert main(["gap", str(mdn), "other.csv", "--rows", "12", "--json", "g.json"]) == 0
    here_said = json.loads(Path("g.json").read_text())["log_evidence"]["value"]
    data = load("other.csv", target="y", drop="w")
    assert data.cond is not None and data.inputs == ("a", "b")
    score = use.score(fit.load(mdn), fit.Data(data.x, cond=data.cond[:, ::-1]))
    assert here_said == pytest.approx(score.mean(), abs=1e-4)
    Path("short.csv").write_text(rows(12, 1, "y,a,w"))
    capsys.readouterr()
    assert main(["gap", str(mdn), "short.csv"]) == 2
    assert "short: no column 'b', which the run predicts from" in capsys.readouterr().err
    Path("blind.csv").write_text(rows(12, 1, "a,b,w"))
    assert main(["gap", str(mdn), "blind.csv"]) == 2
    assert "no column 'y' to predict" in capsys.readouterr().err
    Path("words.csv").write_text(rows(12, 1, "y,a,b").replace("\n", ",red\n").replace("b,red", "b,colour", 1))
    assert main(["gap", str(mdn), "words.csv"]) == 2
    assert "set by `jensen fit`: here, change the file" in capsys.readouterr().err


def test_a_conditional_vae(table: Path, here: Path, capsys: pytest.CaptureFixture[str]):
    words = ["fit", "cvae", str(table), "--target", "y,w", "--latent", "1", "--widths", "4", "--steps", "8"]
    assert main([*words, "--gap-rows", "0", "--prior", "fixed", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "likelihood gaussian: values are real numbers" in out and "prior fixed" in out
    assert type(fit.load("run").model.prior).__name__ == "StandardNormal"
    page = Path("run/report.html").read_text("utf-8")
    assert "w of 9 held-out rows" in page


def test_choices_by_the_data():
    def settled(preset: str, kind: str = "real", **given: object) -> dict[str, object]:
        return settle(check_used(preset, dict(given)), dict(given), Facts(kind, 120, 1, actions=3))

    mdn = settled("mdn", target=["y"])
    assert mdn["widths"] == [64, 64] and mdn["batch_size"] == 64 and mdn["epochs"] == 2000
    assert mdn["target"] == ["y"] and mdn["covariance"] == "diag"
    assert settled("cvae", kind="binary")["likelihood"] == "bernoulli"
    assert settled("cvae", objective="iwae")["gradient"] == "doubly-reparam"
    assert "restarts" not in settled("regression") and settled("regression")["gradient"] == "em"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["mdn", "T"],
            r"mdn predicts some columns from the others; say which: --target COLUMN \(columns: b, a",
        ),
        (["mdn", "T", "--target", "yy"], r"no column 'yy' to predict \(did you mean 'y'\?\)"),
        (["mdn", "T", "--target", "7"], "no column 7 to predict; there are 4 columns"),
        (["mdn", "T", "--target", "y,w,a,b"], "every column is a target"),
        (
            ["mdn", "T", "--target", "y", "--drop", "y"],
            "--target y is left out as well",
        ),
        (["mdn", "T", "--target", "y", "--covariance", "tied"], "--covariance tied does not fit preset mdn"),
        (["mdn", "T", "--target", "y", "--latent", "2"], "--latent is not an option of preset mdn"),
        (["gmm", "T", "--target", "y"], "--target is not an option of preset gmm"),
        (["cvae", "T", "--target", "y", "--likelihood", "bernoulli"], "likelihood 'bernoulli' needs 0 or 1"),
        (["cvae", "T", "--target", "y", "--prior", "learnt"], r"no such choice \(did you mean 'learned'\?\)"),
        (["mdn", "C", "--target", "y"], "target 'y' is 1 in every row, there is nothing to predict"),
        (
            ["mdn", "M", "--target", "y"],
            "input 'a' has 1 missing value, and only targets can be masked.*--drop a",
        ),
        (["mdn", "N", "--target", "y"], "column 'name' holds text.*--drop name"),
    ],
)
def test_what_cannot_be_fitted(
    words: list[str], said: str, table: Path, here: Path, capsys: pytest.CaptureFixture[str]
):
    Path("c.csv").write_text("a,y\n1,1\n2,1\n3,1\n")
    Path("m.csv").write_text("a,y\n1,1\n,2\n3,4\n")
    Path("n.csv").write_text("name,a,y\nu,1,1\nv,2,2\nw,3,4\n")
    files = {"T": str(table), "C": "c.csv", "M": "m.csv", "N": "n.csv"}
    more = ["--missing", "mask"] if "M" in words else []
    assert main(["fit", *(files.get(word, word) for word in words), *more]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and error.startswith("jensen: ")
    import re

    assert re.search(said, error), error
    assert not Path("runs").exists()


def test_masked_targets_are_learned_from(here: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "finish", lambda *_: None)
    lines = rows(40, 3).splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:3], ""])
    Path("t.csv").write_text("\n".join(lines) + "\n")
    words = ["fit", "regression", "t.csv", "--target", "y,w", "--missing", "mask", "--out", "run"]
    assert main(words) == 0
    assert np.isfinite(fit.load("run").model.weights).all()


def test_named_conditions_are_read_in_any_order():
    assert conditions.read("a=2,b=1", ("b", "a")).tolist() == [1, 2]
    with pytest.raises(InputError, match="every value must be finite"):
        conditions.read("a=inf,b=1", ("b", "a"))
