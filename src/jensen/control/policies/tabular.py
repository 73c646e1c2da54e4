"""Policies in tables, a row of probabilities for every state (and step), and episodes drawn from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.algorithms.mdp import MDP, SLACK, checked, exact_rows
from jensen.control.policies.base import Policy
from jensen.datasets import Episodes
from jensen.errors import InputError
from jensen.typing import Int


class TabularPolicy(Policy):
    """Draws actions from a table.

    Observations are states: a code 0..S−1 in one column, or a one-hot row, as Gymnasium's FlattenObservation
    makes of a Discrete space. After an end, where any action will do, −1 or a row of zeros; others are
    refused.

    Args:
        probabilities: π(a | s), (S, A); or (H, S, A), one table a step, the last of which goes on being used.
        seed: Randomness of the actions.
        start: The number of the first action.

    Raises:
        InputError: A table of another shape, or whose rows are no probabilities.

    Example:
        >>> policy = TabularPolicy(np.eye(3))
        >>> policy.predict(np.array([[2.0], [0.0]])).tolist()
        [2, 0]
    """

    def __init__(self, probabilities: Any, *, seed: int = 0, start: int = 0):
        table = np.asarray(probabilities, np.float64)
        if table.ndim not in (2, 3):
            raise InputError(
                f"TabularPolicy: probabilities have shape {table.shape}, not (S, A) or (H, S, A)"
            )
        wrong = ~(table >= 0).all(-1) | (np.abs(table.sum(-1) - 1) > 1e-3)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise InputError(
                f"TabularPolicy: the row of state {where[-1]} holds no probabilities, {table[where]}"
            )
        self.probabilities = table / table.sum(-1, keepdims=True)
        self.start = start
        self._rng = np.random.default_rng(seed)
        self._num: int | None = None
        self._age = np.zeros(0, int)

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        """Begin new episodes; see ``Policy.reset``."""
        if mask is None:
            self._num, self._age = num_envs, np.zeros(num_envs or 1, int)
        else:
            self._age[np.asarray(mask, bool)] = 0

    def select_action(self, observation: Any) -> Any:
        """Draw the next action of each environment."""
        if not len(self._age):
            self.reset()
        seen = np.asarray(observation) if self._num is not None else np.asarray(observation)[None]
        actions = self._drawn(self._rows(seen, self._age), self._rng)
        self._age += 1
        return actions if self._num is not None else actions[0]

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        """Return the likeliest next action, a chunk of one: (1,), or (N, 1)."""
        seen = np.asarray(observation) if self._num is not None else np.asarray(observation)[None]
        age = self._age if len(self._age) else np.zeros(1, int)
        chunk = self._rows(seen, age).argmax(-1)[:, None] + self.start
        return chunk if self._num is not None else chunk[0]

    def predict(self, observations: Any) -> np.ndarray:
        """Return a first action for each row, drawn with the same randomness each time."""
        seen = np.asarray(observations)
        return self._drawn(self._rows(seen, np.zeros(len(seen), int)), np.random.default_rng(0))

    def _rows(self, observations: np.ndarray, age: np.ndarray) -> np.ndarray:
        table = self.probabilities
        codes = state_codes(observations, table.shape[-2], "TabularPolicy")
        _check_ended(observations, codes, table.shape[-2])
        return table[codes] if table.ndim == 2 else table[np.minimum(age, len(table) - 1), codes]

    def _drawn(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return _draw(rows, rng) + self.start


def sample_episodes(
    mdp: MDP, policy: Any, episodes: int, *, max_steps: int, seed: int = 0, name: str = "episodes"
) -> Episodes:
    """Draw episodes of a policy in a world of tables, all at once.

    Args:
        mdp: The world.
        policy: π(a | s), (S, A), or (H, S, A), one table a step.
        episodes: How many.
        max_steps: Where each is cut off that does not end by itself.
        seed: Randomness.
        name: Name of the data.

    Returns:
        Episodes whose observations are codes in one column; −1 after an end.

    Raises:
        InputError: No problem, or no policy.
    """
    world = exact_rows(checked(mdp))
    table = TabularPolicy(policy).probabilities
    table = table[None] if table.ndim == 2 else table
    moves, each = np.asarray(world.transitions), np.asarray(world.rewards)
    rng = np.random.default_rng(seed)
    state = _draw(np.broadcast_to(np.asarray(world.start), (episodes, world.num_states)), rng)
    seen, done, paid = [state], [], []
    for t in range(max_steps):
        action = _draw(table[min(t, len(table) - 1), state], rng)
        rows = moves[state, action]
        left = 1 - rows.sum(-1, keepdims=True)
        after = _draw(np.concatenate([rows, np.where(left > SLACK, left, 0.0)], -1), rng)
        over = (state < 0) | (after == world.num_states)
        paid.append(np.where(state < 0, 0.0, each[state, action]))
        done.append(action)
        state = np.where(over, -1, after)
        seen.append(state)
    states, actions, rewards = np.stack(seen, 1), np.stack(done, 1), np.stack(paid, 1)
    lived = states >= 0
    lengths = np.minimum(lived.sum(1), max_steps)
    return Episodes(
        tuple(row[: n + 1] for row, n in zip(states, lengths, strict=True)),
        tuple(row[:n] for row, n in zip(actions, lengths, strict=True)),
        tuple(row[:n] for row, n in zip(rewards, lengths, strict=True)),
        terminated=~lived[:, -1],
        truncated=lived[:, -1],
        name=name,
    )


def _draw(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a column from each row of probabilities."""
    below = rng.random(len(rows))[:, None] < rows.cumsum(-1)
    return np.where(below.any(-1), below.argmax(-1), rows.argmax(-1))


def _check_ended(observations: np.ndarray, codes: Int[np.ndarray, "n"], num_states: int) -> None:
    """Refuse what is no state, but for what is seen after an end, where any action will do."""
    rows = np.asarray(observations).reshape(len(codes), -1)
    over = (rows == (-1 if rows.shape[1] == 1 else 0)).all(-1)
    wrong = (codes < 0) & ~over
    if wrong.any():
        row = int(wrong.argmax())
        shown = f"{rows[row, 0]:g}" if rows.shape[1] == 1 else "not one-hot"
        raise InputError(
            f"TabularPolicy: observation {row} is {shown}, none of the {num_states} states; give codes "
            f"0..{num_states - 1}, or one-hot rows (after an end, −1 or a row of zeros)"
        )


def state_codes(observations: Any, num_states: int, who: str) -> Int[np.ndarray, "n"]:
    """Return the states that observations show: codes in one column, or one-hot rows.

    Args:
        observations: (N, 1), (N, S), or (N,) codes.
        num_states: S.
        who: Names the reader in errors.

    Returns:
        Codes, (N,); −1 where a row is neither.

    Raises:
        InputError: Observations of another width.
    """
    seen = np.asarray(observations)
    seen = seen[:, None] if seen.ndim == 1 else seen
    if seen.ndim != 2 or seen.shape[1] not in (1, num_states):
        raise InputError(
            f"{who}: observations have shape {seen.shape}; states are codes 0..{num_states - 1} in one "
            f"column, or one-hot rows of {num_states}"
        )
    if seen.shape[1] == 1:
        codes = seen[:, 0]
        valid = (codes == np.floor(codes)) & (codes >= 0) & (codes < num_states)
        return np.where(valid, codes, -1).astype(np.int64)
    one_hot = (np.sort(seen, -1)[:, :-1] == 0).all(-1) & (seen.max(-1) == 1)
    return np.where(one_hot, seen.argmax(-1), -1)
