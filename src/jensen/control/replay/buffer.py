"""What was experienced: whole episodes in the environment's own types, in memory or mapped from a folder."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from jensen.control.replay import data as sequences
from jensen.control.replay import minari, shards
from jensen.control.replay.episode import Episode, recorded
from jensen.control.replay.layout import Layout
from jensen.control.replay.steps import Steps, steps_of, valid_actions
from jensen.control.spaces import ActionSpace, action_space, demonstrated
from jensen.datasets import Episodes
from jensen.errors import InputError
from jensen.fit import Data

SPILL = 2**26
"""Bytes held in memory before they are written, where there is a folder."""


class Replay:
    """Finished episodes, oldest first.

    Observations keep the environment's shape and type: pictures of bytes stay bytes until ``to_data``. Over
    ``capacity`` whole episodes are dropped, the oldest first. With a folder, what exceeds ``spill`` bytes in
    memory is written there and mapped from there: a replay made with the same folder goes on with what was
    written. A write is whole or has not happened, so that a kill loses what was not yet written, ``spill``
    bytes at most, and nothing else; ``flush`` writes all, as ``collect`` does at its end. ``spill=0`` writes
    each episode as it ends.

    Args:
        actions: Gymnasium's space of actions, or an ``ActionSpace``; ``collect`` says which by default.
        observations: Gymnasium's space of observations; by default as the first episode has them.
        capacity: Most steps kept; the newest episode is kept, however long. No bound by default.
        folder: Where episodes are written; they stay in memory by default.
        spill: Bytes.
        name: Name of the data.

    Raises:
        InputError: A number out of range, spaces that cannot be used, a folder that holds something else.
        CorruptRunError: Files in the folder are missing or cut short.

    Example:
        >>> import gymnasium
        >>> replay = Replay(gymnasium.spaces.Discrete(2), capacity=6)
        >>> for length in (3, 2, 4):
        ...     seen, acts, paid = np.zeros((length + 1, 5)), np.zeros(length, int), np.ones(length)
        ...     _ = replay.add(seen, acts, paid, terminated=True)
        >>> replay
        Replay('replay', 2 episodes, 6 steps, observations (5,) float64, 2 choices from 0)
        >>> replay.to_data()
        Data(2 sequences of 3 to 5 steps x 7 columns, cond 4 x 2, 3.6% masked)
    """

    def __init__(
        self,
        actions: Any = None,
        *,
        observations: Any = None,
        capacity: int | None = None,
        folder: str | os.PathLike[str] | None = None,
        spill: int = SPILL,
        name: str = "replay",
    ):
        if spill < 0 or (capacity is not None and capacity < 1):
            raise InputError(f"Replay: capacity={capacity}, spill={spill}; at least 1 and 0")
        self.capacity, self.spill, self.name = capacity, spill, name
        self.folder = None if folder is None else Path(folder).expanduser()
        self.added = 0
        self._episodes: deque[Episode] = deque()
        self._fresh = self._held = self._steps = 0
        self._shards: deque[tuple[Path, int]] = deque()
        self._next = 0
        self._layout: Layout | None = None
        self._space: ActionSpace | None = None
        if self.folder is not None:
            self._open(self.folder)
        if actions is not None:
            self.expect(action_space(actions), observations)
        elif observations is not None:
            self._expect_seen(observations)

    @property
    def space(self) -> ActionSpace:
        """What actions are valid.

        Raises:
            InputError: Nobody has said yet.
        """
        if self._space is None:
            raise InputError(
                f"{self.name}: no space of actions is known; give Replay(actions=), or collect into it"
            )
        return self._space

    @property
    def layout(self) -> Layout:
        """What observations are.

        Raises:
            InputError: There is no episode yet.
        """
        if self._layout is None:
            raise InputError(f"{self.name}: no episodes; there is nothing to learn from")
        return self._layout

    @property
    def steps(self) -> int:
        """Transitions kept."""
        return self._steps

    @property
    def held(self) -> int:
        """Bytes of arrays in memory; the rest is mapped."""
        return self._held

    @property
    def returns(self) -> np.ndarray:
        """Sum of the rewards of each episode, (N,), undiscounted."""
        return np.array([episode.rewards.sum() for episode in self._episodes])

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[Episode]:
        return iter(self._episodes)

    def __getitem__(self, place: int) -> Episode:
        return self._episodes[place]

    def __repr__(self) -> str:
        n = len(self)
        what = "" if self._layout is None else f", observations {self._layout}"
        acts = "" if self._space is None else f", {self._space}"
        return f"Replay({self.name!r}, {n} episode{'s' * (n != 1)}, {self._steps} steps{what}{acts})"

    def expect(self, space: ActionSpace, observations: Any = None) -> None:
        """Say what will be kept.

        Args:
            space: Of actions.
            observations: Gymnasium's space, or a ``Layout``; None leaves it to the first episode.

        Raises:
            InputError: It differs from what is known already.
        """
        if self._space is not None and self._space.facts() != space.facts():
            raise InputError(
                f"{self.name}: holds actions of {self._space}, not of {space}; use another replay"
            )
        self._space = space
        if observations is not None:
            self._expect_seen(observations)

    def _expect_seen(self, observations: Any) -> None:
        layout = observations if isinstance(observations, Layout) else Layout.of(observations)
        if self._layout is not None and self._layout != layout:
            raise InputError(
                f"{self.name}: holds observations {self._layout}, not {layout}; use another replay"
            )
        self._layout = layout

    def add(
        self,
        observations: Any,
        actions: Any,
        rewards: Any,
        *,
        terminated: bool,
        truncated: bool = False,
        seed: int | None = None,
    ) -> Episode:
        """Keep one finished episode: T + 1 observations, T actions, T rewards.

        Args:
            observations: (T + 1, ...).
            actions: (T, ...), or (T,) codes.
            rewards: (T,).
            terminated: Whether the task itself ended it.
            truncated: Whether it was cut off from outside.
            seed: What its environment was reset with.

        Returns:
            The episode as it is kept.

        Raises:
            InputError: Sizes that disagree with one another or with what is kept, or entries that are not
                finite.
        """
        arrays = np.array(observations), np.array(actions), np.array(rewards)
        return self.append(Episode(*arrays, terminated=terminated, truncated=truncated, seed=seed))

    def append(self, episode: Episode) -> Episode:
        """Keep one finished episode; see ``add``."""
        episode = self._fitted(episode)
        self._episodes.append(episode)
        self.added += 1
        self._fresh += 1
        self._held += episode.nbytes
        self._steps += len(episode)
        self._evict()
        if self.folder is not None and self._held > self.spill:
            self.flush()
        return episode

    def extend(self, episodes: Iterable[Episode]) -> Replay:
        """Keep several; return the replay itself."""
        for episode in episodes:
            self.append(episode)
        return self

    def flush(self) -> None:
        """Write what is only in memory; nothing without a folder.

        Raises:
            InputError: The folder cannot be written to; the episodes stay in memory.
        """
        if self.folder is None or not self._fresh:
            return
        if not (self.folder / shards.FACTS).exists():
            facts = {"actions": self.space.facts(), "observations": self.layout.facts(), "name": self.name}
            shards.write_facts(self.folder, facts)
        fresh = list(self._episodes)[-self._fresh :]
        path = shards.write_shard(self.folder, self._next, fresh)
        mapped = shards.read_shard(path)
        for _ in fresh:
            self._episodes.pop()
        self._episodes.extend(mapped)
        self._shards.append((path, len(fresh)))
        self._next += 1
        self._fresh = self._held = 0

    def to_data(
        self,
        *,
        heads: Sequence[str] = sequences.HEADS,
        packed: int | None = None,
        rows: Iterable[int] | None = None,
    ) -> Data:
        """Return the episodes as sequences for models; see ``jensen.control.replay.data.to_data``."""
        picked = list(self._episodes) if rows is None else [self._episodes[int(i)] for i in rows]
        if not picked:
            raise InputError(f"{self.name}: no episodes; there is nothing to learn from")
        return sequences.to_data(picked, self.space, self.layout, heads=heads, packed=packed)

    def to_rows(self) -> np.ndarray:
        """Return all observations as rows, (M, D), as ``to_data`` lays them out: for models without time."""
        return np.concatenate([self.layout.rows(np.asarray(e.observations)) for e in self._episodes])

    @classmethod
    def from_data(cls, data: Data, *, like: Replay, heads: Sequence[str] = sequences.HEADS) -> Replay:
        """Return the episodes of what ``to_data`` made, in the spaces of another replay.

        An episode that did not terminate was truncated. Without a reward head rewards are zero; without one
        of continuing, every episode was truncated.
        """
        new = cls(name=like.name)
        new.expect(like.space, like.layout)
        return new.extend(sequences.from_data(data, like.space, like.layout, heads=heads))

    def to_episodes(self) -> Episodes:
        """Return them for imitation; see ``jensen.control.replay.episode.recorded``."""
        return recorded(list(self._episodes), self.name)

    @classmethod
    def from_episodes(cls, episodes: Episodes, actions: Any = None) -> Replay:
        """Return a replay of recorded demonstrations.

        Args:
            episodes: As ``datasets.load_episodes`` returns them.
            actions: Their space; by default what they themselves suggest.
        """
        space = demonstrated(episodes) if actions is None else action_space(actions)
        new = cls(space, name=episodes.name)
        for i, (seen, done) in enumerate(zip(episodes.observations, episodes.actions, strict=True)):
            acts = done if episodes.discrete else done.reshape(len(done), *space.shape)
            won = None if episodes.successes is None else bool(episodes.successes[i])
            paid, over, cut = episodes.rewards, episodes.terminated, episodes.truncated
            assert paid is not None and over is not None and cut is not None  # filled in when they were made
            mode = episodes.modes[i] if episodes.modes else None
            new.append(Episode(seen, acts, paid[i], bool(over[i]), bool(cut[i]), mode=mode, success=won))
        return new

    def to_minari(self, dataset_id: str, *, env: Any = None) -> None:
        """Write a Minari data set on this machine; see ``jensen.control.replay.minari.write``."""
        minari.write(list(self._episodes), self.space, self.layout, dataset_id, env=env)

    @classmethod
    def from_minari(cls, dataset_id: str, **options: Any) -> Replay:
        """Return the episodes of a Minari data set, in its own spaces.

        Args:
            dataset_id: As in ``minari list``; one that is not on this machine is downloaded.
            **options: As of ``Replay``: ``capacity``, ``folder``, ``spill``.

        Raises:
            MissingExtraError: Minari is not installed.
            InputError: There is no such data set, or its spaces are not supported.
        """
        episodes, space, layout = minari.read(dataset_id)
        new = cls(name=dataset_id, **options)
        new.expect(space, layout)
        return new.extend(episodes)

    def transitions(self) -> Steps:
        """Return single steps, for learners that look at no more; copies in the environment's types.

        Raises:
            InputError: There is no episode.
        """
        self.layout  # noqa: B018  there are episodes
        return steps_of(list(self._episodes))

    def _fitted(self, episode: Episode) -> Episode:
        """Return an episode in the types that are kept, or say what is wrong with it."""
        where = f"{self.name}: episode {self.added}"
        layout = self._layout or Layout(episode.observations.shape[1:], episode.observations.dtype)
        seen = layout.checked(episode.observations, where)
        acts = valid_actions(episode, self.space, where)
        self._layout = layout  # now that nothing of the episode was refused
        return replace(episode, observations=seen, actions=acts)

    def _evict(self) -> None:
        """Drop the oldest episodes, and files that hold none that is kept."""
        while self.capacity is not None and self._steps > self.capacity and len(self._episodes) > 1:
            gone = self._episodes.popleft()
            self._steps -= len(gone)
            if not self._shards:
                self._fresh -= 1
                self._held -= gone.nbytes
                continue
            path, left = self._shards[0]
            if left > 1:
                self._shards[0] = path, left - 1
            else:
                self._shards.popleft()
                shards.remove(path)

    def _open(self, folder: Path) -> None:
        facts = shards.read_facts(folder)
        if facts is None:
            return
        self.name = facts["name"]
        self._space, self._layout = shards.spaces_of(facts)
        for path, episodes in shards.read_shards(folder):
            self._shards.append((path, len(episodes)))
            self._episodes.extend(episodes)
            self._next = int(path.name.rsplit("-", 1)[1]) + 1
        self._steps = sum(len(episode) for episode in self._episodes)
        self.added = len(self._episodes)
        self._evict()
