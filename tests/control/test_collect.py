"""Collecting: one loop under every kind of environment, what is kept when something breaks, and seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from jensen.control import CollectionError, Policy, Replay, UniformPolicy, collect, record
from jensen.errors import InputError


class Count(gymnasium.Env):
    """Counts its steps, and ends after a number of them that it draws: at an odd number by itself.

    Args:
        breaks: What happens, ``"raise"``, ``"reward"``, ``"observation"`` or ``"shape"``, at step 2 of the
            third episode.
        shares: Whether it hands out the array that it goes on writing to.
    """

    def __init__(self, breaks: str = "", kind: Any = np.float64, shares: bool = False):
        self.observation_space = gymnasium.spaces.Box(0, 200, (2, 2), kind)
        self.action_space = gymnasium.spaces.Discrete(3, start=1)
        self.shares = shares
        self.breaks, self.episode, self.shown = breaks, -1, np.zeros((2, 2), kind)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.episode += 1
        self.length, self.step_, self.base = self.np_random.integers(1, 7), 0, self.np_random.integers(0, 90)
        self.shown[:] = self.base
        return self.shown if self.shares else self.shown.copy(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action) and self.step_ < self.length
        self.step_ += 1
        self.shown[:] = self.base + self.step_
        sick = self.breaks if self.step_ == 2 and self.episode == 2 else ""
        if sick == "raise":
            raise RuntimeError("the wheel came off")
        seen = (
            np.full((2, 2), np.nan)
            if sick == "observation"
            else self.shown
            if self.shares
            else self.shown.copy()
        )
        seen = np.zeros(3) if sick == "shape" else seen
        over, odd = self.step_ == self.length, self.length % 2 == 1
        reward = np.nan if sick == "reward" else float(action) * self.step_
        return seen, reward, bool(over and odd), bool(over and not odd), {"is_success": bool(odd)}


def third(seen: np.ndarray) -> np.ndarray:
    """Act by what is seen alone."""
    return seen[:, 0, 0].astype(int) % 3 + 1


def alone(seeds: list[int | None], act: Callable[[np.ndarray], np.ndarray] = third) -> list[dict[str, Any]]:
    """The plainest of loops: one environment, one episode after another."""
    env, told = Count(), []
    for seed in seeds:
        seen = [np.array(env.reset(seed=seed)[0])]
        acts, paid, over, cut = [], [], False, False
        while not (over or cut):
            acts.append(act(seen[-1][None])[0])
            shown, reward, over, cut, _ = env.step(acts[-1])
            seen.append(np.array(shown))
            paid.append(reward)
        told.append({"seen": np.stack(seen), "acts": acts, "paid": paid, "over": over, "cut": cut})
    return told


def same(kept: Any, told: dict[str, Any]) -> bool:
    return (
        np.array_equal(kept.observations, told["seen"])
        and np.array_equal(kept.actions, told["acts"])
        and np.array_equal(kept.rewards, told["paid"])
        and (kept.terminated, kept.truncated) == (told["over"], told["cut"])
    )


@pytest.mark.parametrize("count", [1, 3, 8])
def test_copies_as_a_plain_loop(count: int):
    replay = collect(lambda: Count(shares=True), third, episodes=8, seed=5, num_envs=count)
    told = alone([5 + i for i in range(8)])
    buffer = np.zeros(count, int)
    reused = collect(
        Count, lambda seen: np.copyto(buffer, third(seen)) or buffer, episodes=8, seed=5, num_envs=count
    )
    assert reused.returns.tolist() == replay.returns.tolist()
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(reused, replay, strict=True))
    assert sorted(e.seed for e in replay) == [5 + i for i in range(8)]
    assert all(same(e, told[e.seed - 5]) and e.success == told[e.seed - 5]["over"] for e in replay)
    assert replay.steps == sum(len(t["acts"]) for t in told) and {e.terminated for e in replay} == {
        True,
        False,
    }


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vectors_as_a_plain_loop(mode: AutoresetMode):
    envs = SyncVectorEnv([Count] * 3, autoreset_mode=mode)
    replay = collect(envs, third, episodes=9, seed=5)
    assert len(replay) == 9
    if mode is AutoresetMode.DISABLED:
        told = alone([5 + i for i in range(9)])
        assert all(same(e, told[e.seed - 5]) for e in replay)
    else:
        # each environment goes on with its own generator: what it would have done alone, in some order
        told = [alone([5 + i] + [None] * 8) for i in range(3)]
        left = [list(own) for own in told]
        for episode in replay:
            (found,) = [own for own in left if own and same(episode, own[0])][:1]
            found.pop(0)
        assert sum(len(own) for own in left) == 27 - 9
        assert sorted(e.seed for e in replay if e.seed is not None) == [5, 6, 7]
    assert collect(envs, third, episodes=9, seed=5).returns.tolist() == replay.returns.tolist()
    envs.close()


def test_final_observations_are_kept():
    for mode in AutoresetMode:
        replay = collect(SyncVectorEnv([Count] * 2, autoreset_mode=mode), third, steps=40)
        # an episode counts up by one a step: a reset within it, or a lost last observation, would show
        assert all((np.diff(e.observations[:, 0, 0]) == 1).all() for e in replay)
        assert replay.steps in (40, 41)


def test_those_that_begin_first_are_taken():
    lengths = [len(t["acts"]) for t in alone([5 + i for i in range(40)])]
    replay = collect(Count, third, episodes=40, seed=5, num_envs=7)
    assert sorted(len(e) for e in replay) == sorted(lengths)


def test_steps_cut_what_is_under_way():
    replay = collect(lambda: Count(kind=np.uint8), third, steps=10, num_envs=3, seed=5)
    assert 10 <= replay.steps < 13 and replay[0].observations.dtype == np.uint8
    told = alone([5 + i for i in range(9)])
    cut = [e for e in replay if len(e) < len(told[e.seed - 5]["acts"])]
    assert cut and all(e.truncated and not e.terminated for e in cut)


class Thrice(gymnasium.Env):
    """Ends after three steps."""

    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.full(1, self.t, np.float32), 1.0, self.t == 3, False, {}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_what_has_just_ended_is_not_cut_once_more(mode: AutoresetMode):
    replay = collect(SyncVectorEnv([Thrice] * 2, autoreset_mode=mode), steps=6)
    assert [(len(e), e.terminated, e.truncated) for e in replay] == [(3, True, False)] * 2


class Restless(Policy):
    """Notes when it was reset."""

    def __init__(self):
        self.log: list[Any] = []

    def reset(self, num_envs: int | None = None, *, mask: Any = None) -> None:
        self.log.append(num_envs if mask is None else mask.tolist())

    def select_action(self, observation: Any) -> np.ndarray:
        self.log.append(observation[:, 0, 0].tolist())
        return third(observation)

    def predict_action_chunk(self, observation: Any) -> np.ndarray:
        return third(observation)[:, None]

    def predict(self, observations: Any) -> np.ndarray:
        return third(observations)


@pytest.mark.parametrize("mode", [None, *AutoresetMode])
def test_a_policy_is_told_of_new_episodes(mode: AutoresetMode | None):
    policy = Restless()
    envs = Count if mode is None else SyncVectorEnv([Count] * 2, autoreset_mode=mode)
    collect(envs, policy, steps=30, num_envs=2, seed=5)
    assert policy.log[0] == 2
    masks = [entry for entry in policy.log if isinstance(entry, list) and isinstance(entry[0], bool)]
    assert masks and all(any(mask) for mask in masks)
    # right after a mask, those that begin show where they begin: no multiple steps from the one before
    for before, mask, after in zip(policy.log, policy.log[1:], policy.log[2:], strict=False):
        if mask in masks and isinstance(before, list):
            went_on = [b + 1 == a for b, a in zip(before, after, strict=True)]
            assert all(new or on for new, on in zip(mask, went_on, strict=True))


@pytest.mark.parametrize(
    ("breaks", "says"),
    [
        (
            "raise",
            r"environment 0 raised RuntimeError .the wheel came off. at step 1 of the episode with seed 7",
        ),
        ("reward", r"the reward of step 1 of the episode with seed 7 .environment 0. is nan"),
        ("observation", r"observation after step 1 of the episode with seed 7 is not finite .entry 0 is nan"),
        ("shape", r"environment 0 showed an observation of shape .3,. after ones of .2, 2. at step 1"),
    ],
)
def test_what_ended_before_is_kept(breaks: str, says: str, tmp_path: Any):
    replay = Replay(folder=tmp_path / "kept")
    with pytest.raises(
        CollectionError, match=rf"{says}.*the replay keeps 2 whole episodes of this call"
    ) as e:
        collect(lambda: Count(breaks), third, episodes=9, seed=5, num_envs=1, into=replay)
    assert e.value.replay is replay
    told = alone([5, 6])
    assert len(replay) == 2 and all(same(e, t) for e, t in zip(replay, told, strict=True))
    assert len(Replay(folder=tmp_path / "kept")) == 2 and replay.held == 0


def test_a_vector_environment_that_raises():
    envs = SyncVectorEnv([lambda: Count("raise")] * 2)
    replay = Replay()
    with pytest.raises(
        InputError, match=r"SyncVectorEnv: the vector environment raised RuntimeError .*keeps"
    ):
        collect(envs, third, episodes=50, into=replay)
    assert len(replay) >= 2


def test_an_endless_episode():
    class Endless(Count):
        def step(self, action: Any) -> Any:
            return self.shown, 0.0, False, False, {}

    assert [len(e) for e in collect(Endless, third, episodes=3, max_steps=4)] == [4, 4, 4]
    assert collect(Endless, third, episodes=1, max_steps=4)[0].truncated
    with pytest.raises(InputError, match=r"has not ended after 4 steps.*TimeLimit"):
        collect(SyncVectorEnv([Endless]), third, episodes=1, max_steps=4)
    free = SyncVectorEnv([Endless] * 2, autoreset_mode=AutoresetMode.DISABLED)
    assert [len(e) for e in collect(free, third, episodes=3, max_steps=4)] == [4, 4, 4]


def test_uniform_actions():
    policy = UniformPolicy(gymnasium.spaces.Box(-2, 3, (2,), np.float32), repeat=3, seed=1)
    policy.reset(num_envs=4)
    acts = np.stack([policy.select_action(np.zeros((4, 1))) for _ in range(6)])
    assert acts.shape == (6, 4, 2) and acts.dtype == np.float32 and np.abs(acts - 0.5).max() <= 2.5
    assert (acts[0] == acts[2]).all() and (acts[3] == acts[5]).all() and (acts[2] != acts[3]).all()
    policy.reset(mask=[True, False, False, False])
    policy.select_action(None)
    first, again = collect(Count, episodes=9, seed=2), collect(Count, episodes=9, seed=2)
    assert first.returns.tolist() == again.returns.tolist()
    assert {int(a) for e in first for a in e.actions} == {1, 2, 3}
    with pytest.raises(InputError, match="nothing is uniform"):
        UniformPolicy(gymnasium.spaces.Box(-np.inf, 1, (2,), np.float32))


def test_refused():
    wheel = gymnasium.spaces.MultiBinary(2)
    odd = type(
        "Odd",
        (Count,),
        {"__init__": lambda self: (Count.__init__(self), setattr(self, "action_space", wheel))[0]},
    )
    with pytest.raises(InputError, match="MultiBinary space are not supported; Box and Discrete are"):
        collect(odd, third, episodes=1)
    for options, says in (
        ({}, "one of them"),
        ({"episodes": 0}, "episodes is 0"),
        ({"steps": 1, "num_envs": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=says):
            collect(Count, third, **options)
    with pytest.raises(InputError, match=r"Tuple space are not supported.*FlattenObservation"):
        collect("Blackjack-v1", third, episodes=1)
    with pytest.raises(InputError, match="for 2 observations; one a row"):
        collect(Count, lambda seen: 1, episodes=2)
    with pytest.raises(InputError, match="holds actions of 3 choices from 1, not of 2 choices from 0"):
        collect("CartPole-v1", third, episodes=1, into=collect(Count, third, episodes=1))


def test_a_mode_nobody_names():
    envs = SyncVectorEnv([Count] * 2)
    envs.metadata = {}
    with pytest.raises(InputError, match="nobody knows which steps are resets"):
        collect(envs, third, episodes=1)


def test_record_stands_on_the_same_loop():
    flat = lambda: gymnasium.wrappers.FlattenObservation(Count())  # noqa: E731
    act = lambda seen: seen[:, 0].astype(int) % 3 + 1  # noqa: E731
    done, told = record(flat, act, 130, seed=5), alone([5 + i for i in range(130)])
    assert [a.tolist() for a in done.actions] == [t["acts"] for t in told]  # in order of seeds, also over 100
    assert done.returns.tolist() == [sum(t["paid"]) for t in told] and done.successes.any()
