"""Print a block of the README, so that what it promises is what the gate runs.

python tools/readme.py first      # the first shell block
python tools/readme.py second     # the second shell block
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks in one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), flags=re.M | re.S)


if __name__ == "__main__":
    which = {"first": 0, "second": 1}[sys.argv[1]]
    print(blocks("bash")[which])
