"""Episodes of a Minari data set, as sequences of observations with actions."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.datasets.sequences import Sequences, padded
from jensen.errors import InputError, MissingExtraError


def minari_episodes(dataset_id: str, given: str) -> tuple[list[Any], Any, Any]:
    """Open a Minari data set; one that is not on this machine is downloaded, as Minari does it.

    Args:
        dataset_id: As in ``minari list``, like ``D4RL/door/human-v2``.
        given: Names the source in errors.

    Returns:
        Its episodes, and its spaces of actions and of observations.

    Raises:
        MissingExtraError: Minari is not installed.
        InputError: There is no such data set, or it holds no episode.
    """
    try:
        import minari  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError(f"{given} needs Minari: pip install 'jensen[rl]' 'minari[hdf5]'") from None
    if not dataset_id:
        raise InputError("minari: names no data set; write its id behind it, as in minari:D4RL/door/human-v2")
    try:
        data = minari.load_dataset(dataset_id, download=True)
        episodes = list(data.iterate_episodes())
        actions, seen = data.action_space, data.observation_space
    except ImportError as error:  # storage backends are extras of Minari's own
        raise MissingExtraError(f"{given}: {' '.join(str(error).split())}") from None
    except Exception as error:  # Minari, Gymnasium and the remote raise a dozen types
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{given}: cannot be loaded ({reason}); ids are as in `minari list remote`"
        ) from None
    if not episodes:
        raise InputError(f"{given}: no episodes; there is nothing to fit")
    return episodes, actions, seen


def read_minari(dataset_id: str, given: str) -> Sequences:
    """Read every episode: T observations and the T − 1 actions between them.

    Observations in a dictionary or tuple are joined, in the order of their names; a discrete action becomes a
    one-hot vector.

    Args:
        dataset_id: As in ``minari list``.
        given: Names the source in errors.

    Raises:
        MissingExtraError: Minari is not installed.
        InputError: There is no such data set, or it cannot be read as sequences of numbers.
    """
    episodes, actions, _ = minari_episodes(dataset_id, given)
    seen = [joined(episode.observations, "x", given) for episode in episodes]
    done = [_acted(episode.actions, actions, given) for episode in episodes]
    shape = seen[0].shape[1:]
    picture = shape if len(shape) in (2, 3) and shape[-1] != 1 else shape[:2] if len(shape) == 3 else None
    names = _names(episodes[0].observations, "x") if picture is None else None
    x = padded([part.reshape(len(part), -1) for part in seen])
    cond = padded(done)
    return Sequences(
        x.astype(np.float64 if picture is None else np.float32),
        np.array([len(part) for part in seen]),
        names or tuple(f"x{j}" for j in range(x.shape[-1])),
        dataset_id,
        cond=cond.astype(np.float64),
        ids=np.array([int(episode.id) for episode in episodes]),
        actions=tuple(f"a{j}" for j in range(cond.shape[-1])),
        image_shape=picture,
    )


def _parts(value: Any, prefix: str) -> list[tuple[str, Any]]:
    """List the arrays of a nested observation with their names, by name or position."""
    if isinstance(value, dict):
        pairs = [(str(key), value[key]) for key in sorted(value)]
    elif isinstance(value, tuple | list):
        pairs = [(f"{prefix}{i}", part) for i, part in enumerate(value)]
    else:
        return [(prefix, value)]
    return [found for name, part in pairs for found in _parts(part, name)]


def joined(value: Any, prefix: str, given: str) -> np.ndarray:
    """Return one array with leading axis time; several are flattened and joined."""
    parts = [np.asarray(part) for _, part in _parts(value, prefix)]
    for part in parts:
        if part.dtype.kind not in "buif" or part.ndim == 0:
            raise InputError(f"{given}: holds {part.dtype} values; only numbers can be modelled")
    if len(parts) == 1:
        return parts[0] if parts[0].ndim > 1 else parts[0][:, None]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _names(value: Any, prefix: str) -> tuple[str, ...]:
    names: list[str] = []
    for name, part in _parts(value, prefix):
        width = int(np.prod(np.shape(part)[1:]))
        one = np.ndim(part) == 1 or (width == 1 and name != prefix)
        names += [name] if one else [f"{name}{j}" for j in range(width)]
    return tuple(names)


def _acted(value: Any, space: Any, given: str) -> np.ndarray:
    acts = np.asarray(value) if not isinstance(value, dict | tuple | list) else joined(value, "a", given)
    if type(space).__name__ == "Discrete":
        return np.eye(int(space.n))[acts.reshape(-1).astype(int) - int(space.start)]
    return acts.reshape(len(acts), -1)
