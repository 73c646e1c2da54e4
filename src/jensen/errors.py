"""The errors jensen raises, each carrying one line: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable
from typing import Any, SupportsFloat


class InputError(ValueError):
    """A user's data, option or file cannot be used as given."""


class CombinationError(ValueError):
    """The four choices of an inference do not fit together; the message names what to use instead."""


class CorruptRunError(ValueError):
    """A saved run is missing, damaged, or of a newer format; nothing was loaded."""


class NonFiniteError(FloatingPointError):
    """Training met NaN or infinity, or lost its digits to rounding, and could not recover."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class ContractError(AssertionError):
    """A member does not keep its contract; the message names the check, what was seen, and what to do."""


class JensenWarning(UserWarning):
    """The result stands, but the user should know something about it."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Phrase a suggestion for a mistyped word.

    Args:
        word: What the user wrote.
        choices: What would have been understood.

    Returns:
        `` (did you mean 'x'?)`` when something is close, otherwise ``; choose one of a, b, c``.

    Example:
        >>> nearest("vea", ["vae", "gmm"])
        " (did you mean 'vae'?)"
    """
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f"; choose one of {', '.join(known)}"


def check_key(key: Any) -> None:
    """Refuse a number where a random key is needed.

    Args:
        key: What was given as ``key=``.

    Raises:
        InputError: It is neither a key nor an array of a key's bits.
    """
    import jax.numpy  # errors are named long before anything heavy is needed

    if isinstance(key, jax.Array) and (
        key.dtype == "uint32" or jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    ):
        return
    raise InputError(f"key must be a key, as jax.random.key(0) makes it, not {type(key).__name__}")


def at_least(owner: str, least: int, **sizes: Any) -> None:
    """Refuse sizes that are no whole numbers, or too small.

    Args:
        owner: Who takes them, for the message.
        least: The smallest that will do.
        **sizes: By name.

    Raises:
        InputError: Naming the first that will not.

    Example:
        >>> at_least("Codebook", 2, num_codes=16)
    """
    for name, size in sizes.items():
        try:
            whole = operator.index(size)
        except TypeError:
            wanted = f"it must be a whole number, at least {least}"
            raise InputError(f"{owner}: {name} is {size!r}; {wanted}") from None
        if whole < least:
            raise InputError(f"{owner}: {name} is {size}; it must be at least {least}")


def positive(owner: str, **numbers: Any) -> None:
    """Refuse what is not a positive, finite number.

    Args:
        owner: Who takes them, for the message.
        **numbers: By name.

    Raises:
        InputError: Naming the first that will not.

    Example:
        >>> positive("Relaxed", temperature=0.5)
    """
    for name, number in numbers.items():
        if not isinstance(number, SupportsFloat):
            raise InputError(f"{owner}: {name} is {number!r}; it must be a positive number")
        if not 0 < float(number) < math.inf:
            raise InputError(f"{owner}: {name} is {float(number):g}; it must be positive")


def checked_sizes(owner: str, name: str, sizes: Any, example: str, *, least: int = 0) -> tuple[int, ...]:
    """Return sizes given as a sequence, such as the widths of layers.

    Args:
        owner: Who takes them, for the message.
        name: The argument.
        sizes: What was given.
        example: What could have been.
        least: How many there have to be.

    Raises:
        InputError: If it is no sequence of positive whole numbers, or too short.

    Example:
        >>> checked_sizes("MLP", "widths", [8, 8], "(64, 64)")
        (8, 8)
    """
    try:
        found = tuple(operator.index(size) for size in sizes)
    except TypeError:  # not a sequence, or not of whole numbers
        found = (0,)
    if min(found, default=1) < 1:
        raise InputError(f"{owner}: {name} is {sizes!r}; give positive whole numbers, as {example}")
    if len(found) < least:
        raise InputError(f"{owner}: {name} is {sizes!r}; give at least {least}, as {example}")
    return found


def check_made(owner: str, name: str, value: Any, kind: Any, example: str) -> None:
    """Refuse an argument of another kind, and a class where one made of it is wanted.

    Args:
        owner: Who takes it, for the message.
        name: The argument.
        value: What was given.
        kind: The type it has to be of, or several.
        example: What could have been given.

    Raises:
        InputError: If it is not.
    """
    if isinstance(value, kind):
        return
    found = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
    raise InputError(f"{owner}: {name} is {found}; give one such as {example}")
