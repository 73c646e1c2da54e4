"""Where numbers go while a fit runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jensen.errors import MissingExtraError
from jensen.fit.files import make_folder, write_atomically, writing


@runtime_checkable
class Tracker(Protocol):
    """Receives named numbers; any object with these two methods will do."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers that belong to a step."""
        ...

    def close(self) -> None:
        """Finish writing."""
        ...


class JSONLines:
    """One JSON object a line, ``{"step": 100, "bound": -91.2}``, flushed at once.

    Args:
        path: The file. Lines after ``step`` are dropped, so that a resumed run repeats nothing.
        step: The step the run continues from; 0 empties the file.
    """

    def __init__(self, path: Path | str, *, step: int = 0):
        path = Path(path)
        make_folder(path.parent)
        write_atomically(path, b"".join(_lines_until(path, step)))
        with writing(path):
            self._file = path.open("ab")
        self._path = path

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line."""
        line = json.dumps({"step": step, **values}) + "\n"
        with writing(self._path):
            self._file.write(line.encode())
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """Event files for TensorBoard; needs the extra ``tensorboard``.

    Args:
        folder: Where the event files go.

    Raises:
        MissingExtraError: If the extra is not installed.
    """

    def __init__(self, folder: Path | str):
        try:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingExtraError(
                "TensorBoard needs an extra: pip install 'jensen[tensorboard]'"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


def _lines_until(path: Path, step: int) -> list[bytes]:
    if step == 0 or not path.exists():
        return []
    kept = []
    with writing(path):
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break  # a kill may leave half a line
            kept.append(line)
    return kept
