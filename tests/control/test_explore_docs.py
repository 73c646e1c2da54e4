"""The page's examples run, and say what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "control" / "exploration.md"


def test_the_examples_run(capsys: pytest.CaptureFixture[str]):
    scope: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S):
        exec(compile(block, str(PAGE), "exec"), scope)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("[0.577") and said[1] == "1.0"
    hidden, found = (list(map(int, re.findall(r"\d+", line))) for line in said[2:])
    assert min(hidden) < 6 and found == [6] * 4
