"""Episodes by an environment's own demonstrator."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from jensen.datasets import Episodes
from jensen.envs.base import Env
from jensen.envs.make import make
from jensen.errors import InputError


def demonstrate(
    env: str | gymnasium.Env[Any, Any],
    episodes: int,
    *,
    shares: tuple[float, ...] | None = None,
    seed: int,
    noise: float | None = None,
) -> Episodes:
    """Record an environment's own demonstrator.

    Each episode's way is drawn from ``shares`` before the episode begins and by another random stream than
    its start, so that a start says nothing about the way.

    Args:
        env: An id like ``"jensen/Tree-v0"``, or an environment of `jensen.envs`, wrapped or not.
        episodes: How many.
        shares: Probability of each of the environment's ``modes``, in their order; equal ones if None.
        seed: Randomness of starts, ways and noise.
        noise: Standard deviation of the noise on the demonstrator's actions; None for the environment's own.

    Returns:
        N episodes with the way each took and whether it succeeded, failures included.

    Raises:
        InputError: An unknown id, an environment without a demonstrator, or shares that are not probabilities
            of its modes.

    Example:
        >>> demonstrate("jensen/Tree-v0", 20, shares=(0.2, 0.8), seed=0).modes.count("right") > 10
        True
    """
    if episodes < 1:
        raise InputError(f"episodes must be at least 1, not {episodes}")
    opened = make(env) if isinstance(env, str) else env
    name = opened.spec.id if opened.spec else type(opened.unwrapped).__name__
    inner = opened.unwrapped
    if not isinstance(inner, Env):
        raise InputError(f"{name} has no demonstrator of its own; record episodes of yours")
    starts, ways, wobble = np.random.SeedSequence(seed).spawn(3)
    modes = inner.modes or ("",)
    chosen = np.random.default_rng(ways).choice(len(modes), episodes, p=_checked(shares, inner.modes, name))
    rng = np.random.default_rng(wobble)
    first = int(starts.generate_state(1)[0])
    records = [
        _episode(opened, inner.demonstrator(modes[c], noise, rng), first if i == 0 else None)
        for i, c in enumerate(chosen)
    ]
    if isinstance(env, str):
        opened.close()
    seen, done, rewards, terminated, truncated, taken, successes = zip(*records, strict=True)
    return Episodes(
        seen,
        done,
        rewards,
        np.array(terminated),
        np.array(truncated),
        taken if inner.modes else (),
        np.array(successes),
        name,
    )


def _episode(env: gymnasium.Env[Any, Any], act: Any, seed: int | None) -> tuple[Any, ...]:
    """One episode: observations, actions, rewards, how it ended, the way taken, success."""
    observation, _ = env.reset(seed=seed)
    seen, done, rewards = [observation], [], []
    while True:
        action = act(observation)
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append(observation)
        done.append(action)
        rewards.append(reward)
        if terminated or truncated:
            break
    ends = terminated, truncated, info["mode"], info["is_success"]
    return np.stack(seen), np.stack(done), np.array(rewards), *ends


def _checked(shares: tuple[float, ...] | None, modes: tuple[str, ...], name: str) -> np.ndarray:
    """Probabilities of the ways."""
    count = max(len(modes), 1)
    if shares is None:
        return np.full(count, 1 / count)
    p = np.asarray(shares, np.float64)
    if p.shape != (count,) or not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > 1e-6:
        ways = ", ".join(modes) or "one way only"
        raise InputError(f"{name}: shares must be {count} probabilities ({ways}) that sum to 1, not {shares}")
    return p / p.sum()
