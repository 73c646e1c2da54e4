"""What the gap says in words and rows."""

from __future__ import annotations

from typing import Any

import pytest
import rich.console

from jensen.fit.result import Fitted
from jensen.report import tables
from jensen.report.gap import number, reading, rows

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
