"""The blocks of the scikit-learn page run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "sklearn.md"


@pytest.mark.filterwarnings("ignore")
def test_the_page_runs(capsys: pytest.CaptureFixture[str]):
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    exec("\n".join(blocks), {})
    assert len(capsys.readouterr().out.splitlines()) == 4
