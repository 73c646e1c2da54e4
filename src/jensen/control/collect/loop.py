"""The one loop in which policies act: environments stepped together, episodes handed out as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jensen.control.collect.envs import AbstractEnvs, EnvFailedError, Taken
from jensen.control.policies.base import Policy
from jensen.control.replay.episode import Episode, Track
from jensen.errors import InputError


def play(
    envs: AbstractEnvs,
    policy: Policy | Callable[[np.ndarray], Any],
    *,
    seed: int,
    max_steps: int,
    episodes: int | None = None,
    steps: int | None = None,
) -> Iterator[tuple[int, Episode]]:
    """Let a policy act, and yield each episode as it ends, with its number in the order of beginnings.

    Of ``episodes``, those that begin first are taken, not those that end first: the latter are the short
    ones. After ``steps``, what is under way is cut off there.

    Args:
        envs: Environments that were not begun.
        policy: A policy, or a function from observations (N, ...) to N actions.
        seed: Of episode 0; episode i has ``seed + i`` where environments are reset from here.
        max_steps: Where an episode is cut off that does not end by itself.
        episodes: How many; no end by default.
        steps: How many, at least; no end by default.

    Raises:
        InputError: An environment raised, or what it or the policy gave is not finite: which, at which step.
    """
    loop = _Loop(envs, policy, seed, max_steps, episodes)
    while any(track is not None and track.wanted for track in loop.tracks):
        yield from loop.step()
        if steps is not None and loop.taken >= steps:
            yield from loop.cut()
            return


class _Loop:
    """Which episode is under way in each environment."""

    def __init__(self, envs: AbstractEnvs, policy: Any, seed: int, max_steps: int, episodes: int | None):
        self.envs, self.policy, self.seed, self.max_steps = envs, policy, seed, max_steps
        self.episodes = episodes
        self.taken = 0
        self.begun = envs.num
        self.tracks: list[Track | None] = []
        try:
            self.seen = envs.begin(seed)
        except EnvFailedError as failed:
            raise InputError(self._blame(failed)) from failed
        for i, first in enumerate(self.seen):
            self.tracks.append(self._track(i, seed + i, first))
        self.act = policy
        if isinstance(policy, Policy):
            policy.reset(num_envs=envs.num)
            self.act = policy.select_action

    def step(self) -> Iterator[tuple[int, Episode]]:
        """Take one step in every environment that has an episode."""
        actions = self._actions()
        live = np.array([track is not None for track in self.tracks])
        try:
            got = self.envs.step(actions.copy(), live)
        except EnvFailedError as failed:
            raise InputError(self._blame(failed)) from failed
        well = np.isfinite(got.rewards).all() and _is_finite(got.observations)
        over: list[int] = []
        for i in np.flatnonzero(live & got.real).tolist():
            track = self.tracks[i]
            assert track is not None
            if not well:
                self._check(track, got, i)
            track.take(actions[i], got.rewards[i], got.observations[i])
            self.taken += track.wanted
            if not (got.terminated[i] or got.truncated[i]) and track.steps < self.max_steps:
                continue
            over.append(i)
            track.over = True
            if track.wanted:
                yield track.number, _ended(track, got, i)
        self.seen = got.seen
        self._begin(over, got)

    def cut(self) -> Iterator[tuple[int, Episode]]:
        """End what is under way."""
        for track in self.tracks:
            if track is not None and track.wanted and track.steps and not track.over:
                yield track.number, track.end(terminated=False, truncated=True)

    def _begin(self, over: list[int], got: Taken) -> None:
        """Begin new episodes where others have ended, or note that environments did."""
        began = self._restart(over) if self.envs.restarts else self._noted(over, got)
        if began.any() and isinstance(self.policy, Policy):
            self.policy.reset(mask=began)

    def _restart(self, over: list[int]) -> np.ndarray:
        for i in over:
            self.tracks[i] = None
        if self.episodes is not None and self.envs.waits:
            over = over[: max(self.episodes - self.begun, 0)]
        began = np.isin(np.arange(self.envs.num), over)
        if not over:
            return began
        seeds = {i: self.seed + self.begun + k for k, i in enumerate(over)}
        try:
            self.seen = self.envs.restart(seeds)
        except EnvFailedError as failed:
            raise InputError(self._blame(failed)) from failed
        for i, seed in seeds.items():
            self.tracks[i] = self._track(self.begun, seed, self.seen[i])
            self.begun += 1
        return began

    def _noted(self, over: list[int], got: Taken) -> np.ndarray:
        for i in over:
            if not (got.terminated[i] or got.truncated[i]):
                raise InputError(
                    f"{self.envs.name}: {self.tracks[i]} has not ended after {self.max_steps} steps, and "
                    "this vector environment cannot be reset from outside; give it a TimeLimit, or "
                    "autoreset_mode=AutoresetMode.DISABLED"
                )
        for i in np.flatnonzero(got.begun).tolist():
            self.tracks[i] = self._track(self.begun, None, self.seen[i])
            self.begun += 1
        return got.begun

    def _track(self, number: int, seed: int | None, first: Any) -> Track:
        track = Track(number, seed, first, wanted=self.episodes is None or number < self.episodes)
        _check_finite(self.envs.name, first, f"the first observation of {track}")
        return track

    def _actions(self) -> np.ndarray:
        actions = np.array(self.act(self.seen))  # a copy: policies and environments may write to theirs
        if actions.ndim < 1 or len(actions) != self.envs.num:
            raise InputError(
                f"{self.envs.name}: the policy gave actions of shape {actions.shape} for {self.envs.num} "
                "observations; one a row is expected"
            )
        if actions.dtype.kind == "f" and not np.isfinite(actions).all():
            for track, action in zip(self.tracks, actions, strict=True):
                if track is not None and not np.isfinite(action).all():
                    raise InputError(
                        f"{self.envs.name}: the policy's action at step {track.steps} of {track} is not "
                        "finite"
                    )
        return actions

    def _check(self, track: Track, got: Taken, i: int) -> None:
        if not np.isfinite(got.rewards[i]):
            raise InputError(
                f"{self.envs.name}: the reward of step {track.steps} of {track} (environment {i}) is "
                f"{got.rewards[i]}"
            )
        where = f"the observation after step {track.steps} of {track}"
        _check_finite(self.envs.name, got.observations[i], where)

    def _blame(self, failed: EnvFailedError) -> str:
        if failed.index is None:
            return f"{self.envs.name}: the vector environment {failed.what} {self._when()}"
        track = self.tracks[failed.index] if failed.index < len(self.tracks) else None
        where = "" if track is None else f" at step {track.steps} of {track}"
        return f"{self.envs.name}: environment {failed.index} {failed.what}{where}"

    def _when(self) -> str:
        steps = [track.steps for track in self.tracks if track is not None]
        return f"at steps {min(steps)} to {max(steps)} of its episodes" if steps else "when it was reset"


def _ended(track: Track, got: Taken, i: int) -> Episode:
    terminated = bool(got.terminated[i])
    info = got.infos[i]
    return track.end(
        terminated=terminated,
        truncated=bool(got.truncated[i]) or not terminated,
        mode=str(info["mode"]) if "mode" in info else None,
        success=bool(info["is_success"]) if "is_success" in info else None,
    )


def _is_finite(seen: Any) -> bool:
    return seen.dtype.kind != "f" or bool(np.isfinite(seen).all())


def _check_finite(name: str, seen: Any, where: str) -> None:
    if _is_finite(seen):
        return
    entry = int(np.argmax(~np.isfinite(seen.reshape(-1))))
    raise InputError(f"{name}: {where} is not finite (entry {entry} is {seen.reshape(-1)[entry]})")
