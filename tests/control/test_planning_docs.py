"""The planning page's example runs, and says what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "control" / "planning.md"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    scope: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), scope)
    assert "mean return" in capsys.readouterr().out
    actions = np.asarray(scope["actions"])
    assert actions.shape == (2, 1) and (np.abs(actions) <= 2).all()
