"""A Gymnasium vector environment whose rewards hold a bonus."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jensen.control.explore.moments import Moments
from jensen.control.explore.transitions import AbstractBonus, Transitions
from jensen.errors import InputError, MissingExtraError, at_least, check_key, positive
from jensen.typing import Array, Float, PRNGKey

try:
    import gymnasium
    from gymnasium.vector import AutoresetMode
except ImportError:
    raise MissingExtraError("BonusVecEnv needs Gymnasium: pip install 'jensen[rl]'") from None


class BonusVecEnv(gymnasium.vector.VectorWrapper):
    r"""Rewards are r + weight · bonus / σ: the learner sees one reward, and its values carry the bonus back.

    A bonus added to advantages instead never reaches the states that lead to it. σ is the running standard
    deviation of discounted sums of the bonus (Burda et al. 2019), so that ``weight`` does not depend on the
    bonus's units. While those sums vary alike it means the same all along; where they hardly vary any more, σ
    falls, and what is added to the rewards grows, of a constant bonus as √t.

    Each step's bonus is taken before the bonus learns from the step; the step after an episode's end, which
    only resets (NEXT_STEP), has neither reward nor bonus and teaches nothing.

    ``info["extrinsic_reward"]`` and ``info["bonus"]`` (not scaled) hold both parts of each step;
    ``info["extrinsic_return"]`` the environment's own return of an episode so far, and of the whole at its
    end.

    Args:
        env: A vector environment with Box or Discrete actions and Box observations.
        bonus: What is new. It reads observations laid out (N, S), and actions (N, A), one-hot if Discrete.
        weight: Of a typical bonus, in units of reward.
        discount: γ of the sums.
        update_every: Steps gathered before the bonus learns from them.
        key: Randomness of the bonus's learning.

    Raises:
        InputError: A space that is not supported, or a number out of range.

    Example:
        >>> import gymnasium
        >>> from jensen.control.explore import Coded, Counts, GridCells
        >>> env = gymnasium.make_vec("CartPole-v1", num_envs=2)
        >>> cells = GridCells([-2.4, -3, -0.2, -3], [2.4, 3, 0.2, 3], (4, 4, 4, 4))
        >>> env = BonusVecEnv(env, Coded(Counts(cells.num, 2), cells), key=jax.random.key(0))
        >>> _ = env.reset(seed=0)
        >>> _, rewards, _, _, info = env.step(np.array([0, 1]))
        >>> info["extrinsic_reward"].tolist(), info["bonus"].tolist(), bool((rewards > 1).all())
        ([1.0, 1.0], [1.0, 1.0], True)
    """

    def __init__(
        self,
        env: Any,
        bonus: AbstractBonus,
        *,
        weight: float = 1.0,
        discount: float = 0.99,
        update_every: int = 1,
        key: PRNGKey,
    ):
        super().__init__(env)
        check_key(key)
        positive("BonusVecEnv", weight=weight)
        at_least("BonusVecEnv", 1, update_every=update_every)
        if not 0 <= discount <= 1:
            raise InputError(f"BonusVecEnv: discount is {discount:g}; it must be within 0..1")
        self._actions = _reader(env.single_action_space)
        _check_observations(env.single_observation_space)
        self.bonus, self._weight, self._discount, self._every = bonus, weight, discount, update_every
        self._key = key
        self._mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._sums = np.zeros(self.num_envs, np.float32)
        # the sums begin at 0, which counts: or the first step's deviation between copies, however small,
        # would be the unit of the first bonus
        self._scale = _counted(Moments.none(()), jnp.asarray(self._sums), jnp.ones(self.num_envs))
        self._returns = np.zeros(self.num_envs)
        self._resets = np.zeros(self.num_envs, bool)
        self._steps = np.zeros(self.num_envs, int)
        self._last: np.ndarray | None = None
        self._gathered: list[Transitions] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Reset every environment; what the bonus has learnt stays."""
        again = np.ones(self.num_envs, bool)
        if options is not None and "reset_mask" in options:
            again = np.array(options["reset_mask"], bool)  # read first: SyncVectorEnv takes it out
        observations, info = self.env.reset(seed=seed, options=options)
        self._last = np.array(observations)
        self._returns[again], self._resets[again], self._sums[again] = 0.0, False, 0.0
        self._steps[again] = 0
        return observations, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step; the rewards are the environments' own with the scaled bonus added.

        Raises:
            InputError: ``step`` before ``reset``, or a reward that is not finite.
        """
        if self._last is None:
            raise InputError("BonusVecEnv: step() before reset(); there is no observation to begin from")
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        self._check(rewards)
        happened = ~self._resets
        after = _final(observations, info) if self._mode == AutoresetMode.SAME_STEP else observations
        steps = Transitions(
            _laid_out(self._last), self._actions(actions), _laid_out(after), happened.astype(np.float32)
        )
        worth = self._judged(steps)
        done = np.asarray(terminated) | np.asarray(truncated)
        self._returns = np.where(happened, self._returns, 0.0) + np.asarray(rewards, np.float64) * happened
        info = {
            **info,
            "extrinsic_reward": np.array(rewards),
            "bonus": worth,
            "extrinsic_return": self._returns.copy(),
        }
        if self._mode == AutoresetMode.SAME_STEP:
            self._returns[done] = 0.0
        self._steps = np.where(done, 0, self._steps + happened)
        self._resets = done & (self._mode == AutoresetMode.NEXT_STEP)
        self._last = np.array(observations)
        scaled = self._weight * worth / float(self._scale.scale())
        return observations, np.asarray(rewards) + scaled, terminated, truncated, info

    def _judged(self, steps: Transitions) -> Float[np.ndarray, "n"]:
        """Return the bonus of each, then let scale and bonus learn."""
        worth = np.asarray(_bonus(self.bonus, steps))
        if not np.isfinite(worth).all():
            copy = int(np.argmax(~np.isfinite(worth)))
            raise InputError(
                f"BonusVecEnv: the bonus of environment {copy} is {worth[copy]}; lower its learning rate"
            )
        happened = np.asarray(steps.happened)
        self._sums = np.where(happened > 0, self._discount * self._sums + worth, self._sums)
        self._scale = _counted(self._scale, jnp.asarray(self._sums), jnp.asarray(happened))
        self._gathered.append(steps)
        if len(self._gathered) == self._every:
            joined = Transitions(*(np.concatenate(parts) for parts in zip(*self._gathered, strict=True)))
            self._key, key = jax.random.split(self._key)
            self.bonus = _update(self.bonus, joined, key)
            self._gathered = []
        return worth

    def _check(self, rewards: Any) -> None:
        if not np.isfinite(rewards).all():
            copy = int(np.argmax(~np.isfinite(rewards)))
            raise InputError(
                f"BonusVecEnv: the reward of environment {copy} at step {self._steps[copy]} of its episode "
                f"is {np.asarray(rewards)[copy]}; correct the environment"
            )


@eqx.filter_jit
def _bonus(bonus: AbstractBonus, steps: Transitions) -> Array:
    return bonus.bonus(steps)


@eqx.filter_jit
def _update(bonus: AbstractBonus, steps: Transitions, key: PRNGKey) -> AbstractBonus:
    return bonus.update(steps, key=key)


@eqx.filter_jit
def _counted(scale: Moments, sums: Array, happened: Array) -> Moments:
    return scale.updated(sums, happened)


def _laid_out(observations: Any) -> Float[np.ndarray, "n s"]:
    rows = np.asarray(observations, np.float32)
    return rows.reshape(len(rows), -1)


def _final(observations: Any, info: dict[str, Any]) -> np.ndarray:
    """Return o_{t+1} of every environment: of one that ended and was reset at once, its last observation."""
    after = np.array(observations)
    ended = info.get("_final_obs", np.zeros(len(after), bool))
    for copy in np.flatnonzero(ended):
        after[copy] = info["final_obs"][copy]
    return after


def _reader(space: Any) -> Any:
    """Return how actions become rows."""
    if isinstance(space, gymnasium.spaces.Discrete):
        rows = np.eye(int(space.n), dtype=np.float32)
        return lambda actions: rows[np.asarray(actions) - int(space.start)]
    if isinstance(space, gymnasium.spaces.Box):
        return _laid_out
    raise InputError(
        f"BonusVecEnv: actions of a {type(space).__name__} space are not supported; Box and Discrete are"
    )


def _check_observations(space: Any) -> None:
    if not isinstance(space, gymnasium.spaces.Box):
        raise InputError(
            f"BonusVecEnv: observations of a {type(space).__name__} space are not supported; wrap the "
            "environment in gymnasium.wrappers.vector.FlattenObservation"
        )
