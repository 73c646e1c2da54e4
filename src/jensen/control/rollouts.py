"""Policies at work: copies of an environment stepped together, each episode with a seed of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jensen.control.policy import Policy
from jensen.datasets import Episodes
from jensen.errors import InputError, MissingExtraError, nearest

COPIES = 100
"""Most environments that are stepped together."""


def record(
    env: Any,
    policy: Policy | Callable[[np.ndarray], Any],
    episodes: int,
    *,
    seed: int = 0,
    max_steps: int = 10_000,
) -> Episodes:
    """Let a policy act, and keep what happened.

    Copies of the environment are stepped together; episode i is reset with ``seed + i``. The policy's own
    randomness goes on from call to call: for the same actions again, make it anew with the same key.

    Args:
        env: An id known to Gymnasium, a function that makes an environment, an ``EnvSpec``, or an
            environment; one that was not made from an id is used itself, one episode after another.
        policy: A policy, or any function from observations (N, S) to N actions.
        episodes: How many.
        seed: Of the first episode.
        max_steps: Where an episode is cut off that does not end by itself.

    Returns:
        The episodes; ``successes`` and ``modes`` where the environment reports ``info["is_success"]`` and
        ``info["mode"]`` at the end.

    Raises:
        InputError: An unregistered id (the nearest is named), observations that are no vectors, or one that
            is not finite: which episode, which step.
        MissingExtraError: Gymnasium is not installed.
    """
    if episodes < 1:
        raise InputError(f"record: episodes is {episodes}; it must be at least 1")
    make, name, single = maker(env)
    if not isinstance(policy, Policy) and not callable(policy):
        raise InputError(
            f"record: {type(policy).__name__} is neither a policy nor a function of observations"
        )
    copies = [make() for _ in range(1 if single else min(episodes, COPIES))]
    runs: list[_Run] = []
    try:
        for first in range(0, episodes, len(copies)):
            part = copies[: episodes - first]
            runs += _together(part, policy, [seed + first + i for i in range(len(part))], name, max_steps)
    finally:
        if not single:
            for copy in copies:
                copy.close()
    known = any(run.success is not None for run in runs)
    modes = tuple(run.mode or "" for run in runs) if any(run.mode is not None for run in runs) else ()
    return Episodes(
        tuple(np.stack(run.observations) for run in runs),
        tuple(np.stack(run.actions) for run in runs),
        tuple(np.array(run.rewards) for run in runs),
        np.array([run.terminated for run in runs]),
        np.array([run.truncated for run in runs]),
        modes=modes,
        successes=np.array([bool(run.success) for run in runs]) if known else None,
        name=name,
    )


def maker(env: Any) -> tuple[Callable[[], Any], str, bool]:
    """Return how to make copies of an environment, its name, and whether there can be only the one.

    Raises:
        InputError: An unregistered id, with the nearest; or nothing an environment can be made from.
        MissingExtraError: Gymnasium is not installed.
    """
    try:
        import gymnasium
        from gymnasium.envs.registration import EnvSpec
    except ImportError:
        raise MissingExtraError("environments need Gymnasium: pip install 'jensen[rl]'") from None
    if isinstance(env, gymnasium.Env):
        if env.spec is None:
            return (lambda: env), type(env.unwrapped).__name__, True
        env = env.spec
    if isinstance(env, str):
        _known(env, gymnasium)
        return (lambda: gymnasium.make(env)), env, False
    if isinstance(env, EnvSpec):
        return (lambda: gymnasium.make(env)), env.id, False
    if callable(env):
        return env, getattr(env, "__name__", "environment"), False
    raise InputError(f"an environment is an id, a function that makes one, or an EnvSpec, not {type(env)}")


def _known(name: str, gymnasium: Any) -> None:
    importlib.import_module("jensen.envs")  # as Gymnasium itself imports what stands before a colon
    if ":" in name:  # module:id, which Gymnasium imports first
        return
    if name not in gymnasium.registry:
        bare = name.split("/")[-1].lower()
        close = next((known for known in gymnasium.registry if known.split("/")[-1].lower() == bare), name)
        raise InputError(f"no environment {name!r} is registered{nearest(close, list(gymnasium.registry))}")


class _Run:
    """One episode as it happens."""

    def __init__(self, observation: np.ndarray):
        self.observations = [observation]
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.terminated = self.truncated = False
        self.success: bool | None = None
        self.mode: str | None = None

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated

    def take(self, env: Any, action: Any, max_steps: int) -> Any:
        observation, reward, terminated, truncated, info = env.step(action)
        self.actions.append(np.asarray(action))
        self.rewards.append(float(reward))
        self.terminated = bool(terminated)
        self.truncated = bool(truncated) or (not terminated and len(self.actions) >= max_steps)
        if self.done:
            self.success = None if "is_success" not in info else bool(info["is_success"])
            self.mode = None if "mode" not in info else str(info["mode"])
        return observation


def _together(envs: list[Any], policy: Any, seeds: list[int], name: str, max_steps: int) -> list[_Run]:
    """Run one episode in each environment."""
    runs = [
        _Run(_vector(env.reset(seed=seed)[0], name, seed, 0)) for env, seed in zip(envs, seeds, strict=True)
    ]
    act = policy
    if isinstance(policy, Policy):
        policy.reset(num_envs=len(envs))
        act = policy.select_action
    while not all(run.done for run in runs):
        actions = act(np.stack([run.observations[-1] for run in runs]))
        for env, run, action, seed in zip(envs, runs, actions, seeds, strict=True):
            if not run.done:
                seen = run.take(env, action, max_steps)
                run.observations.append(_vector(seen, name, seed, len(run.actions)))
    return runs


def _vector(observation: Any, name: str, seed: int, step: int) -> np.ndarray:
    if isinstance(observation, dict | tuple):
        raise InputError(
            f"{name}: observations are a {type(observation).__name__}; wrap the environment in "
            "gymnasium.wrappers.FlattenObservation"
        )
    values = np.asarray(observation)
    if values.ndim != 1:
        raise InputError(
            f"{name}: an observation has shape {values.shape}, vectors are expected; wrap the environment in "
            "gymnasium.wrappers.FlattenObservation"
        )
    if not np.isfinite(values).all():
        column = int(np.argmax(~np.isfinite(values)))
        raise InputError(
            f"{name}: the observation after step {step} of the episode with seed {seed} is not finite (entry "
            f"{column} is {values[column]}); stopped"
        )
    # a copy: some environments hand out the array they go on writing to
    return np.array(values, np.float32 if values.dtype.kind != "f" else values.dtype)
