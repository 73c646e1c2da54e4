"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any


class Progress:
    """Shows steps, bound, validation bound and speed; a context manager.

    Args:
        total: Steps of the whole fit.
        done: Steps taken before, by a run that is resumed.
    """

    def __init__(self, total: int, done: int = 0):
        self._total = total
        self._done = done
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal:
            from rich import progress

            self._bar = progress.Progress(
                progress.TextColumn("fit"),
                progress.BarColumn(),
                progress.TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
                progress.TextColumn("{task.fields[text]}"),
                progress.TextColumn("{task.fields[speed]}"),
                progress.TimeRemainingColumn(),
                console=console,
                transient=False,
            )
            self._bar.start()
            self._task = self._bar.add_task("fit", total=self._total, completed=self._done, text="", speed="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: int, bound: float, validation: float | None) -> None:
        """Move the bar.

        Args:
            step: Steps taken.
            bound: Mean training bound since the last call, nats per datum.
            validation: Latest validation bound, if there is one.
        """
        if self._bar is None:
            return
        text = f"bound {bound:.3f}" + ("" if validation is None else f"  validation {validation:.3f}")
        speed = self._bar.tasks[self._task].speed
        shown = "" if speed is None else f"{speed:,.0f} steps/s"
        self._bar.update(self._task, completed=step, text=text, speed=shown)
