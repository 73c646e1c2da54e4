"""Settings that are refused in one line."""

from __future__ import annotations

import math

from jensen.errors import InputError


def at_least(who: str, least: int, **given: int) -> None:
    """Refuse numbers below ``least``.

    Raises:
        InputError: Which, and what it is.
    """
    for name, value in given.items():
        if value < least:
            raise InputError(f"{who}: {name} is {value}; it must be at least {least}")


def positive(who: str, **given: float) -> None:
    """Refuse what is not a positive number.

    Raises:
        InputError: Which, and what it is.
    """
    for name, value in given.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{who}: {name} is {value:g}; it must be a positive number")
