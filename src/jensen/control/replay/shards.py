"""Episodes on disk: folders of whole arrays, written beside their place and renamed, read as memory maps."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from jensen.control.replay.episode import Episode
from jensen.control.replay.layout import Layout
from jensen.control.spaces import ActionSpace, space_from
from jensen.errors import CorruptRunError, InputError
from jensen.fit.files import make_folder, move, remove, sync_folder, write_atomically, writing

FORMAT = 1
FACTS = "replay.json"
"""What a folder of episodes is known by."""
_ARRAYS = ("observations", "actions", "rewards")
_ENDS = "episodes.npz"


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return what a folder of episodes is about; None where there is none yet.

    Raises:
        CorruptRunError: The folder holds something else, or was written by a newer jensen.
    """
    path = folder / FACTS
    if not path.exists():
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise InputError(f"{folder}: holds other files and no {FACTS}; give an empty folder")
        return None
    try:
        facts = json.loads(path.read_text("utf-8"))
        newer = facts["format"] > FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        raise CorruptRunError(f"{path}: cannot be read; nothing was loaded") from None
    if newer:
        raise CorruptRunError(f"{path}: written by a newer jensen; update it")
    return facts


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Say what a folder of episodes is about."""
    write_atomically(make_folder(folder) / FACTS, json.dumps({"format": FORMAT, **facts}).encode())


def spaces_of(facts: dict[str, Any]) -> tuple[ActionSpace, Layout]:
    """Return what the actions and observations of a folder are."""
    return space_from(facts["actions"]), Layout.from_facts(facts["observations"])


def write_shard(folder: Path, number: int, episodes: Sequence[Episode]) -> Path:
    """Write episodes, whole or not at all.

    Raises:
        InputError: The folder cannot be written to; what was there is untouched.
    """
    target = folder / f"shard-{number:08d}"
    temporary = folder / f".{target.name}.{os.getpid()}.tmp"
    remove(temporary)
    make_folder(temporary)
    try:
        for name in _ARRAYS:
            _write(temporary / f"{name}.npy", [np.asarray(getattr(episode, name)) for episode in episodes])
        ends = io.BytesIO()
        np.savez(ends, **_ends(episodes))
        write_atomically(temporary / _ENDS, ends.getvalue())
        sync_folder(temporary)
        move(temporary, target)
    except BaseException:
        remove(temporary)
        raise
    return target


def read_shards(folder: Path) -> list[tuple[Path, list[Episode]]]:
    """Open all episodes of a folder, oldest first; what an interrupted write left is cleared away.

    Raises:
        CorruptRunError: A file is missing or cut short.
    """
    for left in folder.glob(".shard-*.tmp"):
        remove(left)
    return [(path, read_shard(path)) for path in sorted(folder.glob("shard-*"))]


def read_shard(path: Path) -> list[Episode]:
    """Return the episodes of one shard; their arrays stay on disk until they are looked at.

    Raises:
        CorruptRunError: A file is missing or cut short.
    """
    try:
        seen, done, paid = (np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS)
        with np.load(path / _ENDS) as archive:
            ends = {name: archive[name] for name in archive.files}
        lengths = ends["lengths"]
        if lengths.sum() != len(done) or len(done) != len(paid) or len(seen) != len(done) + len(lengths):
            raise ValueError("lengths disagree")
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise CorruptRunError(
            f"{path}: cannot be read ({next(iter(str(error).splitlines()), 'damaged')}); move this "
            "folder away to go on without its episodes"
        ) from None
    starts = np.concatenate([[0], np.cumsum(lengths)])
    episodes: list[Episode] = []
    for i, (first, last) in enumerate(pairwise(starts)):
        arrays = seen[first + i : last + i + 1], done[first:last], paid[first:last]
        episodes.append(_rebuilt(arrays, ends, i))
    return episodes


def _ends(episodes: Sequence[Episode]) -> dict[str, Any]:
    """Return what is known of each episode besides its steps; −1 where nothing is."""
    return {
        "lengths": np.array([len(episode) for episode in episodes]),
        "terminated": np.array([episode.terminated for episode in episodes]),
        "truncated": np.array([episode.truncated for episode in episodes]),
        "seeds": np.array([-1 if episode.seed is None else episode.seed for episode in episodes]),
        "successes": np.array([-1 if e.success is None else int(e.success) for e in episodes]),
        "modes": np.array([episode.mode or "" for episode in episodes]),
        "named": np.array([episode.mode is not None for episode in episodes]),
    }


def _rebuilt(arrays: tuple[np.ndarray, ...], ends: dict[str, np.ndarray], i: int) -> Episode:
    seed, success = int(ends["seeds"][i]), int(ends["successes"][i])
    return Episode.trusted(
        *arrays,
        terminated=bool(ends["terminated"][i]),
        truncated=bool(ends["truncated"][i]),
        seed=None if seed < 0 else seed,
        mode=str(ends["modes"][i]) if ends["named"][i] else None,
        success=None if success < 0 else bool(success),
    )


def _write(path: Path, parts: list[np.ndarray]) -> None:
    """Write arrays one after another as one, without a copy of all of them."""
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False, "shape": shape}
    with writing(path), path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).data)
        file.flush()
        os.fsync(file.fileno())
