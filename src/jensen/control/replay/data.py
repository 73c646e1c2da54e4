"""Episodes as sequences for world models, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jensen.control.replay.episode import Episode
from jensen.control.replay.layout import Layout
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions
from jensen.errors import InputError, nearest
from jensen.fit import Data

HEADS = ("reward", "continues")
"""Columns that may follow those of the observation, in this order."""


def to_data(
    episodes: Sequence[Episode],
    space: ActionSpace,
    layout: Layout,
    *,
    heads: Sequence[str] = HEADS,
    packed: int | None = None,
) -> Data:
    """Return sequences of T + 1 rows with T actions between them.

    Row t of x holds o_t, flattened; then the reward that arrived with it, r_{t−1}, which the first row of an
    episode has not: 0 there, and masked; then whether the episode continues: 0 at a terminated observation,
    1 otherwise, also where it was truncated. ``cond`` holds a_t in row t: the numbers of a Box in its own
    units, a one-hot row of a choice. Bytes are divided by 255 here, and not before: all rows of a fit are
    in memory at once, as floats.

    Args:
        episodes: One or more.
        space: Of their actions.
        layout: Of their observations.
        heads: Which columns follow the observation's: of ``"reward"`` and ``"continues"``.
        packed: Put short episodes one after another into sequences of at most so many rows (a longer episode
            has one of its own), so that windows may be longer than an episode; ``cond`` then has a row for
            each of x, zeros where an episode has ended, and one column more: 1 where one begins.

    Raises:
        InputError: An unknown head, or no room.
    """
    for head in heads:
        if head not in HEADS:
            raise InputError(f"to_data: no head {head!r}{nearest(head, HEADS)}")
    rows = [[episode] for episode in episodes] if packed is None else _packed(episodes, packed)
    lengths = np.array([sum(len(e) + 1 for e in row) for row in rows])
    x = np.zeros((len(rows), lengths.max(), layout.size + len(set(heads))), layout.real)
    flag = int(packed is not None)
    cond = np.zeros((len(rows), lengths.max() - 1 + flag, width_of(space) + flag), np.float32)
    mask = np.ones(x.shape, bool) if "reward" in heads else None
    for n, row in enumerate(rows):
        at = 0
        for episode in row:
            end = at + len(episode) + 1
            x[n, at:end, : layout.size] = layout.rows(np.asarray(episode.observations))
            for j, head in enumerate(h for h in HEADS if h in heads):
                x[n, at:end, layout.size + j] = _head(head, episode)
            cond[n, at : end - 1, : width_of(space)] = entered(space, np.asarray(episode.actions))
            if flag:
                cond[n, at, -1] = 1
            if mask is not None:
                mask[n, at, layout.size] = False
            at = end
    return Data(x, cond=cond, lengths=lengths, mask=mask)


def from_data(
    data: Data, space: ActionSpace, layout: Layout, *, heads: Sequence[str] = HEADS
) -> Iterator[Episode]:
    """Return the episodes that ``to_data`` made sequences of.

    Raises:
        InputError: Sequences of other columns.
    """
    x, cond = data.x, data.cond
    width = layout.size + len(set(heads))
    if x.ndim != 3 or x.shape[-1] != width or cond is None or cond.shape[-1] - width_of(space) not in (0, 1):
        acts = "no" if cond is None else cond.shape[-1]
        raise InputError(
            f"from_data: sequences of {x.shape[-1]} columns and {acts} of actions; {layout.size} of "
            f"observations, {len(set(heads))} heads and {width_of(space)} of actions were expected"
        )
    flagged = cond.shape[-1] > width_of(space)
    lengths = np.full(len(x), x.shape[1]) if data.lengths is None else data.lengths
    for row, acts, length in zip(x, cond, lengths, strict=True):
        begins = np.flatnonzero(acts[:length, -1] > 0.5) if flagged else np.zeros(1, int)
        for first, end in zip(begins, [*begins[1:], length], strict=True):
            yield _left(row[first:end], acts[first : end - 1, : width_of(space)], space, layout, heads)


def _left(
    x: np.ndarray, acts: np.ndarray, space: ActionSpace, layout: Layout, heads: Sequence[str]
) -> Episode:
    named = {head: layout.size + j for j, head in enumerate(h for h in HEADS if h in heads)}
    rewards = x[1:, named["reward"]] if "reward" in named else np.zeros(len(x) - 1)
    over = "continues" in named and bool(x[-1, named["continues"]] < 0.5)
    seen = layout.observations(x[:, : layout.size])
    return Episode(seen, _taken(space, acts), rewards.astype(np.float64), over, not over)


def _packed(episodes: Sequence[Episode], room: int) -> list[list[Episode]]:
    """Deal episodes out, in order, to sequences of at most so many rows."""
    if room < 2:
        raise InputError(f"to_data: packed is {room}; a sequence has at least 2 rows")
    rows: list[list[Episode]] = []
    left = 0
    for episode in episodes:
        need = len(episode) + 1
        if not rows or need > left:
            rows.append([])
            left = room
        rows[-1].append(episode)
        left -= need
    return rows


def _head(head: str, episode: Episode) -> np.ndarray:
    if head == "reward":
        return np.concatenate([[0.0], episode.rewards])
    goes_on = np.ones(len(episode) + 1)
    goes_on[-1] = 0.0 if episode.terminated else 1.0
    return goes_on


def width_of(space: ActionSpace) -> int:
    """Return how many numbers of an action worlds read."""
    return space.n if isinstance(space, DiscreteActions) else space.size


def entered(space: ActionSpace, actions: np.ndarray) -> np.ndarray:
    """Return actions as worlds read them, (T, U)."""
    if isinstance(space, DiscreteActions):
        return np.eye(space.n, dtype=np.float32)[actions - space.start]
    return actions.reshape(len(actions), -1)


def _taken(space: ActionSpace, rows: np.ndarray) -> np.ndarray:
    """Return actions as the environment takes them."""
    if isinstance(space, DiscreteActions):
        return rows.argmax(-1) + space.start
    assert isinstance(space, BoxActions)
    return rows.astype(space.dtype).reshape(len(rows), *space.shape)
