"""Policies at work: copies of an environment stepped together, each episode with a seed of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jensen.control.collect.envs import Copies
from jensen.control.collect.loop import play
from jensen.control.policies.base import Policy
from jensen.control.replay.episode import recorded
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
        env: An id known to Gymnasium, a function that makes an environment, or an ``EnvSpec``, made as often
            as need be; or an environment, used itself, one episode after another.
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
    made = [make() for _ in range(1 if single else min(episodes, COPIES))]
    envs = Copies(made, name, owned=not single, vectors=True)
    try:
        played = sorted(
            play(envs, policy, seed=seed, max_steps=max_steps, episodes=episodes), key=lambda pair: pair[0]
        )
    finally:
        envs.close()
    return recorded([episode for _, episode in played], name)


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
    if isinstance(env, gymnasium.Env):  # a copy made from its id would lose what was done to it
        name = type(env.unwrapped).__name__ if env.spec is None else env.spec.id
        return (lambda: env), name, True
    if isinstance(env, str):
        _known(env, gymnasium)
        return partial(_built, env, env, gymnasium), env, False
    if isinstance(env, EnvSpec):
        return partial(_built, env, env.id, gymnasium), env.id, False
    if callable(env):
        return env, getattr(env, "__name__", "environment"), False
    raise InputError(f"an environment is an id, a function that makes one, or an EnvSpec, not {type(env)}")


def _built(source: Any, name: str, gymnasium: Any) -> Any:
    try:
        return gymnasium.make(source)
    except (ImportError, gymnasium.error.Error) as error:
        raise unbuilt(name, error) from None


def unbuilt(name: str, error: Exception) -> InputError:
    """Return the line on an environment that cannot be built, by the first line of the reason."""
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(f"{name} cannot be built: {reason}")


def _known(name: str, gymnasium: Any) -> None:
    importlib.import_module("jensen.envs")  # as Gymnasium itself imports what stands before a colon
    if ":" in name:  # module:id, which Gymnasium imports first
        return
    if name not in gymnasium.registry:
        bare = name.split("/")[-1].lower()
        close = next((known for known in gymnasium.registry if known.split("/")[-1].lower() == bare), None)
        maker = name.rpartition("/")[0]
        if close is None and maker and not any(known.startswith(f"{maker}/") for known in gymnasium.registry):
            raise InputError(
                f"no environment {name!r} is registered, nor any of {maker}: write 'module:{name}' with the "
                "module that registers them"
            )
        hint = nearest(close or name, list(gymnasium.registry))
        raise InputError(f"no environment {name!r} is registered{hint}")
