"""What surrounds every command: warnings in one line, the compilation cache, Ctrl-C."""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jensen.errors import JensenWarning


class Interrupted(Exception):
    """Ctrl-C, with what to do next."""


@contextlib.contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print each warning once, as ``warning: ...`` on stderr; other packages' deprecations are not shown."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", JensenWarning)
        # said before, with the columns' names, and not for pictures, whose borders never vary
        warnings.filterwarnings("ignore", "x: constant column", JensenWarning)
        yield


@contextlib.contextmanager
def persistent_interrupts() -> Iterator[None]:
    """Deliver Ctrl-C again when it fell into a callback whose exceptions Python only prints.

    JAX has such a callback in every garbage collection; without this the key press would do nothing.
    """
    before = sys.unraisablehook

    def hook(raised: Any) -> None:
        if raised.exc_type is KeyboardInterrupt:
            again = threading.Timer(0.05, _thread.interrupt_main)  # by then the callback is over
            again.daemon = True
            again.start()
        else:
            before(raised)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def cache_folder() -> Path:
    """Return where compiled programs are kept between commands: the user's cache folder."""
    if given := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = home / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or base) / "jensen" / "xla"


def start_jax() -> None:
    """Turn on JAX's persistent compilation cache; only the command does, never the library."""
    # at every program read back from the cache, XLA prints kilobytes about "features" that no processor has;
    # a 1 is what JAX leaves to processes started from one that imported it, and nobody's wish
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import jax

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # no cache then; nothing but time is lost
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
