"""The pieces a page is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """An inline SVG with its caption."""

    svg: str
    caption: str = ""
    kind: str = "figure"


@dataclass(frozen=True)
class Strip:
    """One or more pictures in lines, each line with a name."""

    lines: Sequence[tuple[str, str, int]]
    """(name, ``data:`` address, width on the page in pixels)."""
    caption: str = ""
    kind: str = "strip"


@dataclass(frozen=True)
class Table:
    """Rows under headings; cells are text, numbers are set right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Text:
    """Paragraphs."""

    paragraphs: Sequence[str]
    kind: str = "text"


@dataclass(frozen=True)
class Explorer:
    """Sliders that decode a chosen z."""

    spec: dict[str, Any]
    kind: str = "explorer"


@dataclass(frozen=True)
class Section:
    """A titled part of the page."""

    anchor: str
    title: str
    blocks: list[Any] = field(default_factory=list)
