"""Saves that are stopped in the middle."""

from __future__ import annotations

import os
from typing import Any

import pytest


class Killed(BaseException):
    """Stands for SIGKILL: nothing may run after it."""


def interrupt(monkeypatch: pytest.MonkeyPatch, call: str, at: int, error: BaseException) -> list[str]:
    """Let the ``at``-th call of ``os.<call>`` (counted from 0) fail before it does anything."""
    real, seen = getattr(os, call), []

    def failing(*args: Any, **kwargs: Any) -> Any:
        seen.append(call)
        if len(seen) - 1 == at:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(os, call, failing)
    return seen
