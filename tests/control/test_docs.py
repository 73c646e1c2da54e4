"""The page's example runs, and says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "control" / "imitation.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    scope: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), scope)
    assert "entropy over modes" in capsys.readouterr().out
    assert scope["env"].action_space.contains(scope["action"])
