"""Actions drawn uniformly: where collecting begins, and the least that any policy must beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from jensen.control.policies.base import Policy
from jensen.control.spaces import ActionSpace, BoxActions, DiscreteActions, action_space
from jensen.errors import InputError

HELD = 10
"""Steps for which a world is shown each random push, where nobody says."""


def usual_repeat(space: ActionSpace) -> int:
    """Return how many steps a random action is held for a world model to learn from it.

    Real pushes that change at every step cancel: what takes a swing to reach would never be seen.

    Example:
        >>> import gymnasium
        >>> push, button = gymnasium.spaces.Box(-2.0, 2.0), gymnasium.spaces.Discrete(3)
        >>> usual_repeat(action_space(push)), usual_repeat(action_space(button))
        (10, 1)
    """
    return HELD if isinstance(space, BoxActions) else 1


class UniformPolicy(Policy):
    """Draws every action uniformly, and may hold it for some steps.

    Args:
        space: A Gymnasium space of actions, or an ``ActionSpace``.
        repeat: Steps an action is held; a new episode draws anew.
        seed: Randomness of the actions.

    Raises:
        InputError: A space without bounds, or no step.

    Example:
        >>> import gymnasium
        >>> policy = UniformPolicy(gymnasium.spaces.Discrete(3), repeat=2)
        >>> policy.reset(num_envs=4)
        >>> first, again = (policy.select_action(np.zeros((4, 2))) for _ in range(2))
        >>> first.shape, bool((first == again).all())
        ((4,), True)
    """

    def __init__(self, space: Any, *, repeat: int = 1, seed: int = 0):
        self.space: ActionSpace = action_space(space)
        if repeat < 1:
            raise InputError(f"UniformPolicy: repeat is {repeat}; it must be at least 1")
        if isinstance(self.space, BoxActions) and not np.isfinite(self.space.high - self.space.low).all():
            raise InputError(f"UniformPolicy: nothing is uniform over {self.space}; give a policy")
        self.repeat = repeat
        self._rng = np.random.default_rng(seed)
        self._num: int | None = None
        self._age = np.zeros(0, int)
        self._held = np.zeros(0)

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        """Begin new episodes; see ``Policy.reset``."""
        if mask is None:
            self._num = num_envs
            self._held = self._drawn(num_envs or 1)
            self._age = np.full(num_envs or 1, self.repeat)
        else:
            self._age[np.asarray(mask, bool)] = self.repeat

    def select_action(self, observation: Any) -> Any:
        """Return an action for each environment, whatever it shows."""
        if not len(self._age):
            self.reset()
        due = self._age >= self.repeat
        # every environment draws at every step, so that one's actions do not depend on another's episodes
        self._held = np.where(
            due.reshape(-1, *[1] * (self._held.ndim - 1)), self._drawn(len(due)), self._held
        )
        self._age = np.where(due, 1, self._age + 1)
        return self._held.copy() if self._num is not None else self._held[0]

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        """Return another action, a chunk of one: (1, ...), or (N, 1, ...)."""
        drawn = self._drawn(len(self._age) or 1)
        return drawn[:, None] if self._num is not None else drawn

    def predict(self, observations: Any) -> np.ndarray:
        """Return one action a row, the same for as many rows."""
        return self._drawn(len(observations), np.random.default_rng(0))

    def _drawn(self, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
        rng = self._rng if rng is None else rng
        space = self.space
        if isinstance(space, DiscreteActions):
            return rng.integers(space.start, space.start + space.n, count)
        assert isinstance(space, BoxActions)
        return space.finish(rng.uniform(space.low, space.high, (count, space.size)))
