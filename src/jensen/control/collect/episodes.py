"""Experience gathered: a policy acts in many environments, and a replay keeps what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from jensen.control.collect.envs import AbstractEnvs, Copies, Vector
from jensen.control.collect.loop import play
from jensen.control.collect.record import maker
from jensen.control.policies.base import Policy
from jensen.control.policies.uniform import UniformPolicy
from jensen.control.replay.buffer import Replay
from jensen.control.replay.episode import Episode
from jensen.control.spaces import ActionSpace, action_space
from jensen.errors import InputError


class CollectionError(InputError):
    """Collecting broke off; ``replay`` holds every episode that had ended.

    Args:
        message: What, where, and how much is kept.
        replay: What was collected.

    Example:
        >>> def torn():
        ...     env = gymnasium.make("CartPole-v1")
        ...     return gymnasium.wrappers.TransformReward(env, lambda reward: float("nan"))
        >>> import gymnasium
        >>> try:
        ...     collect(torn, episodes=2)
        ... except CollectionError as error:
        ...     kept = error.replay
        >>> len(kept)
        0
    """

    def __init__(self, message: str, replay: Replay):
        super().__init__(message)
        self.replay = replay


def collect(
    env: Any,
    policy: Policy | Callable[[np.ndarray], Any] | None = None,
    *,
    episodes: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    into: Replay | None = None,
    num_envs: int = 8,
    max_steps: int = 10_000,
) -> Replay:
    """Let a policy act, and keep whole episodes.

    An id or a function is made ``num_envs`` times here, and episode i is reset with ``seed + i``, however
    many are stepped together. A ``VectorEnv`` is stepped as it is: under ``AutoresetMode.DISABLED`` episode
    i has ``seed + i`` too; under ``NEXT_STEP`` and ``SAME_STEP`` its first N episodes have, and later ones go
    on with each environment's own generator. A step that only resets is no transition.

    Args:
        env: An id known to Gymnasium, a function that makes an environment, an ``EnvSpec``, an environment
            (used itself, one episode after another), or a ``gymnasium.vector.VectorEnv``.
        policy: A policy, any function from observations (N, ...) to N actions, or ``None`` for actions drawn
            uniformly.
        episodes: How many, those that begin first; either this or ``steps``.
        steps: At least so many, less than N more; what is under way then is kept as truncated.
        seed: Of the first episode.
        into: Where they are kept; a new replay by default.
        num_envs: N, of environments made here.
        max_steps: Where an episode is cut off, as truncated, that does not end by itself.

    Returns:
        ``into``, or the new replay.

    Raises:
        CollectionError: An environment raised, changed the shape of what it shows, or gave a number that is
            not finite: which, in which episode, at which step. The episodes that had ended are in ``into``,
            and in the error's ``replay``.
        InputError: What was given cannot be used.
        MissingExtraError: Gymnasium is not installed.

    Example:
        >>> replay = collect("CartPole-v1", episodes=5)
        >>> len(replay), replay.space, replay[0].terminated
        (5, 2 choices from 0, True)
    """
    for name, count in (("episodes", episodes), ("steps", steps)):
        if count is not None and count < 1:
            raise InputError(f"collect: {name} is {count}; it must be at least 1")
    if (episodes is None) == (steps is None):
        raise InputError("collect: give episodes= or steps=, one of them")
    if num_envs < 1 or max_steps < 1:
        raise InputError(f"collect: num_envs={num_envs}, max_steps={max_steps}; they must be at least 1")
    if policy is not None and not isinstance(policy, Policy) and not callable(policy):
        raise InputError(
            f"collect: {type(policy).__name__} is neither a policy nor a function of observations"
        )
    return gathered(
        env,
        lambda space: UniformPolicy(space, seed=seed) if policy is None else policy,
        episodes=episodes,
        steps=steps,
        seed=seed,
        into=into,
        num_envs=num_envs,
        max_steps=max_steps,
    )


def gathered(
    env: Any,
    acts: Callable[[ActionSpace], Policy | Callable[[np.ndarray], Any]],
    *,
    episodes: int | None,
    steps: int | None = None,
    seed: int,
    into: Replay | None,
    num_envs: int,
    max_steps: int = 10_000,
) -> Replay:
    """Collect by the policy that is made for the actions there are; the rest as ``collect``."""
    envs = environments(env, num_envs if episodes is None else min(num_envs, episodes))
    try:
        space = action_space(envs.actions)
        into = Replay(name=envs.name) if into is None else into
        into.expect(space, envs.observations)
        _keep(play(envs, acts(space), seed=seed, max_steps=max_steps, episodes=episodes, steps=steps), into)
    finally:
        envs.close()
    return into


def _keep(played: Iterable[tuple[int, Episode]], into: Replay) -> None:
    """Put episodes into a replay as they end, and write what it holds, whatever happens."""
    before = into.added
    try:
        for _, episode in played:
            into.append(episode)
    except InputError as error:
        kept = into.added - before
        whole = f"{kept} whole episode{'s' * (kept != 1)} of this call"
        raise CollectionError(f"{error}; the replay keeps {whole}", into) from error.__cause__
    finally:
        into.flush()


def environments(env: Any, num_envs: int) -> AbstractEnvs:
    """Return N environments to step: a vector environment as it is, or copies.

    Raises:
        InputError: As ``collect``.
        MissingExtraError: Gymnasium is not installed.
    """
    vector = _vector_class()
    if vector is not None and isinstance(env, vector):
        return Vector(env)
    make, name, single = maker(env)
    return Copies([make() for _ in range(1 if single else num_envs)], name, owned=not single)


def _vector_class() -> type | None:
    try:
        from gymnasium.vector import VectorEnv
    except ImportError:  # said where environments are made
        return None
    return VectorEnv
