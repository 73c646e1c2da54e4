"""Episodes as Minari data sets, and back. Knows Minari and Gymnasium; nothing else of the replay does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jensen.control.replay.episode import Episode
from jensen.control.replay.layout import Layout
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions, action_space
from jensen.datasets.episodes import joined, minari_episodes
from jensen.errors import InputError, MissingExtraError


def write(
    episodes: Sequence[Episode], space: ActionSpace, layout: Layout, dataset_id: str, *, env: Any = None
) -> None:
    """Write episodes as a Minari data set, into the folder that Minari keeps on this machine.

    Args:
        episodes: One or more.
        space: Of their actions.
        layout: Of their observations.
        dataset_id: As in ``minari list``: ``[NAMESPACE/]NAME-vN``.
        env: An environment, its id or spec, whose spaces are said in the data set; by default they are those
            of the replay, observations without bounds.

    Raises:
        MissingExtraError: Minari, or what it writes with, is not installed.
        InputError: There is such a data set already, or Minari refuses the id.
    """
    try:
        import minari  # pyright: ignore[reportMissingImports]
        from minari.data_collector import EpisodeBuffer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingExtraError(
            f"writing {dataset_id} needs Minari: pip install 'jensen[rl]' 'minari[hdf5]'"
        ) from None
    if not episodes:
        raise InputError(f"{dataset_id}: no episodes; there is nothing to write")
    buffers = [_buffer(EpisodeBuffer, episode, i) for i, episode in enumerate(episodes)]
    spaces: dict[str, Any] = {"env": env} if env is not None else _spaces(space, layout)
    try:
        minari.create_dataset_from_buffers(dataset_id, buffers, jpeg_encoding=False, **spaces)
    except ImportError as error:
        raise MissingExtraError(f"{dataset_id}: {' '.join(str(error).split())}") from None
    except Exception as error:  # Minari and Gymnasium raise a dozen types
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{dataset_id}: Minari cannot write it ({reason})") from None


def read(dataset_id: str) -> tuple[list[Episode], ActionSpace, Layout | None]:
    """Return the episodes of a Minari data set, its space of actions, and what it shows.

    Observations in a dictionary or tuple are joined to vectors, in the order of their names.

    Raises:
        MissingExtraError: Minari is not installed.
        InputError: There is no such data set, or its actions are neither Box nor Discrete.
    """
    given = f"minari:{dataset_id.removeprefix('minari:')}"
    found, acts, shown = minari_episodes(given.removeprefix("minari:"), given)
    space = action_space(acts)
    nested = type(shown).__name__ in ("Dict", "Tuple")
    episodes = [
        Episode(
            joined(e.observations, "x", given) if nested else np.asarray(e.observations),
            np.asarray(e.actions).reshape(len(e.rewards), *space.shape),
            np.asarray(e.rewards, np.float64),
            bool(np.asarray(e.terminations)[-1]),
            bool(np.asarray(e.truncations)[-1]),
        )
        for e in found
    ]
    return episodes, space, None if nested else Layout.of(shown)


def _buffer(kind: Any, episode: Episode, number: int) -> Any:
    steps = len(episode)
    last = np.arange(steps) == steps - 1
    return kind(
        id=number,
        seed=episode.seed,
        observations=np.asarray(episode.observations),
        actions=np.asarray(episode.actions),
        rewards=list(np.asarray(episode.rewards)),
        terminations=list(last & episode.terminated),
        truncations=list(last & episode.truncated),
        infos={},
    )


def _spaces(space: ActionSpace, layout: Layout) -> dict[str, Any]:
    """Return Gymnasium's spaces of what is kept."""
    from gymnasium import spaces

    acts: Any = spaces.Discrete(space.n, start=space.start) if isinstance(space, DiscreteActions) else None
    if isinstance(space, BoxActions):
        low, high = (edge.reshape(space.shape) for edge in (space.low, space.high))
        acts = spaces.Box(low, high, space.shape, space.dtype.type)
    if layout.choices is not None:
        shown: Any = spaces.Discrete(layout.choices, start=layout.start)
    elif layout.dtype.kind == "f":
        shown = spaces.Box(-np.inf, np.inf, layout.shape, layout.dtype.type)
    elif layout.dtype.kind == "b":
        shown = spaces.MultiBinary(layout.shape)
    else:
        limits = np.iinfo(layout.dtype)
        shown = spaces.Box(limits.min, limits.max, layout.shape, layout.dtype.type)
    return {"action_space": acts, "observation_space": shown}
