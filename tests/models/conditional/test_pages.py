"""The examples on the pages of the conditional models run, and print what they say."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs" / "models"


@pytest.mark.parametrize("name", ["conditional_regression", "mixture_density", "conditional_decoder"])
def test_the_example_prints_what_the_page_says(name):
    text = (PAGES / f"{name}.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S)
    said = [line.split("  # ")[1].split(":")[0] for line in block.splitlines() if line.startswith("print")]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block, name, "exec"), {})
    assert said and printed.getvalue().splitlines() == said
