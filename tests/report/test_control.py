"""Reports of the control wing: statistics behind the pictures, what the pictures hold, and the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gymnasium")

from jensen import report
from jensen.control.statistics import bootstrap, interquartile_mean
from jensen.report import control, control_maps
from jensen.report.control_film import CELL, film
from jensen.report.control_maps import Grid, Layer, cloud, maps
from jensen.report.control_returns import Curve, band, optimism, returns, solved

CELLS = np.stack(np.divmod(np.arange(12), 4), 1)
MOVES = np.broadcast_to(np.array([[0, 1], [1, 0], [0, -1], [-1, 0]]), (12, 4, 2))


def test_bands_are_those_of_the_bootstrap():
    scores = np.random.default_rng(1).gamma(2.0, size=(9, 4))
    middle, low, high = band(scores)
    for j, column in enumerate(scores.T):
        slow = bootstrap(column)
        assert middle[j] == pytest.approx(interquartile_mean(column))
        assert slow == pytest.approx((middle[j], low[j], high[j]), rel=0.12)
    scores[3, 2] = scores[:, 3] = np.nan
    middle, low, high = band(scores)
    assert middle[2] == pytest.approx(interquartile_mean(np.delete(scores[:, 2], 3)))
    assert np.isfinite(low[:3]).all() and np.isnan([middle[3], low[3], high[3]]).all()


def test_never_solved_is_said_and_never_averaged_as_solved():
    table = solved({"counts": [10, 20, -1, 30], "greedy": [np.nan, np.nan]}, budget=100)
    first, second = table.rows
    assert first[1] == "3 of 4" and first[4] == "10, 20, never, 30"
    assert first[3].startswith("25 [")  # the middle half of 10, 20, 30, 100
    assert second[1:] == ["0 of 2", "0% to 66%", "never", "never, never"]
    assert "counts as 100 episodes" in table.caption
    assert solved({"counts": [10, 20]}, budget=100).caption == ""


def test_optimism_is_said_with_its_direction():
    came = np.linspace(-9, 0, 30)
    for shift, word in ((2.0, "optimistic"), (-2.0, "pessimistic"), (0.0, "right on average")):
        text, figure = optimism(came + shift + 0.1 * np.sin(np.arange(30.0)), came)
        assert text.paragraphs[0].startswith(f"What is imagined exceeds what comes by {shift:.3g}"[:46])
        assert f": {word}." in text.paragraphs[0]
        assert "imagined return" in figure.svg


def test_values_lie_where_the_states_are():
    grid = Grid(np.array([[0, 1], [1, 0], [-1, -1]]), MOVES[:3])
    assert grid.shape == (2, 2)
    np.testing.assert_array_equal(grid.painted(np.array([3.0, 4.0, 5.0])), [[np.nan, 3], [4, np.nan]])
    values = np.array([[1.0, -np.inf], [2.0, 6.0]])
    np.testing.assert_allclose(Layer("", values, np.array([[1.0, 0.0], [0.5, 0.5]])).flat(), [1.0, 4.0])
    np.testing.assert_allclose(Layer("", np.array([[1.0, 3.0]])).flat(), [2.0])


def test_arrows_point_where_actions_lead_as_long_as_they_are_probable(monkeypatch: pytest.MonkeyPatch):
    drawn: list[tuple[np.ndarray, ...]] = []

    class Axes:
        def quiver(self, *where: np.ndarray, **style: Any) -> None:
            assert style["angles"] == "xy" and style["scale"] == 1.0  # down on the page is a row further
            drawn.append(where)

    monkeypatch.setattr(control_maps, "outlined", lambda drawn: None)
    policy = np.zeros((12, 4))
    policy[:, 0], policy[:, 1] = 0.75, 0.25
    control_maps._arrows(Axes(), policy, Grid(CELLS, MOVES))  # pyright: ignore[reportArgumentType]
    right, down = drawn[0], drawn[1]
    np.testing.assert_array_equal(np.stack(right[:2], 1), CELLS[:, ::-1])
    assert (right[2] > 0).all() and (right[3] == 0).all() and (down[3] > 0).all()
    np.testing.assert_allclose(right[2] / down[3], 3.0)
    assert np.isnan(drawn[2][2]).all()  # what is never done has none


def test_a_film_shows_each_line_from_where_it_begins():
    from matplotlib.image import imread

    real = np.linspace(0, 1, 10)[:, None] * np.ones((10, 6))
    _, strip = film(real, real[:, ::-1], 1 - real[4:], shape=(2, 3), caption="Seed 3.")
    assert [name for name, _, _ in strip.lines] == ["real", "reconstructed", "imagined"]
    assert (
        strip.caption
        == "Steps 1, 2, 3, 4, 5, 6, 7, 8, 9; from step 4 on the model knows only the actions. Seed 3."
    )
    lines = [imread(io.BytesIO(base64.b64decode(data.split(",")[1]))) for _, data, _ in strip.lines]
    assert strip.lines[0][2] == 9 * CELL and lines[0].shape == (2, 9 * 4 - 1, 4)
    np.testing.assert_allclose(lines[0][0, ::4, 0], real[1:, 0], atol=1 / 255)
    np.testing.assert_allclose(lines[2][0, 12::4, 0], 1 - real[4:, 0], atol=1 / 255)
    assert (lines[2][:, :11, 3] == 0).all()  # before it begins there is nothing


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sections on one page, without a fit."""
    rng = np.random.default_rng(0)
    grid = Grid(CELLS, MOVES, {0: "S", 11: "G"})
    policy = rng.dirichlet(np.ones(4), 12)
    curves = [
        Curve("counts", np.arange(20), rng.random((5, 20))),
        Curve("ε-greedy", np.arange(20), rng.random((5, 20))),
    ]
    real = rng.random((8, 6))
    sections = [
        control.learning(curves, [("return", "0.5")], xlabel="episodes", references={"optimum": 1.0}),
        *control.exploration(
            [Layer("visits", rng.random(12)), Layer("bonus", rng.random(12))], grid, {"counts": [3, np.nan]}, budget=9
        ),
        control.inverse(
            Layer("inferred", rng.normal(size=12), policy), Layer("true", rng.random(12), policy), grid,
            [("occupancy error", "1e-4")], ["State 7 is never reached."],
        ),
        *control.imagination(rng.random(9), rng.random(9), film(real, real, real[3:], shape=(2, 3))),
        control.ending([("world model", "all steps were done", "3 s")]),
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("control") / "report.html"
    return report.write_sections(
        path, None, sections, title="Control", lead="of arrays", numbers=[("r", "1", "")]
    )


def test_the_page_holds_every_section_and_nothing_from_outside(page: Path):
    text = page.read_text("utf-8")
    for title in (
        "How well it acts", "When it was solved", "Where the bonus is", "What is wanted",
        "Imagined and real returns", "What it sees and what it imagines", "What stopped, and why",
    ):  # fmt: skip
        assert f"<h2>{title}</h2>" in text
    assert "State 7 is never reached." in text and "optimum 1" in text and "never" in text
    assert not re.search(r'(?:src|href)="(?!#|data:)', text) and "Training" not in text
    assert len(text) < 1_000_000


def test_the_page_opens_without_complaint(browser: Callable[[Path, str], Any], page: Path):
    answer = browser(page, "return {svgs: document.querySelectorAll('figure svg image').length};")
    assert answer["complaints"] == [] and answer["svgs"] >= 4  # two tables of bonus, two of reward


def test_clouds_of_few_and_of_many():
    rng = np.random.default_rng(0)
    for count in (50, 600):
        figure = cloud(rng.normal(size=(count, 2)), rng.random(count), names=("x", "v"), label="bonus")
        assert "bonus" in figure.svg and len(figure.svg) < 600_000
    wide = Grid(np.stack(np.divmod(np.arange(30), 10), 1))
    one = maps([Layer("a", np.zeros(30)), Layer("b", np.full(30, np.nan))], wide, label="")
    assert ">a<" in one.svg and ">b<" in one.svg


def test_one_run_has_no_band():
    figure = returns([Curve("mine", np.arange(3), np.zeros((1, 3)))], xlabel="round", caption="One.")
    assert figure.caption == "One."
