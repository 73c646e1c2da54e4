"""The page's example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "control" / "imagination.md"


@pytest.mark.slow
def test_the_example_runs(capsys: pytest.CaptureFixture[str]):
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)[0]
    exec(compile(block, str(PAGE), "exec"), {})
    assert "imagined return" in capsys.readouterr().out
