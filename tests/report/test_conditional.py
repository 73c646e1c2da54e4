"""Reports of y given x, and of policies: figures from plain arrays, coverage that is counted right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import jensen as jn
from jensen.datasets import Dataset
from jensen.fit.result import Fitted, History
from jensen.report import behaviour, conditional, write
from jensen.report.calibration import calibration, placed
from jensen.report.conditional import shaded
from jensen.use import Prediction


def exactly(model: Any) -> Fitted:
    inference = jn.Inference(model, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
    return Fitted(inference, History(np.arange(1, 4), np.zeros(3), seconds=1.0), "steps")


def table(x: np.ndarray, y: np.ndarray, **more: Any) -> Dataset:
    names = tuple(f"y{j}" for j in range(y.shape[1])), tuple(f"x{j}" for j in range(x.shape[1]))
    return Dataset(y, None, names[0], "made", cond=x, inputs=names[1], **more)


def test_places_among_draws_of_the_same_law_are_uniform():
    rng = np.random.default_rng(0)
    ranks = placed(rng.poisson(2.0, (4000, 1)).astype(float), rng.poisson(2.0, (99, 4000, 1)).astype(float))
    counts, _ = np.histogram(ranks, 10, (0, 1))
    assert ((counts - 400) ** 2 / 400).sum() < 28  # χ² of 9 degrees: 99.9%
    ends = placed(np.array([[9.0], [-9.0]]), rng.normal(size=(99, 2, 1)))
    assert ends[0, 0] >= 0.99 and ends[1, 0] <= 0.01


def test_coverage_counts_what_lies_inside():
    rng = np.random.default_rng(1)
    y = rng.normal(size=(2000, 1))
    for scale, low, high in ((1.0, 0.87, 0.93), (0.5, 0.5, 0.68)):
        samples = scale * rng.normal(size=(400, 2000, 1))
        quantiles = np.quantile(samples, (0.05, 0.5, 0.95), axis=0)
        found = Prediction(samples.mean(0), samples.std(0), (0.05, 0.5, 0.95), quantiles, samples)
        section = calibration(table(np.zeros((2000, 1)), y), found, "rows")
        assert section is not None
        ninety = next(row for row in section.blocks[1].rows if row[0] == "90%")
        assert low < float(ninety[1].rstrip("%")) / 100 < high


def test_masked_targets_are_not_counted():
    y, samples = np.array([[1.5], [np.nan]] * 5), np.zeros((9, 10, 1))
    found = Prediction(samples[0], samples[0], (0.5,), samples[:1], samples)
    section = calibration(table(np.zeros((10, 1)), y, mask=~np.isnan(y)), found, "held-out rows")
    assert section is not None and section.blocks[1].caption == "Of 5 values in 10 held-out rows"


@pytest.mark.filterwarnings("ignore::jensen.errors.JensenWarning")
@pytest.mark.parametrize("inputs", [1, 2])
def test_a_report_of_held_out_and_training_rows(inputs: int, tmp_path: Any):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, inputs)), rng.normal(size=(30, 2))
    model = jn.models.MixtureDensity(2, inputs, 3, widths=(4,), key=jax.random.key(0))
    fitted = exactly(model)
    pair = table(x[:10], y[:10]), table(x[10:], y[10:])
    text = write(tmp_path / "r.html", fitted, dataset=pair).read_text("utf-8")
    assert "30 rows (10 held out) of y0, y1 given x0" in text
    said = "p(y1 | x0): the darker" if inputs == 1 else "y1 of 10 held-out rows"
    assert said in text and "<h2>Components</h2>" in text
    whole = write(tmp_path / "w.html", fitted, dataset=pair[0]).read_text("utf-8")
    assert "10 rows of y0, y1 given" in whole and "held out" not in whole
    assert conditional.whole(pair).x.shape == (30, 2)


def test_the_shade_grows_with_the_density():
    picture = shaded(np.array([[0.0, 0.25, 1.0]]))
    assert picture.shape == (1, 3, 4) and (np.diff(picture[0, :, 3].astype(int)) > 0).all()


def scene(x: float = 0.0) -> dict[str, Any]:
    disc = SimpleNamespace(x=x, y=0.0, radius=0.3)
    edge = SimpleNamespace(left=-1.0, bottom=-1.0, right=1.0, top=1.0)
    return {"circles": [disc], "rectangles": [edge], "start": disc, "goals": [disc, disc], "bounds": edge}


def test_paths_over_scenes_and_ways():
    rng = np.random.default_rng(3)
    parts = [rng.normal(size=(n, 2)) for n in (3, 5, 4)]
    paths = behaviour.Paths.of(parts, ("left", "right", ""), np.array([True, True, False]))
    assert np.isnan(paths.points[0, 3:]).all() and np.isfinite(paths.points[1]).all()
    one = behaviour.trajectories(paths, [scene()], paths)
    assert (
        "demonstrations, 3 episodes" in one.svg
        and "failed" in one.svg
        and "× where one failed" in one.caption
    )
    each = behaviour.trajectories(paths, [scene(0.1 * i) for i in range(8)])
    assert "The first 3 episodes" in each.caption
    bars = behaviour.mode_frequencies(paths.modes, ["left"] * 9 + ["middle"])
    assert bars is not None and "policy (2)" in bars.svg and "demonstrations (10)" in bars.svg
    assert behaviour.mode_frequencies(("", "")) is None
    section = behaviour.section([("success", "0.67")], behaviour.Paths(paths.points[:, :0]))
    assert [block.kind for block in section.blocks] == ["table"]
