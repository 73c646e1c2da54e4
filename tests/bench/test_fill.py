"""Tables of studies stand in their pages as the studies left them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def bench_fill():
    spec = importlib.util.spec_from_file_location("bench_fill", ROOT / "bench" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FILL = bench_fill()


@pytest.mark.parametrize("name", FILL.PAGES)
def test_pages_show_what_was_found(name: str):
    page, make = FILL.PAGES[name]
    text = (ROOT / page).read_text("utf-8")
    shown = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()
    assert shown == make(), f"{page}: run python bench/fill.py {name}"
    assert len(shown.splitlines()) > 2  # a head, a rule, and something found
