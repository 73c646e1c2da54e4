"""Recorded episodes: their layouts, what is refused, and every door they come in by."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError, JensenWarning, MissingExtraError

RNG = np.random.default_rng(0)


def made(*lengths: int, width: int = 2, **more: Any) -> Episodes:
    seen = tuple(RNG.normal(size=(n + 1, 3)) for n in lengths)
    done = tuple(RNG.normal(size=(n, width)) for n in lengths)
    return Episodes(seen, done, **more)


def test_layouts_say_the_same():
    episodes = made(2, 4)
    obs, acts = episodes.flat()
    assert obs.shape == (6, 3) and acts.shape == (6, 2)
    np.testing.assert_array_equal(obs[2:], episodes.observations[1][:4])
    with pytest.warns(JensenWarning, match="1 of 2 episodes are shorter than the chunk of 3 actions"):
        seen, chunks, mask = episodes.chunks(3)
    np.testing.assert_array_equal(seen, obs)
    first = chunks.reshape(6, 3, 2)
    np.testing.assert_array_equal(first[:, 0], acts)
    np.testing.assert_array_equal(first[3], acts[3:6])
    assert mask.reshape(6, 3, 2).all(-1).sum(1).tolist() == [2, 1, 3, 3, 2, 1]
    assert (chunks[~mask] == 0).all()
    padded_obs, padded_acts, lengths = episodes.padded()
    assert padded_obs.shape == (2, 4, 3) and padded_acts.shape == (2, 4, 2) and lengths.tolist() == [2, 4]
    np.testing.assert_array_equal(padded_obs[1], episodes.observations[1][:4])
    assert (padded_acts[0, 2:] == 0).all()


def test_chunks_never_reach_into_the_next_episode():
    episodes = Episodes(
        (np.zeros((4, 1)), np.zeros((4, 1))), (np.array([1, 1, 1]), np.array([2, 2, 2])), name="codes"
    )
    _, chunks, mask = episodes.chunks(2)
    assert chunks[mask].tolist() == [1] * 5 + [2] * 5 and chunks.shape == (6, 2)
    assert episodes.discrete and episodes.action_dim == 1 and episodes.flat()[1].dtype == np.int64


def test_facts_and_parts():
    episodes = made(3, 5, 4, 2, rewards=tuple(np.ones(n) for n in (3, 5, 4, 2)), modes=("l", "r", "", "l"),
                    successes=np.array([1, 1, 0, 1]))  # fmt: skip
    assert episodes.returns.tolist() == [3, 5, 4, 2] and episodes.shares == {"l": 2 / 3, "r": 1 / 3}
    part = episodes.take([3, 1])
    assert part.lengths.tolist() == [2, 5] and part.modes == ("l", "r") and part.successes.tolist() == [1, 1]
    train, held = episodes.split(0.25, 0)
    assert len(train) == 3 and len(held) == 1
    assert sorted([*train.lengths, *held.lengths]) == [2, 3, 4, 5]
    with pytest.raises(InputError, match="must be above 0"):
        episodes.split(0.0, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observations": (np.zeros((3, 3)), np.zeros((6, 3)))}, r"episode 0 has 3 observations and 3 actions.*"),
        ({"actions": (np.zeros((3, 2)), np.zeros((5, 1)))}, "actions of episode 1 have 1 columns"),
        ({"actions": (np.zeros((3, 2)),)}, "2 episodes of observations, 1 of actions"),
        ({"actions": (np.zeros((0, 2)), np.zeros((5, 2)))}, "episode 0 has no actions; leave it out"),
        ({"actions": (np.zeros((3, 2)), np.full((5, 2), np.nan))}, "action of episode 1, step 0, is not finite"),
        ({"actions": (np.zeros(3), np.zeros(5))}, "are a row of floats"),
        ({"actions": (np.zeros(3, int), np.zeros((5, 1)))}, "some episodes hold codes"),
        ({"rewards": (np.zeros(3), np.zeros(4))}, "episode 1 has 4 rewards and 5 actions"),
        ({"terminated": np.array([True])}, "terminated has shape"),
        ({"modes": ("l",)}, "1 modes for 2 episodes"),
        ({"observations": (np.zeros((4, 3)), np.zeros((6, 2, 2)))}, "flatten each to a vector"),
        ({"actions": (np.array([["a"]] * 3), np.zeros((5, 2)))}, "actions of episode 0 are <U1"),
    ],
)  # fmt: skip
def test_bad_episodes_are_named(change: dict[str, Any], message: str):
    given = {
        "observations": (np.zeros((4, 3)), np.zeros((6, 3))),
        "actions": (np.zeros((3, 2)), np.zeros((5, 2))),
    }
    with pytest.raises(InputError, match=message):
        Episodes(**{**given, **change})


def test_horizons():
    with pytest.raises(InputError, match="every episode is shorter than the chunk of 9 actions"):
        made(2, 4).chunks(9)
    with pytest.raises(InputError, match="at least 1"):
        made(2).chunks(0)
    with pytest.raises(InputError, match="no episodes"):
        Episodes((), ())


def test_saved_and_read_again(tmp_path: Path):
    episodes = made(3, 5, modes=("left", ""), successes=np.array([True, False]),
                    truncated=np.array([False, True]), terminated=np.array([True, False]))  # fmt: skip
    episodes.save(tmp_path / "mine.npz")
    again = load_episodes(tmp_path / "mine.npz")
    assert again.name == "mine" and again.modes == ("left", "") and again.successes.tolist() == [True, False]
    assert again.truncated.tolist() == [False, True] and again.terminated.tolist() == [True, False]
    for a, b in zip(
        episodes.observations + episodes.actions, again.observations + again.actions, strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_padded_files_and_lists_agree(tmp_path: Path):
    episodes = made(3, 5)
    obs, acts = np.full((2, 6, 3), np.nan), np.full((2, 5, 2), np.nan)
    for i, (o, a) in enumerate(zip(episodes.observations, episodes.actions, strict=True)):
        obs[i, : len(o)], acts[i, : len(a)] = o, a
    np.savez(
        tmp_path / "p.npz", observations=obs, actions=acts, lengths=np.array([3, 5]), terminal=[True, False]
    )
    read = load_episodes(str(tmp_path / "p.npz"))
    listed = load_episodes((list(episodes.observations), list(episodes.actions)), name="mine")
    for one in (read, listed):
        np.testing.assert_array_equal(one.flat()[1], episodes.flat()[1])
    assert read.truncated.tolist() == [False, True]
    assert load_episodes(listed) is listed and load_episodes(listed, name="x").name == "x"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"obs": np.zeros((9, 2)), "acts": np.zeros((8, 1))}, "add 'act_lengths'"),
        ({"obs": np.zeros((9, 2)), "acts": np.zeros((8, 1)), "act_lengths": np.array([4, 4])},
         "9 rows of observations, but act_lengths ask for 10 .T . 1 each"),
        ({"obs": np.zeros((10, 2)), "acts": np.zeros((7, 1)), "act_lengths": np.array([4, 4])},
         "7 rows of actions, but act_lengths ask for 8"),
        ({"obs": np.zeros((10, 2)), "acts": np.zeros((8, 1)), "act_lengths": np.array([8, 0])}, "episode 1 has 0"),
        ({"obs": np.zeros((10, 2)), "acts": np.zeros((8, 1)), "act_lengths": np.array([4.5, 4])}, "whole number"),
        ({"observation": np.zeros((10, 2)), "acts": np.zeros((8, 1))}, "no array 'obs' of observations .*observ"),
        ({"obs": np.zeros((2, 4, 1)), "acts": np.zeros((2, 5, 1)), "lengths": np.array([3, 5])}, "have shape"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, arrays: dict[str, Any], message: str):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_episodes(tmp_path / "bad.npz")


def test_other_sources_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_episodes("nowhere.npz")
    with pytest.raises(InputError, match=r"from an npz file, or from minari:ID"):
        load_episodes("mine.csv")


def test_cartpole_experts(data_folder: Path):
    episodes = load_episodes(data_folder / "cartpole_expert" / "cartpole_expert.npz")
    assert len(episodes) == 57 and episodes.lengths.sum() == 26_964 and episodes.discrete
    assert episodes.terminated.all() and not episodes.truncated.any()


def test_minari_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    minari = pytest.importorskip("minari", reason="needs the rl extra")
    gymnasium = pytest.importorskip("gymnasium")
    from minari.data_collector.episode_buffer import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    box = gymnasium.spaces.Box(-1, 1, (2,), np.float64)
    buffers = [
        EpisodeBuffer(
            id=i, observations=list(RNG.uniform(-1, 1, (n + 1, 2))), actions=list(RNG.uniform(-1, 1, (n, 2))),
            rewards=[1.0] * n, terminations=[False] * (n - 1) + [not cut], truncations=[False] * (n - 1) + [cut],
        )
        for i, (n, cut) in enumerate([(4, False), (6, True)])
    ]  # fmt: skip
    minari.create_dataset_from_buffers("toy/box-v0", buffers, action_space=box, observation_space=box)
    found = load_episodes("minari:toy/box-v0")
    assert found.lengths.tolist() == [4, 6] and found.returns.tolist() == [4, 6]
    assert found.terminated.tolist() == [True, False] and found.truncated.tolist() == [False, True]
    np.testing.assert_allclose(found.observations[1], np.stack(buffers[1].observations))
    np.testing.assert_allclose(found.actions[0], np.stack(buffers[0].actions))


def test_minari_of_codes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    minari = pytest.importorskip("minari", reason="needs the rl extra")
    gymnasium = pytest.importorskip("gymnasium")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(gymnasium.make("CartPole-v1"))
    for seed in range(2):
        env.reset(seed=seed)
        for _ in range(5):
            env.step(env.action_space.sample())
    env.create_dataset("toy/cart-v0")
    found = load_episodes("minari:toy/cart-v0")
    assert found.discrete and found.lengths.tolist() == [5, 5] and found.observations[0].shape == (6, 4)


def test_without_minari(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'jensen\[rl\]'"):
        load_episodes("minari:toy-v0")
