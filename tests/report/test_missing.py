"""Missing cells are never drawn as numbers, whatever stands in them, and the page says how many there are."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jensen import datasets, gradients, models, posteriors, report
from jensen.fit.result import Fitted
from jensen.report import figure, plots
from jensen.report.collect import View, blanked, hidden

from .conftest import USED, unfitted


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return np.random.default_rng(0).random((178, 13)) > 0.1


@pytest.fixture(params=[0.0, np.nan, -999.0], ids=str)
def wine(request: pytest.FixtureRequest, mask: np.ndarray) -> datasets.Dataset:
    """The wines with a tenth of the cells hidden under something that is no wine's."""
    data = datasets.load("wine")
    x = np.where(mask, data.x, request.param)
    return datasets.Dataset(x, data.labels, data.columns, "wine", mask=mask)


def mixture() -> Fitted:
    x = datasets.load("wine").x.astype(float)
    model = models.GaussianMixture.with_parameters(
        [0.5, 0.5], x[[0, 100]], np.stack([x.var(0)] * 2), covariance="diag"
    )
    return unfitted(model, posteriors.Exact(), gradients.Analytic())


def test_ranges_are_those_of_what_was_seen(wine: datasets.Dataset, mask: np.ndarray, tmp_path: Path) -> None:
    text = report.write(tmp_path / "r.html", mixture(), dataset=wine, collapse=USED).read_text("utf-8")
    spec = json.loads(re.search(r'id="explorer-spec">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]
    for (low, high), column, there in zip(spec["ranges"], wine.x.T, mask.T, strict=True):
        assert (low, high) == (column[there].min(), column[there].max())
    shown = np.frombuffer(base64.b64decode(spec["examples"]["x"]["base64"]), "<f4").reshape(-1, 13)
    np.testing.assert_array_equal(np.isnan(shown), ~mask[spec["examples"]["rows"]])
    missing = int((~mask).sum())
    assert f"178 rows of 13 columns, {missing} of 2,314 cells missing ({missing / 2314:.1%})" in text
    assert f"The {mask.all(1).sum()} of 178 rows without missing cells." in text
    assert "rows miss one of the two and are not drawn" in text
    assert "Missing cells are left out." in text


def test_histograms_hold_observed_cells_only(wine: datasets.Dataset, mask: np.ndarray) -> None:
    samples = np.tile(datasets.load("wine").x[:5].astype(float), (4, 1))
    with matplotlib.rc_context(figure.STYLE):
        fig = Figure()
        plots.columns(fig, blanked(wine).x, samples, wine.columns)
    for j, ax in enumerate(fig.axes[:12]):
        heights = [patch.get_height() for patch in ax.patches if isinstance(patch, Rectangle)]
        left = ax.patches[0].get_x()  # type: ignore[attr-defined]
        assert sum(heights) == pytest.approx(1.0)
        assert left == pytest.approx(min(wine.x[mask[:, j], j].min(), np.quantile(samples[:, j], 0.01)))


def test_points_without_a_coordinate_are_left_out() -> None:
    fig = Figure()
    ax = fig.subplots()
    points = np.array([[0.0, 1.0], [np.nan, 2.0], [3.0, np.nan], [4.0, 5.0]])
    plots.scatter(ax, points, None)
    np.testing.assert_array_equal(np.asarray(ax.collections[0].get_offsets()), points[[0, 3]])


def test_missing_pixel_is_no_grey() -> None:
    pixels = figure.picture(np.array([0.0, np.nan, 1.0, 0.5]), (2, 2), 0.0, 1.0)
    assert pixels[0, 0, :3].tolist() == [0, 0, 0] and pixels[1, 0, :3].tolist() == [255] * 3
    assert pixels[0, 1, :3].tolist() == list(figure.MISSING)


def test_pictures_with_missing_pixels(vae: Fitted, digits: Any, tmp_path: Path) -> None:
    there = np.random.default_rng(1).random(digits.x.shape) > 0.2
    data = datasets.Dataset(
        np.where(there, digits.x, 7), digits.labels, digits.columns, "digits", digits.image_shape, there
    )
    assert View(blanked(data), None).value_range == (0.0, 1.0)
    text = report.write(tmp_path / "r.html", vae, dataset=data).read_text("utf-8")
    assert "Blue: missing." in text and "cells missing" in text


def test_complete_data_are_not_called_missing(digits: Any) -> None:
    assert not hidden(digits).any() and blanked(digits).mask is None
    np.testing.assert_array_equal(blanked(digits).x, digits.x)


def test_column_never_seen_has_a_range() -> None:
    data = datasets.Dataset(np.zeros((3, 1)), None, ("a",), "none", mask=np.zeros((3, 1), bool))
    assert View(blanked(data), None).value_range == (0.0, 1.0)
