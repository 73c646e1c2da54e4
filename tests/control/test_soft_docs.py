"""The examples of the pages on soft control and inverse RL run, and say what the pages say."""

from __future__ import annotations

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs" / "control"


def run(page: str) -> dict:
    blocks = re.findall(r"```python\n(.*?)```", (PAGES / page).read_text("utf-8"), re.S)
    scope: dict = {}
    exec(compile("\n".join(blocks), page, "exec"), scope)
    return scope


def test_soft_control_by_two_posteriors():
    scope = run("soft_control.md")
    assert round(float(scope["sober"].policy[0, 0, 1]), 2) == 0.02
    assert round(float(scope["hopeful"].policy[0, 0, 1]), 2) == 0.73


def test_inverse_rl():
    scope = run("inverse_rl.md")
    assert scope["earned"](scope["world"], scope["found"].policy) > 36
    assert scope["earned"](scope["calm"], scope["found"].transferred(scope["calm"]).policy) > 36
