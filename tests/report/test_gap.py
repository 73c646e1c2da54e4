"""What the gap says in words and rows."""

from __future__ import annotations

from typing import Any

import pytest
import rich.console

from jensen.fit.result import Fitted
from jensen.report import sections, tables
from jensen.report.gap import errors, interval, minus, number, reading, rows
from jensen.report.page import headline
from jensen.report.waterfall import has_band

READINGS = [
    ({"approximation": 0.1, "amortization": 0.9}, "encoder's: 0.90 of 1.00"),
    ({"approximation": 0.9, "amortization": 0.1}, "family's: 0.90 of 1.00"),
    ({"approximation": 0.5, "amortization": 0.5}, "shared: 0.50 are the encoder's"),
    ({"approximation": 0.001, "amortization": 0.001, "total": 0.002}, "tight"),
]


@pytest.mark.parametrize(("parts", "said"), READINGS)
def test_reading_names_the_culprit(gap: dict[str, Any], parts: dict[str, float], said: str) -> None:
    for name, value in parts.items():
        gap[name] = {"value": value, "se": 0.02}
    assert said in reading(gap)[0]


def test_reading_sees_an_overfitted_encoder(gap: dict[str, Any]) -> None:
    train = {**gap, "amortization": {"value": 0.1, "se": 0.02}}
    assert "overfits" in " ".join(reading(gap, train))
    assert "overfits" not in " ".join(reading(gap, gap))


def test_heuristic_side_is_called_so(gap: dict[str, Any]) -> None:
    assert "heuristic and may lie below" in reading(gap)[0]
    gap["log_evidence"]["upper_kind"] = "stochastic-bound"
    assert "heuristic" not in reading(gap)[0]


def test_exact_gap_is_short(gap: dict[str, Any]) -> None:
    for name in ("total", "approximation", "amortization"):
        gap[name] = {"value": 0.0, "se": 0.0}
    gap["log_evidence"] |= {"lower_kind": "exact", "upper_kind": "exact", "lower": -16.9, "upper": -16.9}
    assert "exact" in reading(gap)[0]
    assert not any("side" in name for name, _, _ in rows(gap))


def test_flags_are_said(gap: dict[str, Any]) -> None:
    assert "3 rows did not converge" in reading({**gap, "flags": ["3 rows did not converge"]})[-1]


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ({"value": -1.234, "se": 0.05}, "-1.23 ± 0.05"),
        ({"value": 0.0123, "se": 0.004}, "0.012 ± 0.004"),
        ({"value": 2.0, "se": None}, "2.00"),
        ({"value": None, "se": None}, "unknown"),
    ],
)
def test_number(part: dict[str, Any], text: str) -> None:
    assert number(part) == text


def test_tables_print(gap: dict[str, Any], vae: Fitted) -> None:
    console = rich.console.Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tables.gap_table(gap, gap))
    console.print(tables.fit_table(vae))
    text = console.export_text()
    for said in ("-17.90 ± 0.31", "amortization gap", "[-17.90, -17.60]", "encoder's", "Amortized", "3.0 s"):
        assert said in text, said


def test_sequences_are_called_so(gap: dict[str, Any]) -> None:
    gap |= {"per_step": {"elbo": -1.0}, "approximation": {"value": 0.9, "se": 0.02}}
    gap |= {"amortization": {"value": 0.1, "se": 0.02}, "split": "held out", "num_data": 7}
    console = rich.console.Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tables.gap_table(gap, gap))
    text = console.export_text()
    assert "held out, 7 sequences" in text and "simulated sequences" in text
    assert "best member per sequence" in " ".join(text.split()) and " row" not in text


CROSSED = {
    "lower": -1846.462,
    "upper": -1846.510,
    "lower_kind": "stochastic-bound",
    "upper_kind": "heuristic",
}


def test_crossing_sides_are_no_interval(gap: dict[str, Any], vae: Fitted) -> None:
    gap["log_evidence"] |= CROSSED | {"value": -1846.462}
    gap["elbo"]["value"] = -1847.462
    assert interval(gap["log_evidence"]) == "≈ -1846.5"
    said = reading(gap)[0]
    assert "log p(x) is ≈ -1846.5; the two estimates of it cross by 0.05: take that as the error." in said
    assert "bracket" not in said and not has_band(gap)
    tile = headline(vae, gap)[1]
    assert tile == ("log p(x)", "≈ -1846.5", "the two estimates cross by 0.05: take that as the error")
    assert "interval" not in errors(gap)


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (-2.0, -1.5, "[-2.00, -1.50]"),
        (-2.0, -2.0, "-2.00"),
        (-2.0, -2.001, "≈ -2.00"),
        (-2.0, -2.01, "≈ -2.00"),
        (-20.0, -20.9, "≈ -20"),
        (-2000.0, -2030.0, "≈ -2015"),
        (-2.0, None, "[-2.00, no upper side]"),
    ],
)
def test_interval(lower: float, upper: float | None, text: str) -> None:
    assert interval({"lower": lower, "upper": upper}) == text


def test_green_is_named_where_it_is_seen(gap: dict[str, Any]) -> None:
    def caption() -> str:
        section = sections.bound(gap, None)
        assert section is not None
        return next(block.caption for block in section.blocks if block.kind == "figure")

    assert has_band(gap) and "Green" in caption()
    gap["log_evidence"]["upper"] = gap["log_evidence"]["lower"] + 0.001
    assert not has_band(gap) and "Green" not in caption()


def test_exact_is_one_line_and_no_waterfall(gap: dict[str, Any]) -> None:
    for name in ("total", "approximation", "amortization"):
        gap[name] = {"value": 0.0, "se": 0.0}
    gap["log_evidence"] |= {"lower_kind": "exact", "upper_kind": "exact", "lower": -16.9, "upper": -16.9}
    gap["simulated"] = {"lower": -15.5, "upper": -15.5, "width": 0.0, "confidence": 1.0}
    section = sections.bound(gap, None)
    assert section is not None
    assert [block.kind for block in section.blocks] == ["text", "table"]
    assert section.blocks[0].paragraphs == [
        "log p(x) is -16.90 ± 0.30 nats per row, exact: no gap; ± is the standard error over 100 rows (validation)."
    ]
    note = "a check on data drawn from the model itself, not your data; exact"
    assert section.blocks[1].rows == [("log p(x), simulated rows", "-15.50", note)]


def test_errors_are_told_apart(gap: dict[str, Any]) -> None:
    said = errors(gap)
    assert "± is the standard error over rows" in said and "error of estimating log p(x)" in said
    assert "not your data; certified at 95%, 0.30 wide" in rows(gap)[-1][2]


def test_intervals_stay_on_one_line() -> None:
    assert minus("[-2.00, -1.50] and -1.2 ± 0.1, so") == "[−2.00,\xa0−1.50] and −1.2\xa0±\xa00.1, so"
