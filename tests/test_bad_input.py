"""Bad input: one clear line, and nothing half written. Commands run in process; the library is called."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from jensen import core, datasets, diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.cli import main
from jensen.errors import CombinationError, CorruptRunError, InputError, JensenWarning

KEY = jax.random.key(0)
FILES = {
    "good.csv": "a,b\n" + "".join(f"{i % 7},{(i * i) % 5}.5\n" for i in range(20)),
    "three.csv": "a,b,c\n1,2,3.5\n4,5,6\n",
    "nan.csv": "a,b\n1,2\n3,\n5,6\n",
    "inf.csv": "a,b\n1,2\n3,4\n5,inf\n",
    "text.csv": "a,b\n1,2\n3,oops\n",
    "words.csv": "id,a\nu,p\nu,q\nv,p\nv,q\n",
    "ragged.csv": "a,b\n1,2\n3,4,5\n",
    "empty.csv": "",
    "header.csv": "a,b\n",
    "one.csv": "a,b\n1,2.5\n",
    "two.csv": "a,b\n1,2.5\n2,3\n",
    "bytes.csv": "a,b\n0,255\n17,3\n5,6\n",
    "unit.csv": "a,b\n0.5,0.1\n0.2,0.3\n0.4,0.6\n",
    "key.yaml": "preset: vae\ndata: digits\nepoch: 3\n",
    "broken.yaml": "preset: [vae\n",
    "zero.yaml": "preset: vae\ndata: digits\nepochs: 0\n",
    "list.yaml": "preset: gmm\ndata: iris\nlearning_rate: 0.1\n",
    "full/notes.txt": "mine",
    "mixed.csv": "id,a\nu,1.5\nu,2\nv,3\nu,4\n",
    "holes.csv": "id,a\nu,1.5\nu,\nv,3\nv,4\n",
    "counts.csv": "id,a\nu,1\nu,7\nv,3\nv,4\n",
    "acts.csv": "id,a,u\nu,1.5,0\nu,2,1\nv,3,0\nv,4,1\n",
}
ARRAYS: dict[str, dict[str, Any]] = {
    "sums.npz": {"x": np.arange(12.0).reshape(6, 2) ** 2, "lengths": np.array([3, 4])},
    "beyond.npz": {"x": np.ones((2, 3, 1)), "lengths": np.array([3, 4])},
    "nan.npz": {"x": np.array([[[1.0], [np.nan], [3.0]], [[2.0], [1.0], [5.0]]])},
    "nothing.npz": {"x": np.full((2, 3, 1), np.nan)},
    "acts.npz": {"x": np.arange(6.0).reshape(2, 3, 1) ** 2, "actions": np.ones((2, 1, 1))},
}

FIT = {
    "unknown command": ("fitt gmm iris", "unknown command 'fitt' (did you mean 'fit'?)"),
    "unknown preset": ("fit vea digits", "unknown preset 'vea' (did you mean 'vae'?)"),
    "unknown data set": ("fit vae digts", "no data set or file 'digts' (did you mean 'digits'?)"),
    "no such file": ("fit gmm goood.csv", "goood.csv: no such file (did you mean 'good.csv'?)"),
    "unknown option": ("fit vae digits --epoch 3", "unknown option --epoch (did you mean '--epochs'?)"),
    "option without value": ("fit vae digits --epochs", "--epochs needs a value"),
    "unknown config key": ("fit --config key.yaml", "the config file has an unknown key 'epoch' (did you mean 'epochs'?)"),
    "no config file": ("fit --config nope.yaml", "nope.yaml: no such config file; check the path"),
    "config is not yaml": ("fit --config broken.yaml", "the config file is not readable YAML"),
    "config value": ("fit --config zero.yaml", "--epochs is 0; it must be a whole number, at least 1"),
    "config option unused": ("fit --config list.yaml", "--learning-rate belongs to --gradient analytic, but gmm is fitted by EM"),
    "nothing": ("fit", "nothing to fit; give a preset and data, as in `jensen fit vae digits`"),
    "no data": ("fit gmm", "no data; name a data set or a file, as in `jensen fit gmm digits`"),
    "three words": ("fit gmm iris wine", "'wine' is one word too many; a fit takes PRESET and DATA"),
    "words after options": ("fit gmm --seed 3 iris", "'iris' is one word too many; PRESET and DATA come first"),
    "zero epochs": ("fit vae digits --epochs 0", "--epochs is 0; it must be a whole number, at least 1"),
    "epochs in words": ("fit vae digits --epochs many", "--epochs is many; it must be a whole number"),
    "fraction of an epoch": ("fit vae digits --epochs 1.5", "--epochs is 1.5; it must be a whole number"),
    "negative steps": ("fit gmm iris --steps -1", "--steps is -1; it must be a whole number, at least 1"),
    "epochs and steps": ("fit vae digits --epochs 1 --steps 1", "--epochs and --steps say the same thing twice"),
    "learning rate zero": ("fit vae digits --learning-rate 0", "--learning-rate is 0; it must be a number above 0"),
    "learning rate nan": ("fit vae digits --learning-rate nan", "--learning-rate is nan; it must be a number above 0"),
    "learning rate infinite": ("fit vae digits --learning-rate inf", "--learning-rate is inf; it must be a number above 0"),
    "validation one": ("fit gmm iris --validation 1", "--validation is 1; it must be a share of the rows, at least 0 and below 1"),
    "negative seed": ("fit gmm iris --seed -1", "--seed is -1; it must be a whole number, at least 0"),
    "huge seed": ("fit gmm iris --seed 99999999999", "--seed is 99999999999; it must be below 2^32"),
    "zero width": ("fit vae digits --widths 8,0", "--widths is 8,0; it must be layer widths like 256,256"),
    "zero latents": ("fit vae digits --latent 0", "--latent is 0; it must be a whole number, at least 1"),
    "zero components": ("fit gmm iris --components 0", "--components is 0; it must be a whole number, at least 1"),
    "negative beta": ("fit vae digits --beta -1", "--beta is -1; it must be a number, 0 or more"),
    "unknown likelihood": ("fit vae digits --likelihood bernouli", "--likelihood is bernouli; no such choice (did you mean 'bernoulli'?)"),
    "unknown posterior": ("fit vae digits --posterior amortised", "--posterior is amortised; no such choice (did you mean 'amortized'?)"),
    "unknown gradient": ("fit vae digits --gradient reparm", "--gradient is reparm; no such choice (did you mean 'reparam'?)"),
    "unknown covariance": ("fit gmm iris --covariance diagonal", "--covariance is diagonal; no such choice (did you mean 'diag'?)"),
    "missing maybe": ("fit gmm iris --missing maybe", "--missing is maybe; no such choice; choose one of error, mask"),
    "latents of a mixture": ("fit gmm iris --latent 2", "--latent is not an option of preset gmm, which takes --components, --covariance"),
    "binarize a mixture": ("fit gmm iris --binarize sample", "--binarize is not an option of preset gmm"),
    "covariance of a vae": ("fit vae digits --covariance full", "--covariance is not an option of preset vae"),
    "epochs of em": ("fit gmm iris --epochs 5", "--epochs belongs to --gradient analytic, but gmm is fitted by EM; use --steps"),
    "restarts by gradient": ("fit gmm iris --gradient analytic --restarts 3", "--restarts belongs to --gradient em; leave it out"),
    "reparam of a mixture": ("fit gmm iris --gradient reparam", "--gradient reparam does not fit preset gmm; choose em or analytic"),
    "em of a vae": ("fit vae digits --gradient em", "--gradient em does not fit preset vae; choose reparam or"),
    "tied gaussian": ("fit gaussian iris --covariance tied", "covariance 'tied' is unknown; choose one of diag, full, spherical"),
    "elbo of an iwae": ("fit iwae digits --objective elbo", "--objective elbo does not fit preset iwae; choose iwae"),
    "beta of an iwae": ("fit iwae digits --beta 2", "--beta is not an option of preset iwae"),
    "free bits under iwae": ("fit vae digits --objective iwae --free-bits 1", "--free-bits belongs to --objective elbo; leave it out"),
    "reparam of one-hot": ("fit dvae digits --gradient reparam", "--gradient reparam does not fit preset dvae; choose score-function or enumerate"),
    "full one-hot": ("fit dvae digits --posterior amortized-full", "--posterior amortized-full does not fit preset dvae"),
    "leave one out of one": ("fit dvae digits --num-samples 1", "ScoreFunction(LeaveOneOut()) needs num_samples ≥ 2, the objective has 1"),
    "convolutions of a table": ("fit vae iris --net conv", "--net conv is for pictures (digits, a folder of images, MNIST), and these rows are none; leave it out"),
    "one code": ("fit vqvae digits --components 1", "num_codes is 1; it must be at least 2"),
    "one category": ("fit dvae digits --components 1", "num_classes is 1; it must be at least 2"),
    "enumerate too many": ("fit dvae digits --gradient enumerate --latent 16", "Enumerate"),
    "enumerate a gaussian": ("fit vae digits --gradient enumerate", "Enumerate: DiagGaussian has infinitely many values; use gradients.Reparam()"),
    "sticking under iwae": ("fit iwae digits --gradient stick-the-landing", "StickTheLanding"),
    "batch larger than data": ("fit vae good.csv --batch-size 100", "--batch-size is 100, but there are 18 rows to train on; lower it"),
    "bytes into bernoulli": ("fit vae bytes.csv --likelihood bernoulli", "x holds integers in 0..255 (largest 255), but likelihood 'bernoulli' needs 0 or 1"),
    "grey into bernoulli": ("fit vae unit.csv --likelihood bernoulli", "the choice must be explicit: binarize it (--binarize threshold or --binarize sample"),
    "reals into bernoulli": ("fit vae good.csv --likelihood bernoulli", "but likelihood 'bernoulli' needs 0 or 1; use likelihood 'gaussian'"),
    "binary into gaussian": ("fit vae unit.csv --binarize sample --likelihood gaussian", "--binarize makes 0 and 1, which --likelihood gaussian does not fit"),
    "binarize reals": ("fit vae good.csv --binarize sample", "cannot binarize values from"),
    "nan": ("fit gmm nan.csv", "nan.csv: column 'b' has 1 missing value, the first in row 1 (line 3)"),
    "infinity": ("fit gmm inf.csv", "inf.csv: column 'b' has 1 non-finite value (1 infinite), the first in row 2 (line 4)"),
    "infinity masked": ("fit gmm inf.csv --missing mask", "inf.csv: column 'b' has 1 non-finite value (1 infinite)"),
    "text": ("fit gmm text.csv", "text.csv: column 'b' holds text in 1 of 2 cells, 'oops' in row 1 (line 3); correct it, or empty it and pass --missing mask, leave the column out (--drop b), or name it as labels (--labels b)"),
    "no label": ("fit gmm good.csv --labels=", "--labels is ''; it must be a column's name or position"),
    "widths with holes": ("fit vae digits --widths 32,,", "--widths is 32,,; it must be layer widths like 256,256"),
    "nothing to drop": ("fit gmm good.csv --drop a,,b", "--drop is a,,b; it must be columns' names or positions like name,date"),
    "drop no such column": ("fit gmm good.csv --drop c", "good.csv: no column 'c' to drop; choose one of a, b"),
    "drop what labels": ("fit gmm good.csv --drop a --labels a", "good.csv: --labels a is dropped as well"),
    "drop pixels": ("fit vae digits --drop x0", "digits: its rows are pictures, which have no columns to drop"),
    "negative gap rows": ("fit gmm iris --gap-rows -1", "--gap-rows is -1; it must be a whole number, at least 0"),
    "ragged": ("fit gmm ragged.csv", "ragged.csv: row 1 (line 3) has 3 cells where 2 are expected"),
    "empty file": ("fit gmm empty.csv", "empty.csv: empty file; at least one row of numbers is needed"),
    "header only": ("fit gmm header.csv", "header.csv: only a header (a, b) and no rows"),
    "one row": ("fit gmm one.csv", "one: 1 row, but a fit needs at least 2; give more rows"),
    "two rows": ("fit vae two.csv", "two: 1 of 2 rows is left to train on; lower --validation, or 0"),
    "more components than rows": ("fit gmm two.csv --validation 0", "GaussianMixture"),
    "no such label": ("fit gmm good.csv --labels c", "good.csv: no column 'c' to take labels from"),
    "labels of an embedded set": ("fit gmm iris --labels species", "--labels species names a column, but here labels come from the set itself"),
    "a folder without images": ("fit vae full", "full: a folder without images"),
    "out is a file": ("fit gmm iris --out good.csv", "good.csv is a file, not a folder for a run; choose another --out"),
    "out below a file": ("fit gaussian iris --out good.csv/run", "could not write good.csv/run: a part of the path is a file"),
    "out holds other things": ("fit gmm iris --out full", "full holds files but no run; choose another --out"),
    "overwrite other things": ("fit gmm iris --out full --overwrite", "full holds files but no run; choose another --out"),
    "out holds a run": ("fit gmm iris --out run", "run holds a finished run (gaussian of iris); look at it, choose another --out, or replace it with --overwrite"),
    "resume nothing": ("fit --resume nope", "no run at nope: there is no such folder; check the path"),
    "resume another folder": ("fit --resume full", "no run at full: config.yaml is missing; check the path"),
    "resume with options": ("fit --resume run --epochs 5", "--resume continues a run with its own options; leave out --epochs"),
    "resume with words": ("fit vae digits --resume run", "--resume continues a run with its own options; leave out PRESET and DATA"),
    "sequences of a table": ("fit hmm iris", "iris is a table without an order in time; take nile, pendulum"),
    "a table of sequences": ("fit gmm pendulum", "pendulum holds sequences, not a table; fit hmm, lgssm, dmm or rssm"),
    "sequence of a mixture": ("fit gmm good.csv --sequence a", "--sequence is not an option of preset gmm"),
    "labels of sequences": ("fit hmm good.csv --labels a", "--labels is not an option of preset hmm"),
    "text categories of an hmm": ("fit hmm words.csv --sequence id", "words.csv: column 'a' holds text, 'p' in row 0 (line 2); encode its 2 categories as integers from 0, which an HMM takes (--likelihood categorical), leave the column out (--drop a)"),
    "no such sequence column": ("fit hmm mixed.csv --sequence ids", "mixed.csv: no column 'ids' to tell sequences apart by (did you mean 'id'?)"),
    "sequence column unnamed": ("fit hmm mixed.csv", "or name it as the sequence id (--sequence id)"),
    "interleaved sequences": ("fit hmm mixed.csv --sequence id", "mixed.csv: sequence 'u' goes on in row 3 (line 5) after another one began"),
    "no such action": ("fit rssm acts.csv --sequence id --actions u,v", "acts.csv: no column 'v' to take actions from"),
    "actions with a hole": ("fit rssm acts.csv --actions u,,v", "--actions is u,,v; it must be columns' names like force,heat"),
    "lengths of another sum": ("fit lgssm sums.npz", "sums.npz: 2 lengths sum to 7, but x has 6 steps; they must agree"),
    "length beyond the steps": ("fit lgssm beyond.npz", "beyond.npz: sequence 1 has length 4, but x (2, 3, 1) has 3 steps"),
    "too few actions": ("fit rssm acts.npz", "acts.npz: 'actions' has shape (2, 1, 1); it must be (2, 3 or 2, U)"),
    "missing in sequences": ("fit lgssm holes.csv --sequence id", "holes.csv: column 'a' has 1 missing value, the first in row 1 (line 3)"),
    "nan without a mask": ("fit lgssm nan.npz", "nan.npz: column 'x0' has 1 missing value, the first in sequence 0, step 1; fill them, or treat them as unobserved (--missing mask)"),
    "all missing": ("fit lgssm nothing.npz --missing mask", "nothing.npz: no entry of any sequence is observed; there is nothing to fit"),
    "part of one sequence": ("fit lgssm nile --validation 0.2", "nile is one sequence, and --validation 0.2 holds out whole ones; leave it out"),
    "windows of all": ("fit dmm nile --window 100", "--window is 100, but the longest sequence has 100 steps; take shorter windows"),
    "carried windows looking ahead": ("fit dmm nile --window 20 --windows carried", "--windows carried does not fit --posterior smoothing: it looks ahead, beyond the end of a window; use --posterior filtering"),
    "carried windows weighed": ("fit rssm nile --window 20 --windows carried --objective fivo", "--windows carried does not fit --objective fivo: it weighs paths as a whole; use --objective elbo"),
    "carried windows of no length": ("fit rssm nile --windows carried", "--windows is carried, but sequences are learned from whole; give --window, too"),
    "windows by em": ("fit lgssm nile --window 20", "--window belongs to --gradient analytic, but lgssm is fitted by EM"),
    "batch larger than sequences": ("fit dmm pendulum --batch-size 91", "--batch-size is 91, but there are 90 sequences to train on; lower it"),
    "latents of an hmm": ("fit hmm nile --latent 2", "--latent is not an option of preset hmm"),
    "bernoulli hmm": ("fit hmm nile --likelihood bernoulli", "--likelihood bernoulli does not fit preset hmm; choose gaussian or poisson or categorical"),
    "covariance of counts": ("fit hmm counts.csv --sequence id --covariance diag", "--covariance belongs to --likelihood gaussian, not poisson; leave it out"),
    "poisson of reals": ("fit hmm mixed.csv --drop id --likelihood poisson", "x holds 1.5 at sequence 0, step 0, column 0 (1 such entries): counts are the whole numbers from 0"),
    "filtering of a vae": ("fit vae digits --posterior filtering", "--posterior filtering does not fit preset vae; choose amortized or"),
    "full filtering of an rssm": ("fit rssm nile --posterior filtering-full", "--posterior filtering-full does not fit preset rssm"),
    "free bits under fivo": ("fit dmm nile --objective fivo --free-bits 1", "--free-bits belongs to --objective elbo; leave it out"),
    "balance above one": ("fit rssm nile --kl-balance 2", "--kl-balance is 2; it must be a share between 0 and 1"),
    "reparam of categories": ("fit rssm nile --components 4 --gradient reparam", "use gradients.StraightThrough"),
    "steps of rows": ("sample run --steps 3", "--steps belongs to runs of sequences; this one fitted rows, leave it out"),
    "no run named": ("gap", "which run? Give its folder: jensen gap RUN"),
    "gap of no run": ("gap nope", "no run at nope: there is no such folder; check the path"),
    "wrong feature count": ("gap run three.csv", "X has 3 features, but Gaussian is expecting 4 features as input."),
    "gap of no data": ("gap run nope.csv", "nope.csv: no such file"),
    "gap of no rows": ("gap run --rows 0", "--rows is 0; it must be a whole number, at least 1"),
    "gap into no folder": ("gap run --json no/where.json", "--json no/where.json: the folder 'no' does not exist; make it first"),
    "sample of no run": ("sample nope", "no run at nope"),
    "no samples": ("sample run --num 0", "--num is 0; it must be a whole number, at least 1"),
    "samples into nonsense": ("sample run --out s.cvs", "--out s.cvs: cannot write files that end in '.cvs' (did you mean 'csv'?)"),
    "samples into a folder": ("sample run --out full.csv", "--out full.csv is a folder; name a file in it"),
    "picture of a flower": ("sample run --out s.png", "iris does not hold pictures; write its rows as csv, npy or npz"),
    "report of no run": ("report full", "no run at full: config.yaml is missing; check the path"),
    "report of two": ("report run run", "'run' is one word too many; see `jensen report --help`"),
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run, made by the command."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    os.environ.setdefault("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    assert main(["fit", "gaussian", "iris", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def here(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files above and a finished run; nothing in it may change."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for name, arrays in ARRAYS.items():
        np.savez(tmp_path / name, **arrays)
    (tmp_path / "full.csv").mkdir()
    shutil.copytree(finished, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "cache"))
    yield tmp_path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def refused(argv: list[str], text: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command that must end with status 2, one line on stderr, and the folder as it was."""
    before = contents(folder)
    capsys.readouterr()
    assert main(argv) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1 and errors[0].startswith("jensen: ") and text in errors[0], errors
    assert contents(folder) == before


@pytest.mark.parametrize("case", FIT)
def test_command(case: str, here: Path, capsys: pytest.CaptureFixture[str]):
    argv, text = FIT[case]
    refused(argv.split(), text, here, capsys)


def flip(path: Path, at: float) -> None:
    raw = bytearray(path.read_bytes())
    raw[int(at * len(raw))] ^= 1
    path.write_bytes(raw)


def newer(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | {"format_version": 99}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "flipped byte in the weights": (lambda run: flip(run / "model.safetensors", 0.95), "model.safetensors is damaged"),
    "flipped byte in the structure": (lambda run: flip(run / "model.json", 0.5), "model.json is damaged"),
    "flipped byte in the history": (lambda run: flip(run / "history.safetensors", 0.95), "history.safetensors is damaged"),
    "half the weights": (lambda run: (run / "model.safetensors").write_bytes(b"\x08"), "model.safetensors is damaged"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), "model.safetensors is missing; restore it"),
    "no model": (lambda run: (run / "model.json").unlink(), "run is not fitted yet; continue with `jensen fit --resume run`"),
    "newer format": (lambda run: newer(run / "model.json"), "model.json was written by a newer jensen (format 99; this one reads 1): upgrade jensen"),
    "config is text": (lambda run: (run / "config.yaml").write_text("hello"), "run/config.yaml is damaged"),
    "config without data": (lambda run: (run / "config.yaml").write_text("preset: gmm\n"), "run/config.yaml is damaged ('data')"),
    "config with another preset": (lambda run: (run / "config.yaml").write_text("preset: hhmm\ndata: iris\n"), "run/config.yaml is damaged (unknown preset 'hhmm')"),
    "config is bytes": (lambda run: (run / "config.yaml").write_bytes(b"\xff\x00"), "run/config.yaml is damaged"),
    "config with an odd key": (lambda run: (run / "config.yaml").open("a").write("epoch: 3\n"), "run/config.yaml is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("command", ["gap", "sample"])
@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_run(case: str, command: str, here: Path, capsys: pytest.CaptureFixture[str]):
    harm, text = DAMAGE[case]
    harm(here / "run")
    refused([command, "run"], text, here, capsys)


@pytest.mark.parametrize(
    ("code", "text"),
    [(errno.ENOSPC, "the disk is full; free some space"), (errno.EROFS, "the file system is read-only")],
)
@pytest.mark.parametrize("words", ["fit gaussian iris", "sample run --out s.csv", "gap run --json g.json"])
def test_disk(
    words: str,
    code: int,
    text: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def fail(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("jensen.fit.files.os.fsync", fail)
    refused(words.split(), text, here, capsys)


def test_disk_full_at_the_very_end_keeps_what_was_there(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rename = os.replace

    def fail(source: Any, target: Any) -> None:
        if Path(target).name == "report.html":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", fail)
        assert main(["fit", "gaussian", "wine"]) == 2
    assert "report.html" in capsys.readouterr().err
    run = here / "runs" / "gaussian-wine"
    assert not list(run.rglob("*.tmp")) + list(run.rglob("*.part"))
    assert main(["fit", "--resume", str(run)]) == 0 and (run / "report.html").stat().st_size > 1000


def test_constant_column_is_a_warning(here: Path, capsys: pytest.CaptureFixture[str]):
    (here / "flat.csv").write_text("a,b\n" + "".join(f"{i * i % 7}.5,3\n" for i in range(30)))
    assert main(["fit", "gaussian", "flat.csv", "--covariance", "diag"]) == 0
    warned = [line for line in capsys.readouterr().err.splitlines() if "constant" in line]
    assert warned == [
        "warning: flat.csv: column 'b' is constant; remove what never varies, its density is degenerate"
    ]


def decoder(**options: Any) -> models.Decoder:
    return models.Decoder(**({"data_dim": 2, "latent_dim": 1, "widths": (3,), "key": KEY} | options))


def inference(
    model: Any = None, posterior: Any = None, objective: Any = None, gradient: Any = None
) -> core.Inference:
    return core.Inference(
        model or decoder(likelihood="gaussian"),
        posterior or posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(3,), key=KEY),
        objective or objectives.ELBO(),
        gradient or gradients.Reparam(),
    )


def climb(x: Any, four: core.Inference | None = None, **options: Any) -> Any:
    chosen = {"key": KEY, "optimizer": optax.adam(1e-3), "epochs": 1} | options
    return fit.gradient(four or inference(), x, **chosen)


def mixture() -> models.GaussianMixture:
    return models.GaussianMixture(2, 2, key=KEY)


def one_hot(k: int) -> Any:
    return posteriors.Amortized(families.OneHot(k), data_dim=2, widths=(), key=KEY)


X = np.random.default_rng(0).normal(size=(12, 2))
BAD = np.where(np.arange(24).reshape(12, 2) == 7, np.nan, X)


def holes() -> datasets.Dataset:
    """As ``datasets.load(..., missing="mask")`` returns it."""
    return datasets.Dataset(BAD, None, ("a", "b"), "holes", mask=~np.isnan(BAD))


def mixture_fit() -> core.Inference:
    return core.Inference(mixture(), posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def hmm() -> models.HMM:
    return models.HMM(2, 2, key=KEY)


def linear() -> models.LinearGaussianSSM:
    return models.LinearGaussianSSM(1, 2, key=KEY)


def world() -> core.Inference:
    model = models.RSSM(2, 1, deter_dim=3, latent=families.DiagGaussian(2), decoder=(3,), key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(2), like=model, widths=(3,), key=KEY)
    return core.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def exactly(model: Any) -> core.Inference:
    return core.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


DISCRETE = {"prior": models.priors.OneHot(3), "latent_dim": None}

API: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "nan": (lambda: climb(BAD), InputError, "x holds NaN in column 1 (1 entries, first in row 3): drop the rows, or give fit.Data(x, mask=~np.isnan(x))"),
    "rows of a masked data set": (lambda: fit.em(mixture(), holes().x), InputError, "x holds NaN in column 1 (1 entries, first in row 3)"),
    "scores of a masked data set": (lambda: use.score(mixture_fit(), holes().x), InputError, "or give fit.Data(x, mask=~np.isnan(x))"),
    "nan by em": (lambda: fit.em(mixture(), BAD), InputError, "x holds NaN in column 1 (1 entries, first in row 3)"),
    "infinity": (lambda: fit.Data(np.where(np.isnan(BAD), np.inf, BAD)), InputError, "x holds infinity in column 1"),
    "text": (lambda: fit.Data([["a", "b"]]), InputError, "x must hold real numbers"),
    "one axis": (lambda: fit.Data([1.0, 2.0]), InputError, "x must be rows by columns, got shape (2,)"),
    "no rows": (lambda: fit.Data(X[:0]), InputError, "x is empty"),
    "one row": (lambda: fit.em(mixture(), X[:1]), InputError, "GaussianMixture: 1 row"),
    "mask of another shape": (lambda: fit.Data(X, mask=np.ones((2, 2), bool)), InputError, "mask has shape (2, 2), x has (12, 2)"),
    "negative weights": (lambda: fit.Data(X, weights=-np.ones(12)), InputError, "weights must not be negative: row 0 is"),
    "zero weights": (lambda: fit.Data(X, weights=np.zeros(12)), InputError, "weights are all zero"),
    "weights of another length": (lambda: fit.Data(X, weights=np.ones(3)), InputError, "weights has 3 rows, x has 12"),
    "zero epochs": (lambda: climb(X, epochs=0), InputError, "epochs is 0; it must be at least 1"),
    "epochs and steps": (lambda: climb(X, steps=3), InputError, "either epochs= or steps="),
    "batch larger than data": (lambda: climb(X, batch_size=13), InputError, "batch_size=13 is larger than the data, 12 rows; lower it"),
    "patience without validation": (lambda: climb(X, stop=fit.Patience(3)), InputError, "watches the validation bound"),
    "no patience": (lambda: fit.Patience(0), InputError, "Patience: 0 rounds; it must be at least 1"),
    "wrong feature count": (lambda: climb(X[:, :1]), InputError, "X has 1 features, but Decoder is expecting 2 features as input."),
    "wrong feature count at use": (lambda: use.score(inference(), np.ones((3, 5)), key=KEY), InputError, "X has 5 features, but Decoder is expecting 2 features as input."),
    "wrong feature count of a gap": (lambda: diagnose.gap(inference(), np.ones((3, 5)), key=KEY), InputError, "X has 5 features, but Decoder is expecting 2 features as input."),
    "bytes into bernoulli": (lambda: climb(np.full((4, 2), 255), inference(decoder())), InputError, "bernoulli likelihood: x ranges over 255..255, not 0 and 1"),
    "grey into bernoulli": (lambda: climb(np.full((4, 2), 0.5), inference(decoder())), InputError, "binarize x"),
    "unknown likelihood": (lambda: decoder(likelihood="gausian"), InputError, "unknown likelihood 'gausian' (did you mean 'gaussian'?)"),
    "no latents": (lambda: decoder(latent_dim=0), InputError, "latent_dim is 0; it must be at least 1"),
    "no components": (lambda: models.GaussianMixture(0, 2, key=KEY), InputError, "num_components is 0"),
    "no restarts": (lambda: fit.best_of(lambda key: mixture(), X, restarts=0, by=fit.em, key=KEY), InputError, "restarts is 0; it must be at least 1"),
    "no samples of an iwae": (lambda: objectives.IWAE(0), InputError, "IWAE: num_samples is 0; it must be at least 1"),
    "negative beta": (lambda: objectives.ELBO(beta=-1.0), InputError, "beta is -1.0; it must be 0 or more"),
    "exact of a decoder": (lambda: inference(posterior=posteriors.Exact()), CombinationError, "Exact: Decoder has no exact posterior; use Amortized or PerDatum"),
    "analytic of a decoder": (lambda: inference(gradient=gradients.Analytic()), CombinationError, "Analytic: Decoder has no exact evidence; use Reparam"),
    "analytic of an iwae": (lambda: core.Inference(mixture(), posteriors.Exact(), objectives.IWAE(2), gradients.Analytic()), CombinationError, "use the plain objectives.ELBO()"),
    "sticking under iwae": (lambda: inference(objective=objectives.IWAE(2), gradient=gradients.StickTheLanding()), CombinationError, "StickTheLanding"),
    "sticking with an analytic kl": (lambda: inference(objective=objectives.ELBO(kl="analytic"), gradient=gradients.StickTheLanding()), CombinationError, "StickTheLanding"),
    "reparam of one-hot": (lambda: inference(decoder(**DISCRETE), one_hot(3)), CombinationError, "OneHot is not reparameterizable; use gradients.Enumerate or ScoreFunction"),
    "enumerate a gaussian": (lambda: inference(gradient=gradients.Enumerate()), CombinationError, "Enumerate"),
    "one-hot q of a normal": (lambda: inference(posterior=one_hot(3)), CombinationError, "they live on different spaces"),
    "leave one out of one": (lambda: inference(decoder(**DISCRETE), one_hot(3), gradient=gradients.ScoreFunction(gradients.LeaveOneOut())), CombinationError, "needs num_samples ≥ 2, the objective has 1"),
    "iwae of a shared z": (lambda: inference(posterior=posteriors.Global(families.DiagGaussian(1), key=KEY), objective=objectives.IWAE(2)), CombinationError, "IWAE with Global: not additive"),
    "per datum of other data": (lambda: climb(X, inference(posterior=posteriors.PerDatum(families.DiagGaussian(1), num_data=5, key=KEY))), InputError, "PerDatum was made for 5 rows, x has 12"),
    "load nothing": (lambda: fit.load("/no/such/run"), CorruptRunError, "no run at /no/such/run: there is no such folder; check the path"),
    "nothing to impute": (lambda: use.impute(inference(), X, key=KEY), InputError, "no entry is hidden"),
    "sequences of two axes": (lambda: fit.em(hmm(), X), InputError, "HMM takes sequences (N, T, D), got shape (12, 2): use x[None]"),
    "lengths without padding": (lambda: fit.Data(X, lengths=[3]), InputError, "lengths go with padded sequences (N, T, D), got x of shape (12, 2)"),
    "lengths beyond the steps": (lambda: fit.Data(X[None], lengths=[13]), InputError, "lengths must be whole numbers from 0 to 12, the steps of x: sequence 0 has 13"),
    "lengths of another number": (lambda: fit.Data(X[None], lengths=[3, 4]), InputError, "lengths must be one number a sequence, (1,), got shape (2,)"),
    "lengths that do not sum": (lambda: datasets.load_sequences("sums.npz"), InputError, "sums.npz: no such file"),
    "nan in a sequence": (lambda: fit.em(hmm(), BAD[None]), InputError, "x holds NaN in column 1 (1 entries, first in sequence 0, step 3): leave those sequences out, or give fit.Data(x, mask=~np.isnan(x))"),
    "nan tails of sequences": (lambda: fit.em(hmm(), np.where(np.arange(12)[:, None] < 8, X, np.nan)[None]), InputError, "x holds NaN in column 0 (4 entries, first in sequence 0, step 8): if these tails are padding, give fit.Data(x, lengths=)"),
    "a series without axes": (lambda: fit.em(hmm(), X[:, 0]), InputError, "or x[None, :, None] for one sequence of numbers"),
    "inputs of an hmm": (lambda: use.rollout(exactly(models.HMM(2, 2, input_dim=1, key=KEY)), X[None], horizon=3, key=KEY), InputError, "rollout: HMM takes inputs of length 1; pass actions="),
    "a sequence column of a table": (lambda: datasets.load("iris", sequence="id"), InputError, "iris: rows of a table have no order in time; for sequences call load_sequences('iris', sequence='id')"),
    "all-missing sequences": (lambda: fit.em(hmm(), fit.Data(X[None], mask=np.zeros((1, 12, 2), bool))), InputError, "HMM: no entry of x is observed; there is nothing to fit"),
    "all-missing sequences of a linear model": (lambda: fit.em(linear(), fit.Data(X[None], mask=np.zeros((1, 12, 2), bool))), InputError, "LinearGaussianSSM: no entry of x is observed; there is nothing to fit"),
    "sequences of other dimensions": (lambda: fit.em(hmm(), X[None, :, :1]), InputError, "X has 1 features, but HMM is expecting 2 features as input."),
    "a ragged list": (lambda: fit.em(hmm(), [X.tolist(), X[:3].tolist()]), InputError, "x holds rows or sequences of unequal length; pad sequences to (N, T, D)"),
    "actions of another length": (lambda: fit.gradient(world(), fit.Data(X[None], cond=np.ones((1, 5, 1))), key=KEY, optimizer=optax.adam(1e-3), epochs=1), InputError, "RSSM: cond must hold actions (1, 12 or 11, 1)"),
    "an action in the place of is_first": (lambda: fit.gradient(world(), fit.Data(X[None], cond=np.full((1, 12, 2), 0.5)), key=KEY, optimizer=optax.adam(1e-3), epochs=1), InputError, "RSSM: the last column of cond is is_first, 0 or 1, but sequence 0 has 0.5 at step 0; for actions of length 2 make the model with them"),
    "no actions": (lambda: use.rollout(world(), X[None], horizon=3, key=KEY), InputError, "rollout: RSSM takes actions of length 1; pass actions="),
    "horizon without enough actions": (lambda: use.rollout(world(), X[None], np.ones((1, 13, 1)), horizon=3, key=KEY), InputError, "rollout: horizon 3 after 12 observations needs actions (1, 14 or more, U), got (1, 13, 1)"),
    "no horizon": (lambda: use.rollout(world(), X[None], np.ones((1, 13, 1)), horizon=0, key=KEY), InputError, "horizon"),
    "a transition row": (lambda: models.HMM.with_parameters([0.5, 0.5], [[0.9, 0.1], [0.5, 0.4]], rates=[[1.0], [2.0]]), InputError, "transition_matrix of row 1: sums to 0.9, not 1"),
    "a covariance of an hmm": (lambda: models.HMM.with_parameters([1.0], [[1.0]], means=[[0.0, 0.0]], covariances=[[[1.0, 2.0], [2.0, 1.0]]]), InputError, "covariances: that of state 0 is not positive definite"),
    "a transition covariance": (lambda: models.LinearGaussianSSM.with_parameters([[0.5]], [[-1.0]], [[1.0]], [1.0], initial=([0.0], [[1.0]])), InputError, "LinearGaussianSSM: transition_covariance is not positive semi-definite (smallest eigenvalue -1)"),
    "an initial covariance": (lambda: models.LinearGaussianSSM.with_parameters([[0.5]], [[1.0]], [[1.0]], [1.0], initial=([0.0], [[-1.0]])), InputError, "initial covariance is not positive semi-definite"),
    "windows of all of a sequence": (lambda: fit.gradient(world(), fit.Data(X[None], cond=np.ones((1, 11, 1))), key=KEY, optimizer=optax.adam(1e-3), epochs=1, batch_size=1, batches=fit.Windows(12)), InputError, "Windows(length=12): the longest sequence has 12 steps"),
    "unknown data set": (lambda: datasets.load("wines"), InputError, "no data set or file 'wines' (did you mean 'wine'?)"),
}  # fmt: skip


@pytest.mark.parametrize("case", API)
def test_library(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    call, kind, text = API[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=re.escape(text)) as caught:
        call()
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_what_the_type_checks_of_the_tests_would_catch_first():
    """Annotations are only enforced in the tests; a user meets these words."""
    code = """
import jax, jensen as jn, numpy as np, optax, warnings
warnings.simplefilter("ignore")
from jensen import datasets, diagnose, families, fit, models, objectives, posteriors, gradients, use
model = models.Decoder(2, 1, key=jax.random.key(0))
for call in (
    lambda: fit.em(model, [[0.0, 1.0], [1.0, 0.0]]),
    lambda: jn.Inference(gradients.Reparam(), objectives.ELBO(), posteriors.Exact(), model),
):
    try:
        call()
    except jn.errors.CombinationError as error:
        print(error)
mixture, x = models.GaussianMixture(2, 2, key=jax.random.key(0)), np.eye(2).repeat(3, 0)
four = jn.Inference(mixture, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
for call in (
    lambda: fit.gradient(four, x, key=0, optimizer=optax.adam(0.1), steps=1),
    lambda: fit.em(mixture, x, key=0),
    lambda: fit.best_of(lambda key: mixture, x, by=fit.em, restarts=2, key=0),
    lambda: use.encode(four, x, key=0),
    lambda: use.sample(four, 3, key=np.random.default_rng(0)),
    lambda: diagnose.gap(four, x, key=0),
    lambda: diagnose.evidence(four, x, key=0),
    lambda: fit.evaluate(four, x, key=0),
    *(lambda make=make: make(2, 2, key=0) for make in (
        models.Decoder, models.FactorAnalysis, models.GaussianMixture, models.HMM, models.NeuralStateSpace,
        models.ProbabilisticPCA,
    )),
    lambda: models.RSSM(2, 0, key=0),
    lambda: posteriors.Amortized(families.DiagGaussian(2), data_dim=2, key=0),
    lambda: posteriors.Global(families.DiagGaussian(2), key=0),
    lambda: datasets.load("iris", missing="eror"),
    lambda: datasets.load_sequences("nile", missing="masked"),
    lambda: fit.gradient(
        four, x[None], key=jax.random.key(0), optimizer=optax.adam(0.1), steps=1, batches="bylength"),
    lambda: use.forecast(fit.em(models.HMM(2, 2, key=jax.random.key(0)), x[None]), x[None], horizon=2.5),
    lambda: diagnose.collapse(mixture, x, key=jax.random.key(0)),
    lambda: models.priors.Hierarchical(5, key=jax.random.key(0)),
    lambda: models.priors.Learned(families.DiagGaussian),
    lambda: models.priors.Gamma("2"),
    lambda: models.Decoder(4, prior=models.priors.StandardNormal, key=jax.random.key(0)),
    lambda: models.Decoder(4, 2, likelihood=3, key=jax.random.key(0)),
    lambda: models.GaussianMixture(2.0, 2, key=jax.random.key(0)),
    lambda: models.LogDensity("z", 2),
    lambda: families.CouplingFlow(2, widths=8, key=jax.random.key(0)),
    lambda: families.Mixture("gaussian", 2),
    lambda: posteriors.Amortized("gaussian", data_dim=2, key=jax.random.key(0)),
    lambda: posteriors.Amortized(families.DiagGaussian(2), data_dim=2, widths=8, key=jax.random.key(0)),
    lambda: posteriors.Global(families.DiagGaussian(2), start="laplace", key=jax.random.key(0)),
    lambda: posteriors.Conjugate(models.GaussianMixture),
    lambda: posteriors.OpenLoop(posteriors.Filtering),
    lambda: posteriors.SemiAmortized(posteriors.Amortized(
        families.DiagGaussian(2), data_dim=2, widths=(), key=jax.random.key(0)), steps=2.5),
    lambda: objectives.ELBO("8"),
    *(lambda make=make: make(families.DiagGaussian(1), like=models.NeuralStateSpace(
        2, 1, decoder=(), width=2, key=jax.random.key(0)), widths=(), key=jax.random.key(0))
        for make in (posteriors.Smoothing, posteriors.Filtering)),
    lambda: models.priors.Gamma(2, "1"),
    lambda: models.priors.Gamma(2, 0.1),
    lambda: gradients.Relaxed("0.5"),
    lambda: gradients.REBAR(-1.0),
):
    try:
        call()
    except jn.errors.InputError as error:
        print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [
        "em: Decoder has no closed-form E- and M-step; use fit.gradient",
        "Reparam is not a model: Inference takes (model, posterior, objective, gradient) in this order",
        *4 * ["key must be a key, as jax.random.key(0) makes it, not int"],
        "key must be a key, as jax.random.key(0) makes it, not Generator",
        *12 * ["key must be a key, as jax.random.key(0) makes it, not int"],
        "missing='eror' is unknown (did you mean 'error'?): 'error' or 'mask'",
        "missing='masked' is unknown (did you mean 'mask'?): 'error' or 'mask'",
        "batches='bylength': give fit.Windows(...), fit.CarriedWindows(...), fit.ByLength(...), "
        "fit.DynamicBinarization(), or nothing",
        "forecast: horizon=2.5, num_samples=1000; both must be whole numbers, at least 1",
        "expected an Inference or what fit.* returns, got GaussianMixture",
        "Hierarchical: latent_dims is 5; give positive whole numbers, as (2, 5), the top first",
        "priors.Learned: family is the class DiagGaussian; give one such as families.DiagGaussian(2)",
        "prior: latent_dim is '2'; it must be a whole number, at least 1",
        "Decoder: prior is the class StandardNormal; give one such as models.priors.StandardNormal(2)",
        "model: likelihood is int; give one such as 'gaussian'",
        "GaussianMixture: num_components is 2.0; it must be a whole number, at least 1",
        "LogDensity: log_joint is str; give a function of parameters",
        "flow: widths is 8; give positive whole numbers, as (32,)",
        "Mixture: component is str; give one such as families.DiagGaussian(2)",
        "Amortized: family is str; give one such as families.DiagGaussian(2)",
        "MLP: widths is 8; give positive whole numbers, as (64, 64)",
        "Global: start is str; give one such as posteriors.Laplace()",
        "Conjugate: factors is the class GaussianMixture; give one such as model.prior_of(None)",
        "OpenLoop: base is the class Filtering; give one such as posteriors.Filtering(..., like=model)",
        "SemiAmortized: steps is 2.5; it must be a whole number, at least 1",
        "ELBO: num_samples is '8'; it must be a whole number, at least 1",
        "Smoothing: widths is (); give at least 1, as (200,)",
        "Filtering: widths is (); give at least 1, as (200,)",
        "prior: concentration is '1'; it must be a positive number",
        "prior: concentration is 0.1; below 0.2 float32 loses a gamma draw to zero: give at least 0.2",
        "Relaxed: temperature is '0.5'; it must be a positive number",
        "REBAR: temperature is -1; it must be positive",
    ]


def test_odd_parameters_of_sequences_are_named():
    with pytest.warns(JensenWarning, match="state 1 can never be reached from initial_probs"):
        models.HMM.with_parameters([1.0, 0.0], [[1.0, 0.0], [0.5, 0.5]], rates=[[1.0], [2.0]])
    with pytest.warns(JensenWarning, match=r"transition_matrix is unstable \(spectral radius 1.5\)"):
        models.LinearGaussianSSM.with_parameters([[1.5]], [[1.0]], [[1.0]], [1.0], initial=([0.0], [[1.0]]))


def test_sequences_of_no_step_and_of_one_are_legal():
    x = fit.Data(X[None, :4].repeat(3, 0), lengths=[4, 0, 1])
    fitted = fit.em(models.HMM(1, 2, covariance="spherical", key=KEY), x, steps=2)
    scores = use.score(fitted, x)
    assert np.isfinite(scores).all() and scores[1] == 0


def test_constant_columns_warn_in_the_library():
    with pytest.warns(JensenWarning, match="constant column 1"):
        fit.Data(np.stack([np.arange(5.0), np.ones(5)], axis=1))


def test_a_masked_data_set_brings_its_mask():
    data = fit.Data(np.where(np.isnan(BAD), 7.0, BAD), mask=~np.isnan(BAD))
    ours, theirs = fit.em(mixture(), holes(), steps=5), fit.em(mixture(), data, steps=5)
    np.testing.assert_array_equal(ours.history.bound, theirs.history.bound)
    np.testing.assert_array_equal(use.score(ours, holes()), use.score(ours, data))
    np.testing.assert_array_equal(use.impute(ours, holes(), key=KEY), use.impute(ours, BAD, key=KEY))
    assert np.isfinite(climb(holes()).history.bound).all()
