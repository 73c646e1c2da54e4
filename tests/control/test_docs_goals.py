"""The example of the page on Embed to Control runs, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "control" / "embed_to_control.md"


@pytest.mark.slow
def test_the_example_acts_towards_the_goal():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    scope: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), scope)
    right, down = scope["action"]  # type: ignore[misc]
    assert right > 0 and down < 0
