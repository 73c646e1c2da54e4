"""Inverse reinforcement learning where dynamics can be played but are not known: estimate them as you go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jensen.algorithms.mdp import MDP, checked
from jensen.control.irl.demonstrations import coded
from jensen.control.irl.infer import Inferred, infer
from jensen.control.irl.model import SoftOptimal
from jensen.control.irl.rewards import AbstractReward
from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError, check_key
from jensen.typing import PRNGKey


def estimated(episodes: Sequence[Any], num_states: int, num_actions: int) -> MDP:
    """Return the world that makes recorded episodes most probable: p̂(s' | s, a) = n(s, a, s')/n(s, a).

    An end that shows no state (−1, or a row of zeros) is an end, with the frequency it came; one that shows a
    state is a step into it. What was never tried is taken to stay where it is, so that nobody plans a way
    through it. Rewards are zero.

    Args:
        episodes: Sets of episodes, each as ``demonstrated`` reads them.
        num_states: S.
        num_actions: A.

    Raises:
        InputError: No episodes, vector actions, or a code outside the tables: which episode, which step.

    Example:
        >>> shown = ([np.array([0, 1, 1]), np.array([0, 0])], [np.array([1, 0]), np.array([1])])
        >>> np.asarray(estimated([shown], 2, 2).transitions)[0]  # never tried, and once of two times
        array([[1. , 0. ],
               [0.5, 0.5]], dtype=float32)
    """
    seen = _Seen(num_states, num_actions)
    for recorded in map(load_episodes, episodes):
        seen.add(recorded)
    return seen.world()


class _Seen:
    """How often what followed what, over all episodes so far."""

    def __init__(self, num_states: int, num_actions: int):
        self.moves = np.zeros((num_states, num_actions, num_states))
        self.tried = np.zeros((num_states, num_actions))
        self.start = np.zeros(num_states)

    def add(self, episodes: Episodes) -> None:
        """Count one more set of episodes."""
        num_states, num_actions = self.tried.shape
        over = np.asarray(episodes.terminated)
        for number, (codes, acts) in enumerate(coded(episodes, num_states)):
            unknown = (codes[:-1] < 0) | (acts < 0) | (acts >= num_actions)
            if not over[number]:
                unknown[-1] |= codes[-1] < 0
            if unknown.any():
                raise InputError(
                    f"{episodes.name}: episode {number}, step {int(unknown.argmax())}: a state or an action "
                    f"outside the tables of {num_states} states and {num_actions} actions"
                )
            self.start[codes[0]] += 1
            np.add.at(self.tried, (codes[:-1], acts), 1)
            goes_on = codes[1:] >= 0
            np.add.at(self.moves, (codes[:-1][goes_on], acts[goes_on], codes[1:][goes_on]), 1)

    def world(self) -> MDP:
        """Return the frequencies as a world, without rewards."""
        if not self.start.any():
            raise InputError("estimated: no episodes; there is nothing to estimate dynamics from")
        tried, stay = self.tried[..., None], np.eye(len(self.start))[:, None]
        moves = np.where(tried > 0, self.moves / np.maximum(tried, 1), stay)
        start = self.start / self.start.sum()
        return checked(MDP(jnp.asarray(moves), jnp.zeros(self.tried.shape), jnp.asarray(start)))


@dataclass(frozen=True)
class Played:
    """What ``infer_played`` found.

    Attributes:
        found: The last inference, in the world as last estimated.
        world: That world.
        tried: Share of the states and actions that were ever tried.
    """

    found: Inferred
    world: MDP
    tried: float


def infer_played(
    demonstrations: Any,
    play: Callable[[np.ndarray, int], Episodes],
    reward: AbstractReward,
    *,
    num_actions: int,
    key: PRNGKey,
    rounds: int = 3,
    **options: Any,
) -> Played:
    """Infer a reward, of any form, in dynamics that are not known: play, estimate them, infer, play that.

    The first round plays even odds, each later one the policy of the reward inferred before it, mixed with
    even odds half and half, so that what the reward makes attractive is looked at before it is believed.

    Args:
        demonstrations: As ``demonstrated`` reads them.
        play: From π(a | s), (S, A) or (H, S, A), and the number of the round to episodes of it.
        reward: The form; every inference begins at its parameters.
        num_actions: A.
        key: Randomness of the fits.
        rounds: Times to play.
        **options: ``temperature``, ``horizon`` and ``discount`` of ``SoftOptimal``; the others of ``infer``.

    Returns:
        The reward and policy, the world they were found in, and how much of it was ever tried.

    Raises:
        InputError: No rounds; what ``estimated`` and ``infer`` refuse.

    References:
        Herman et al. 2016, Inverse reinforcement learning with simultaneous estimation of rewards and
        dynamics; the alternation here is simpler.

    Example:
        >>> from jensen.control import irl, soft
        >>> from jensen.control.policies.tabular import sample_episodes
        >>> from jensen import envs
        >>> world = envs.CliffWorld().mdp()  # only played in
        >>> expert = soft.soft_control(world, temperature=1.0, horizon=8)
        >>> shown = sample_episodes(world, expert.policy, 10, max_steps=8, seed=0)
        >>> def play(policy, number):
        ...     return sample_episodes(world, policy, 100, max_steps=8, seed=1 + number)
        >>> played = infer_played(
        ...     shown, play, irl.StateReward(world.num_states), num_actions=4, horizon=8,
        ...     prior_scale=10.0, steps=50, rounds=2, key=jax.random.key(0))
        >>> played.found.policy.shape, played.tried > 0.5
        ((8, 28, 4), True)
    """
    check_key(key)
    if rounds < 1:
        raise InputError(f"infer_played: rounds is {rounds}; it must be at least 1")
    shape = reward.table().shape[0], num_actions
    form = {name: options.pop(name) for name in ("temperature", "horizon", "discount") if name in options}
    shown, seen, even = load_episodes(demonstrations), _Seen(*shape), np.full(shape, 1 / num_actions)
    seen.add(shown)

    def once(policy: np.ndarray, number: int) -> tuple[Inferred, MDP]:
        seen.add(load_episodes(play((policy + even) / 2, number)))
        world = seen.world()
        agent = SoftOptimal(world, reward, **form)
        return infer(agent, shown, key=jax.random.fold_in(key, number), **options), world

    found, world = once(even, 0)
    for number in range(1, rounds):
        found, world = once(np.asarray(found.policy), number)
    return Played(found, world, float((seen.tried > 0).mean()))
