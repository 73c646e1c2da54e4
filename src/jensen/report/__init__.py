"""One self-contained HTML file about a fit, and the tables printed in a terminal."""

from __future__ import annotations

from jensen.report import tables
from jensen.report.page import write, write_sections
from jensen.report.ranks import ranks

__all__ = ["ranks", "tables", "write", "write_sections"]


def __dir__() -> list[str]:
    return __all__
