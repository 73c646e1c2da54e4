"""One door for recorded episodes: a file, a Minari id, or lists of arrays, in; checked Episodes, out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from jensen.datasets.arrays import member, open_arrays
from jensen.datasets.bundled import MINARI
from jensen.datasets.episodes import joined, minari_episodes
from jensen.datasets.load import stem
from jensen.datasets.recorded import Episodes
from jensen.errors import InputError, nearest

Arrays: TypeAlias = Mapping[str, Any]

NAMES: dict[str, tuple[str, ...]] = {
    "observations": ("obs", "observations"),
    "actions": ("acts", "actions"),
    "lengths": ("act_lengths", "lengths"),
    "rewards": ("rews", "rewards"),
    "terminated": ("terminal", "terminated", "terminations"),
    "truncated": ("truncated", "truncations"),
    "modes": ("modes",),
    "successes": ("successes",),
}
"""What the arrays of a file may be called."""


def load_episodes(
    source: str | os.PathLike[str] | Arrays | tuple[Sequence[Any], Sequence[Any]] | Episodes,
    *,
    name: str | None = None,
) -> Episodes:
    """Load recorded episodes: T actions and the T + 1 observations around them, each.

    An npz file holds ``obs`` (ΣT + N, S) and ``acts`` (ΣT, A), or (ΣT,) integer codes, one episode after
    another, with ``act_lengths`` (N,), the number of actions of each; or padded arrays (N, T + 1, S) and
    (N, T, A). Optional: ``rewards``, ``terminated`` or ``terminal``, ``truncated``, ``modes``, ``successes``.
    An episode that was not terminated was truncated, unless the file says otherwise. The same names hold for
    a mapping of arrays, or of one list of arrays for each.

    Args:
        source: A path, ``minari:ID``, a mapping, a pair (observations, actions) of lists with one array an
            episode, or episodes already loaded.
        name: Name of the data; the file's by default.

    Returns:
        The checked episodes.

    Raises:
        InputError: In one line, what is wrong, in which episode, and what to do.
        MissingExtraError: Minari is not installed.

    Example:
        >>> load_episodes(([np.zeros((4, 2))], [np.array([0, 1, 1])]))
        Episodes('episodes', 1 of 3 steps, 2 observations, discrete actions)
    """
    if isinstance(source, Episodes):
        return source if name is None else replace(source, name=name)
    if isinstance(source, Mapping):
        return from_arrays(source, name or "episodes")
    if isinstance(source, tuple):
        return from_arrays({"observations": source[0], "actions": source[1]}, name or "episodes")
    given = os.fspath(source)
    if given.startswith(MINARI):
        return _from_minari(given.removeprefix(MINARI), given, name)
    path = Path(given).expanduser()
    if path.suffix.lower() != ".npz":
        raise InputError(f"{given}: recorded episodes are read from an npz file, or from minari:ID")
    try:
        archive = open_arrays(path)
    except OSError as error:
        raise InputError(f"{given}: cannot be read: {error.strerror or error}") from None
    if isinstance(archive, np.ndarray):
        raise InputError(f"{given}: holds one array; episodes need observations and actions")
    with archive:
        arrays = {key: member(archive, key, path) for key in archive.files}
    return from_arrays(arrays, name or stem(path), what=given)


def from_arrays(arrays: Arrays, name: str, *, what: str | None = None) -> Episodes:
    """Put episodes together from arrays by name.

    Args:
        arrays: As in ``load_episodes``.
        name: Name of the data.
        what: Names the source in errors.

    Raises:
        InputError: A name that is missing or unknown, or sizes that disagree.
    """
    what = what or name
    found = _named(arrays, what)
    seen, done = found.pop("observations"), found.pop("actions")
    lengths = found.pop("lengths", None)
    paid = found.pop("rewards", None)
    if lengths is not None:
        lengths = _checked_lengths(lengths, what)
        padded = np.ndim(seen) == 3
        cut = _unpad if padded else _cut
        seen = cut(seen, lengths + 1, "observations", what)
        done = cut(done, lengths, "actions", what)
        paid = None if paid is None else cut(paid, lengths, "rewards", what)
    elif isinstance(seen, np.ndarray) and seen.ndim == 2:
        raise InputError(
            f"{what}: observations {seen.shape} are of one episode or many: add 'act_lengths', the number of "
            "actions of each"
        )
    ended = found.get("terminated")
    if ended is not None and "truncated" not in found:
        found["truncated"] = ~np.asarray(ended).astype(bool)
    elif ended is None and "truncated" in found:
        found["terminated"] = ~np.asarray(found["truncated"]).astype(bool)
    modes = tuple(str(mode) for mode in found.pop("modes", ()))
    paid = None if paid is None else tuple(paid)
    return Episodes(tuple(seen), tuple(done), paid, modes=modes, name=name, **found)


def _named(arrays: Arrays, what: str) -> dict[str, Any]:
    """Call every array by its proper name."""
    proper = {alias: name for name, aliases in NAMES.items() for alias in aliases}
    found: dict[str, Any] = {}
    for key, value in arrays.items():
        if key not in proper:
            continue  # files carry more than is needed here: dones, infos
        if proper[key] in found:
            raise InputError(f"{what}: holds two arrays of {proper[key]}; keep one")
        found[proper[key]] = value
    for name in ("observations", "actions"):
        if name not in found:
            held = ", ".join(arrays) or "nothing"
            close = next((nearest(key, NAMES[name]) for key in arrays if key not in proper), "")
            raise InputError(f"{what}: no array {NAMES[name][0]!r} of {name} (it holds {held}){close}")
    return found


def _checked_lengths(lengths: Any, what: str) -> np.ndarray:
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths):
        raise InputError(f"{what}: 'act_lengths' must be one whole number an episode, not {lengths.shape}")
    if (lengths < 1).any():
        row = int(np.argmax(lengths < 1))
        raise InputError(f"{what}: episode {row} has {lengths[row]} actions; leave it out")
    return lengths.astype(np.int64)


def _cut(values: Any, lengths: np.ndarray, which: str, what: str) -> list[np.ndarray]:
    values = np.asarray(values)
    if len(values) != lengths.sum():
        least = "T + 1 each, " if which == "observations" else ""
        raise InputError(
            f"{what}: {len(values)} rows of {which}, but act_lengths ask for {lengths.sum()} ({least}"
            f"{len(lengths)} episodes); they must agree"
        )
    return np.split(values, np.cumsum(lengths)[:-1])


def _unpad(values: Any, lengths: np.ndarray, which: str, what: str) -> list[np.ndarray]:
    values = np.asarray(values)
    if len(values) != len(lengths) or values.ndim < 2 or values.shape[1] < lengths.max():
        raise InputError(
            f"{what}: {which} have shape {values.shape}; {len(lengths)} episodes of up to {lengths.max()} "
            "steps were expected"
        )
    return [row[:n] for row, n in zip(values, lengths, strict=True)]


def _from_minari(dataset_id: str, given: str, name: str | None) -> Episodes:
    episodes, space, _ = minari_episodes(dataset_id, given)
    discrete = type(space).__name__ == "Discrete"
    acts = [np.asarray(e.actions) if discrete else joined(e.actions, "a", given) for e in episodes]
    return Episodes(
        tuple(_flat(joined(e.observations, "x", given)) for e in episodes),
        tuple(a.reshape(-1).astype(np.int64) if discrete else _flat(a) for a in acts),
        tuple(np.asarray(e.rewards, np.float64) for e in episodes),
        np.array([bool(np.asarray(e.terminations)[-1]) for e in episodes]),
        np.array([bool(np.asarray(e.truncations)[-1]) for e in episodes]),
        name=name or dataset_id,
    )


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)
