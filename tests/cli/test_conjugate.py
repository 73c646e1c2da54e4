"""Conjugate models from the shell: the gap is measured on the rows that q is the posterior of."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jensen import models
from jensen.cli import main


@pytest.mark.slow
def test_topics_of_a_small_table(here, capsys):
    rows = np.repeat([[9, 8, 1, 0], [0, 1, 7, 9]], 12, axis=0)
    rows[:12, 2] += np.arange(12) % 2
    (here / "words.csv").write_text("a,b,c,d\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n")
    assert main(["fit", "lda", "words.csv", "--components", "2", "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert "stopped by converged" in said and "22 of 22 training rows" in said
    gap = json.loads((here / "run" / "gap.json").read_text())
    assert gap["split"] == "train" and gap["num_data"] == 22
    assert abs(gap["total"]["value"]) < 1 and gap["log_evidence"]["lower_kind"] == "stochastic-bound"
    assert main(["gap", "run", "words.csv"]) == 2
    assert "lda has one q behind all its training rows" in capsys.readouterr().err
    assert main(["sample", "run"]) == 2
    assert "LDA has no simulate()" in capsys.readouterr().err
    assert main(["fit", "lda", "words.csv", "--gradient", "analytic", "--out", "other"]) == 2
    assert "--gradient analytic does not fit preset lda; choose em" in capsys.readouterr().err


def test_an_exact_bound_that_falls_is_one_line(here, capsys, monkeypatch):
    kind = models.BayesianGaussianMixture
    monkeypatch.setattr(kind, "global_step", lambda self, q, statistics: self.prior.factors)
    np.savetxt(
        "rows.csv",
        np.random.default_rng(0).normal(size=(70, 2)) ** 3,
        delimiter=",",
        header="a,b",
        comments="",
    )
    assert main(["fit", "bgmm", "rows.csv", "--components", "2", "--restarts", "1", "--out", "run"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("jensen: em: step 1: the bound fell") and "Traceback" not in "".join(said)
