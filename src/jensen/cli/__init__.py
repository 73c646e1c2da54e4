"""The ``jensen`` command: fit, gap, sample, report, info.

Nothing heavy is imported before a command needs it: ``jensen --help`` never meets JAX.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from jensen.errors import (
    CombinationError,
    CorruptRunError,
    InputError,
    MissingExtraError,
    NonFiniteError,
)

__all__ = ["main"]

MISTAKE, INTERRUPTED = 2, 130
"""Exit statuses: what the user can mend, and Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The words after ``jensen``; by default those of the process, which then ends here after Ctrl-C.

    Returns:
        0; or 2 after one line on stderr that says what is wrong, where, and what to do; or 130 after
        Ctrl-C. Only a fault of jensen's own ends in a traceback.

    Example:
        >>> main(["--version"])
        jensen 0.1.0
        0
    """
    status = _run(sys.argv[1:] if argv is None else argv)
    if argv is None and status == INTERRUPTED:
        _leave(status)
    return status


def _run(words: Sequence[str]) -> int:
    from jensen.cli.parser import parse
    from jensen.cli.shell import Interrupted, one_line_warnings, persistent_interrupts

    try:
        with one_line_warnings(), persistent_interrupts():
            handler, given = parse(words)
            return handler(given)
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    except (InputError, CombinationError, CorruptRunError, NonFiniteError, MissingExtraError) as error:
        print(f"jensen: {' '.join(str(error).split())}", file=sys.stderr)
        return MISTAKE
    except Interrupted as stopped:
        print(f"jensen: interrupted; {stopped}", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("jensen: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _leave(status: int) -> None:
    """End the process without taking it apart: a compiled step may still run, and would lose its memory."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)
