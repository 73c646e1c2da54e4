"""How far a planner's imagination is from what then happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jensen.control.collect.record import COPIES, record
from jensen.control.plan.policy import Planner
from jensen.control.policies.base import Policy
from jensen.datasets import Episodes
from jensen.errors import InputError


@dataclass(frozen=True, eq=False)
class Foresight:
    """Episodes of a planner, with what it imagined at every step.

    Attributes:
        episodes: What happened.
        imagined: Return of the plan made at each step, over the horizon, one (T_i,) an episode.
        real: What the H actions from there on then earned, those of later plans, discounted alike; NaN where
            a time limit hides a part of it.
    """

    episodes: Episodes
    imagined: tuple[np.ndarray, ...]
    real: tuple[np.ndarray, ...]

    @property
    def optimism(self) -> np.ndarray:
        """Mean of imagined minus real return over the steps of each episode, (N,); NaN for a short one."""
        gaps = [a - b for a, b in zip(self.imagined, self.real, strict=True)]
        return np.array([np.nanmean(gap) if np.isfinite(gap).any() else np.nan for gap in gaps])

    def __repr__(self) -> str:
        gaps = self.optimism[np.isfinite(self.optimism)]
        over = (
            f"optimism {gaps.mean():.3g} on average, {gaps.min():.3g} to {gaps.max():.3g}"
            if len(gaps)
            else "too short to hold imagined returns against real ones"
        )
        return f"Foresight({len(self.imagined)} episodes: {over})"


def foresee(policy: Policy, env: Any, episodes: int, *, seed: int = 0) -> Foresight:
    """Let a planner act, and compare what it imagined with what it got.

    Later plans may be better than the one imagined, so that the difference may be negative too. A terminal
    value is part of what is imagined, and of nothing real: leave it out.

    Args:
        policy: A planner.
        env: As in ``record``.
        episodes: How many, at most 100.
        seed: Of the first episode.

    Raises:
        InputError: As ``record``; too many episodes; a policy that makes no plans.
    """
    if not isinstance(policy, Planner):
        raise InputError(
            f"foresee: a {type(policy).__name__} makes no plans to compare; give a control.Planner"
        )
    if episodes > COPIES:
        raise InputError(f"foresee: {episodes} episodes; at most {COPIES} are watched at once")
    watched = _Watched(policy)
    done = record(env, watched, episodes, seed=seed)
    values = np.stack(watched.values, 1)
    lengths, search = done.lengths, policy.search
    if len(values) == 1:  # the environment itself was used, one episode after another
        imagined = tuple(np.split(values[0], np.cumsum(lengths)[:-1]))
    else:
        imagined = tuple(row[:length] for row, length in zip(values, lengths, strict=True))
    assert done.rewards is not None and done.terminated is not None  # filled in when they were made
    real = tuple(
        _earned(paid, search.horizon, search.discount, bool(over))
        for paid, over in zip(done.rewards, done.terminated, strict=True)
    )
    return Foresight(done, imagined, real)


def _earned(rewards: np.ndarray, horizon: int, discount: float, ended: bool) -> np.ndarray:
    """Return Σ_{k<H} γᵏ r_{t+k} at every step."""
    padded = np.concatenate([rewards, np.full(horizon - 1, 0.0 if ended else np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, horizon)
    return windows @ discount ** np.arange(horizon)


class _Watched(Policy):
    """A planner that notes the value of each plan."""

    def __init__(self, planner: Planner):
        self.planner = planner
        self.values: list[np.ndarray] = []

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        self.planner.reset(num_envs, mask=mask)

    def select_action(self, observation: Any) -> Any:
        action = self.planner.select_action(observation)
        assert self.planner.plans is not None  # it has just planned
        self.values.append(np.atleast_1d(np.asarray(self.planner.plans.value)))
        return action

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        return self.planner.predict_action_chunk(observation)

    def predict(self, observations: Any) -> np.ndarray:
        return self.planner.predict(observations)
