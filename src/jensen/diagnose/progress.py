"""Progress of an evaluation: a bar where a person looks on, nothing elsewhere."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any


class Progress(ABC):
    """Is told which stage begins and when a block of it is done. A context manager."""

    @abstractmethod
    def start(self, label: str, total: int) -> None:
        """Begin a stage of ``total`` blocks."""

    @abstractmethod
    def advance(self) -> None:
        """Count one block of the current stage."""

    @abstractmethod
    def close(self) -> None:
        """End."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Silent(Progress):
    """Shows nothing."""

    def start(self, label: str, total: int) -> None:
        """Ignore."""

    def advance(self) -> None:
        """Ignore."""

    def close(self) -> None:
        """Nothing to end."""


class Bar(Progress):
    """A rich bar on standard error that disappears when done."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import Progress as RichProgress

        self._bar: Any = RichProgress(console=Console(stderr=True), transient=True)
        self._bar.start()
        self._task: Any = None

    def start(self, label: str, total: int) -> None:
        """Replace the last stage's line."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(label, total=total)

    def advance(self) -> None:
        """Move on."""
        self._bar.advance(self._task)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.stop()


def shown(progress: Progress | None) -> Progress:
    """Return the given progress; by default a bar if standard error is a terminal."""
    if progress is not None:
        return progress
    return Bar() if sys.stderr.isatty() else Silent()
