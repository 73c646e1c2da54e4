"""Writing files so that a kill, a full disk or a read-only folder never leaves half of one behind."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from jensen.errors import InputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file is larger than the file system allows; choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; choose another name",
    errno.ENOTEMPTY: "a folder of that name is in the way; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "its folder does not exist; create it and run this again",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an operating-system error met while writing ``path`` into one clear line.

    Args:
        path: What is being written, for the message.

    Raises:
        InputError: In place of any ``OSError``; it says what, where and what to do.
    """
    try:
        yield
    except OSError as error:
        why = _REMEDIES.get(error.errno or 0, f"{error.strerror or error}; choose another folder")
        raise InputError(f"could not write {path}: {why}") from error


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` survive a power cut (a no-op on Windows, which cannot open folders)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> Path:
    """Create ``folder`` and its parents if they are not there.

    Raises:
        InputError: The folder cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_atomically(path: Path | str, content: bytes) -> None:
    """Write a file whole or not at all.

    The bytes go to a temporary file beside the target, are flushed to the disk and renamed over it, so at
    every moment the target is either the earlier file or the new one.

    Args:
        path: The target; its folder must exist.
        content: The bytes of the file.

    Raises:
        InputError: The disk is full, the folder is read-only, or any other operating-system error. An earlier
            file is untouched and nothing new is left behind.

    Example:
        >>> import pathlib, tempfile
        >>> target = pathlib.Path(tempfile.mkdtemp()) / "note.txt"
        >>> write_atomically(target, b"first")
        >>> target.read_bytes()
        b'first'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with writing(target):
        try:
            # Not mkstemp, whose files are private (0600) whatever the user's umask.
            handle = os.open(
                temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666
            )
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def move(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target`` and make the rename durable.

    Raises:
        InputError: The rename failed.
    """
    with writing(target):
        os.replace(source, target)
        sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file or folder. A folder is first hidden by a rename: none is seen half removed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            hidden = path if path.name.startswith(".") else path.with_name(f".{path.name}.old.tmp")
            if hidden != path:
                shutil.rmtree(hidden, ignore_errors=True)  # what a kill left of an earlier removal
                os.replace(path, hidden)
            shutil.rmtree(hidden, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
