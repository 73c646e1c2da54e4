"""The command from end to end, in process; and what needs a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from jensen import diagnose, fit, use
from jensen.cli import evaluation, main
from jensen.datasets import load, split

RUN_FILES = {
    "checkpoints",
    "config.yaml",
    "gap.json",
    "history.json",
    "history.safetensors",
    "metrics.jsonl",
    "model.json",
    "model.safetensors",
    "report.html",
}
GAP_KEYS = {
    "log_evidence",
    "elbo",
    "approximation",
    "amortization",
    "total",
    "simulated",
    "units",
    "num_data",
    "split",
}
HEAVY = ("jax", "equinox", "numpyro", "optax", "sklearn", "scipy", "pyarrow", "matplotlib", "PIL")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["fit", "--help"],
        ["control", "plan", "--help"],
        ["gap", "--help"],
        ["--version"],
        [],
        ["fit", "vea", "x"],
    ],
)
def test_help_imports_nothing_heavy(words: list[str]):
    code = (
        "import sys; from jensen.cli import main; status = main(sys.argv[1:]); "
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == (2 if "vea" in words else 0)
    assert "jensen" in done.stdout + done.stderr


def test_python_m_jensen():
    done = subprocess.run([sys.executable, "-m", "jensen", "fit", "vea", "x"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "jensen: unknown preset 'vea' (did you mean 'vae'?)\n",
    )


def test_mixture_from_end_to_end(here: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "gmm", "iris", "--restarts", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "iris: 150 rows x 4 columns, 135 to train on, 15 held out"
    assert "gmm: components 3, covariance full, restarts 3, gradient em, steps 500" in out[1]
    assert any(line.startswith("stopped by converged") for line in out)
    assert any("nats per datum; 15 rows, held out" in line for line in out)
    run = Path("runs/gmm-iris")
    assert out[-1] == "report: runs/gmm-iris/report.html"
    assert re.fullmatch(r"gap took \d.*; report took \d.*", out[-2])
    assert {path.name for path in run.iterdir()} == RUN_FILES - {"checkpoints"}

    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config == {
        "preset": "gmm", "data": "iris", "missing": "error", "validation": 0.1, "seed": 0, "components": 3,
        "covariance": "full", "restarts": 3, "gradient": "em", "steps": 500,
    }  # fmt: skip
    gap = json.loads((run / "gap.json").read_text())
    assert set(gap) == GAP_KEYS and gap["split"] == "held out" and gap["units"] == "nats per datum"
    assert set(gap["log_evidence"]) == {"value", "se", "lower", "upper", "lower_kind", "upper_kind"}
    _, held = split(150, 0.1, seed=0)
    scores = use.score(fit.load(run), load("iris").x[held])
    assert gap["elbo"]["value"] == pytest.approx(scores.mean(), abs=1e-4)
    bounds = [json.loads(line)["bound"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert bounds == pytest.approx(fit.load(run).history.bound.tolist())

    # the run's own config makes the same fit again
    assert main(["fit", "--config", str(run / "config.yaml"), "--out", "again"]) == 0
    assert (here / "again" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    # what is typed wins over the file, wherever it stands
    assert main(["fit", "--steps", "2", "--config", str(run / "config.yaml"), "--out", "two"]) == 0
    assert len(fit.load("two").history.bound) == 3
    assert main(["fit", "gmm", "iris", "--restarts", "3", "--steps", "1", "--out", "two", "--overwrite"]) == 0
    assert len(fit.load("two").history.bound) == 2


def test_other_commands(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "mine.csv").write_text("\n".join(",".join(map(str, row)) for row in load("iris").x))
    assert main(["fit", "gaussian", "mine.csv", "--out", "run"]) == 0
    (here / "gone").mkdir()
    os.chdir("gone")  # the run remembers where its data is
    assert main(["gap", "../run", "--json", "g.json"]) == 0
    assert set(json.loads(Path("g.json").read_text())) == GAP_KEYS
    assert json.loads(Path("g.json").read_text())["num_data"] == 15
    assert "measuring the gap on 15 of 15 held-out rows, with full effort" in capsys.readouterr().out
    assert main(["gap", "../run", "iris"]) == 0
    assert "rows, iris" in capsys.readouterr().out
    assert main(["sample", "../run", "--num", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "x0,x1,x2,x3" and len(lines) == 6
    for name in ("s.csv", "s.npy", "s.npz"):
        assert main(["sample", "../run", "--num", "5", "--out", name]) == 0
        np.testing.assert_allclose(load(name).x, np.loadtxt(lines[1:], delimiter=","), rtol=1e-5)
    Path("../run/report.html").unlink()
    assert main(["report", "../run"]) == 0 and Path("../run/report.html").stat().st_size > 1000
    assert main(["info"]) == 0
    assert (
        "presets    gaussian, gmm, tmm, fa, ppca, vae, iwae, hvae, dvae, vqvae, " in capsys.readouterr().out
    )
    assert main(["fit", "--resume", "../run"]) == 0
    assert capsys.readouterr().out == "../run is finished; its report: ../run/report.html\n"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap too rough to report, but of the same parts."""
    effort = diagnose.Effort(temperatures=4, chains=2, leapfrog=1, pilot=3, samples=4, steps=8, draws=2)
    monkeypatch.setattr(evaluation, "QUICK", effort)
    monkeypatch.setattr(evaluation, "ROWS", 6)


SMALL = ["--epochs", "2", "--widths", "8", "--latent", "2"]


@pytest.mark.slow
def test_vae_of_the_digits(here: Path, hasty: None, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "vae", "digits", *SMALL]) == 0
    out = capsys.readouterr().out
    assert (
        "likelihood gaussian: values are between 0 and 1; for bernoulli add --binarize threshold, or sample"
        in out
    )
    assert "stopped by epochs: all epochs were done; 50 steps" in out and "amortization gap" in out
    assert {path.name for path in Path("runs/vae-digits").iterdir()} == RUN_FILES
    assert main(["sample", "runs/vae-digits", "--num", "3", "--out", "s.png"]) == 0
    from PIL import Image

    assert Image.open("s.png").size == (2 * 9 * 4, 2 * 9 * 4)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fit: no gap, no report."""
    monkeypatch.setattr(evaluation, "finish", lambda *_: None)


BINARY = ["digits", "--binarize", "threshold"]
DECODERS = {
    "sticking to a full gaussian": [
        "vae",
        *BINARY,
        "--posterior",
        "amortized-full",
        "--gradient",
        "stick-the-landing",
    ],
    "a semi-amortized q": ["vae", "iris", "--posterior", "semi-amortized"],
    "bits drawn anew": ["vae", "digits", "--binarize", "dynamic"],
    "two layers": ["hvae", *BINARY, "--prior", "ladder", "--free-bits", "1,0", "--num-samples", "2"],
    "discrete": ["dvae", *BINARY, "--components", "3"],
    "codes by convolutions": ["vqvae", *BINARY, "--net", "conv", "--widths", "2,3"],
    "importance-weighted": ["iwae", "iris", "--num-samples", "3"],
    "per datum": ["vae", "iris", "--posterior", "per-datum", "--standardize"],
    "a mixture by gradient": ["gmm", "iris", "--gradient", "analytic"],
    "a mixture of t laws": ["tmm", "iris"],
}


@pytest.mark.parametrize("case", DECODERS)
def test_other_fits(case: str, here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]):
    words = DECODERS[case]
    small = {
        "gmm": SMALL[:2],
        "tmm": ["--steps", "2", "--restarts", "1"],
        "hvae": [*SMALL[:4], "--latent", "1,2"],
    }.get(words[0], SMALL)
    assert main(["fit", *words, *small, "--out", "run"]) == 0
    assert f"stopped by {'steps' if '--steps' in small else 'epochs'}" in capsys.readouterr().out
    assert np.isfinite(fit.load("run").history.bound).all()


def test_standardized_columns_have_densities_in_their_own_units(here: Path, unmeasured: None):
    from sklearn.decomposition import PCA

    assert main(["fit", "ppca", "wine", "--standardize", "--out", "run"]) == 0
    x = load("wine").x
    train, held = split(len(x), 0.1, seed=0)
    mean, scale = x[train].mean(0), x[train].std(0)
    theirs = PCA(2).fit((x[train] - mean) / scale)
    n = len(train)  # scikit-learn divides by n − 1, maximum likelihood by n
    theirs.explained_variance_ *= (n - 1) / n
    theirs.noise_variance_ *= (n - 1) / n
    expected = theirs.score_samples((x[held] - mean) / scale) - np.log(scale).sum()
    np.testing.assert_allclose(use.score(fit.load("run"), x[held]), expected, atol=2e-3)


def test_missing_cells(here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]):
    x = load("iris").x.astype(str)
    x[3, 1] = x[5, 0] = ""
    Path("holes.csv").write_text("\n".join(map(",".join, x)))
    assert main(["fit", "gaussian", "holes.csv"]) == 2
    assert "(--missing mask)" in capsys.readouterr().err
    assert main(["fit", "gaussian", "holes.csv", "--missing", "mask"]) == 0


def test_interrupted(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jensen.cli.evaluation.measure", stop)
        assert main(["fit", "gaussian", "iris", "--out", "run"]) == 130
    assert capsys.readouterr().err == "jensen: interrupted; continue with `jensen fit --resume run`\n"
    assert main(["fit", "gaussian", "iris", "--out", "run"]) == 2
    assert (
        "run holds an unfinished run (gaussian of iris); continue it with `jensen fit --resume run`"
        in capsys.readouterr().err
    )
    assert main(["fit", "--resume", "run"]) == 0
    assert Path("run/report.html").exists()
    with monkeypatch.context() as patch:  # while the first step compiles
        patch.setattr("jensen.cli.training.train", stop)
        capsys.readouterr()
        assert main(["fit", "gaussian", "iris", "--out", "early"]) == 130
    assert capsys.readouterr().err == "jensen: interrupted; nothing was kept yet; start again\n"
    assert not Path("early").exists()


def test_a_resumed_run_says_what_it_does_in_the_same_words(
    here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]
):
    words = ["fit", "vae", "iris", "--epochs", "1", "--widths", "4", "--latent", "1", "--out", "run"]
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()[:3]
    assert first[1].startswith("likelihood gaussian: values are real numbers")
    assert main(["fit", "--resume", "run"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == first


def test_the_gap_of_a_fit_and_the_gap_of_its_run_look_at_the_same_rows(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["fit", "gaussian", "wine", "--gap-rows", "5", "--out", "run"]) == 0
    out = capsys.readouterr().out
    assert "measuring the gap on 5 of 18 held-out rows, quickly; `jensen gap run` works harder" in out
    assert main(["gap", "run", "--json", "g.json"]) == 0
    assert "measuring the gap on 5 of 18 held-out rows, with full effort" in capsys.readouterr().out
    ours, theirs = (json.loads(Path(name).read_text()) for name in ("run/gap.json", "g.json"))
    assert ours["elbo"] == theirs["elbo"] and ours["num_data"] == 5
    assert main(["gap", "run", "--seed", "1", "--json", "g.json"]) == 0  # other rows
    assert json.loads(Path("g.json").read_text())["elbo"] != ours["elbo"]


def test_no_gap(here: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "gaussian", "iris", "--gap-rows", "0", "--out", "run"]) == 0
    assert "gap" not in capsys.readouterr().out and not Path("run/gap.json").exists()
    assert main(["fit", "--resume", "run"]) == 0
    assert "is finished" in capsys.readouterr().out


def test_text_columns_and_data_without_the_labels(here: Path, capsys: pytest.CaptureFixture[str]):
    x = load("iris").x[:40]
    rows = [f"n{i},{','.join(map(str, row))},{'rg'[i % 2]}" for i, row in enumerate(x)]
    Path("mine.csv").write_text("name,a,b,c,d,colour\n" + "\n".join(rows))
    Path("new.csv").write_text("a,b,c,d\n" + "\n".join(",".join(map(str, row)) for row in x))
    assert main(["fit", "gaussian", "mine.csv"]) == 2
    assert (
        "leave the column out (--drop name), or name it as labels (--labels name)" in capsys.readouterr().err
    )
    words = ["fit", "gaussian", "mine.csv", "--drop", "name"]
    for labels, run in (("colour", "named"), ("-1", "placed")):
        assert main([*words, "--labels", labels, "--gap-rows", "0", "--out", run]) == 0
        for data in ("new.csv", "mine.csv"):
            assert main(["gap", run, data, "--json", f"{data}.json"]) == 0
        numbers = [json.loads(Path(f"{data}.json").read_text())["elbo"] for data in ("new.csv", "mine.csv")]
        assert numbers[0] == numbers[1]
    assert "colour" not in capsys.readouterr().err


def test_what_em_warns_of_is_said_once(here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]):
    rows = np.random.default_rng(0).normal(size=(30, 2))
    Path("flat.csv").write_text("\n".join(f"{a},{b},{a + b}" for a, b in rows))
    assert main(["fit", "gaussian", "flat.csv"]) == 0
    said = capsys.readouterr()
    assert (said.out + said.err).count("at the floor") == 1


def test_a_folder_name_taken_by_other_data_says_whose_it_is(
    here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]
):
    for folder in ("one", "two"):
        Path(folder).mkdir()
        np.savetxt(f"{folder}/t.csv", np.random.default_rng(0).normal(size=(30, 2)), delimiter=",")
    assert main(["fit", "gaussian", "one/t.csv"]) == 0
    assert main(["fit", "gaussian", "two/t.csv"]) == 2
    whose = f"runs/gaussian-t holds an unfinished run (gaussian of {here.resolve() / 'one/t.csv'}); continue"
    assert whose in capsys.readouterr().err


def test_binarized_pictures_with_unobserved_pixels(
    here: Path, unmeasured: None, capsys: pytest.CaptureFixture[str]
):
    x = np.random.default_rng(0).random((30, 3, 4))
    x[4, 1, 2] = np.nan
    np.save("t.npy", x)
    words = ["fit", "vae", "t.npy", "--missing", "mask", "--binarize", "threshold", *SMALL]
    assert main(words) == 0
    assert "30 rows x 12 columns (3 x 4 x 1 pixels), 27 to train on" in capsys.readouterr().out
    words[words.index("threshold")] = "dynamic"
    assert main([*words, "--out", "other"]) == 2
    assert "--binarize dynamic takes complete rows; use --binarize sample" in capsys.readouterr().err


def test_a_fault_of_our_own_keeps_its_traceback(here: Path, monkeypatch: pytest.MonkeyPatch):
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("jensen.cli.training.train", fault)
    with pytest.raises(ZeroDivisionError):
        main(["fit", "gaussian", "iris"])


def test_the_compilation_cache_is_the_commands_alone(here: Path):
    code = (
        "import jax, jensen.fit; print(jax.config.jax_compilation_cache_dir); "
        "from jensen.cli.shell import start_jax; start_jax(); print(jax.config.jax_compilation_cache_dir)"
    )
    env = os.environ | {"XDG_CACHE_HOME": str(here)}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout
    assert out.split() == ["None", str(here / "jensen" / "xla")]


def test_programs_read_back_from_the_cache_print_nothing(here: Path):
    code = (
        "from jensen.cli.shell import start_jax; start_jax(); import jax, jax.numpy as jnp; "
        "jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0); "
        "print(jax.jit(lambda x: jnp.sort(x @ x)[0, 0])(jnp.ones((3, 3))))"
    )
    # 1 is what processes inherit from one that imported JAX
    env = os.environ | {"XDG_CACHE_HOME": str(here), "TF_CPP_MIN_LOG_LEVEL": "1"}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    for _ in ("written", "read"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
        assert (done.stdout, done.stderr) == ("3.0\n", "")
    assert list((here / "jensen" / "xla").iterdir())


def test_a_killed_fit_is_continued_to_the_same_bits(here: Path):
    words = ["fit", "gaussian", "iris", "--gradient", "analytic", "--epochs", "1500", "--validation", "0"]
    words += ["--batch-size", "16"]
    command = [sys.executable, "-m", "jensen"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command, *words, "--out", "whole"], check=True, **quiet)
    process = subprocess.Popen([*command, *words, "--out", "killed"], **quiet)
    until = time.monotonic() + 120
    while not list(Path("killed/checkpoints").glob("step-*")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("killed/model.json").exists()
    told = subprocess.run([*command, "gap", "killed"], capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr == "jensen: killed is not fitted yet; continue with `jensen fit --resume killed`\n"
    subprocess.run([*command, "fit", "--resume", "killed"], check=True, **quiet)
    for name in ("model.safetensors", "metrics.jsonl", "gap.json"):
        assert Path("killed", name).read_bytes() == Path("whole", name).read_bytes(), name
