"""Replays: nothing lost, nothing mixed, whatever is dropped or written; into data for world models and back."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jensen as jn
from jensen.control import BoxActions, Episode, Replay, collect, record
from jensen.control.replay.episode import recorded
from jensen.errors import CorruptRunError, InputError
from jensen.models.likelihoods import Bernoulli, Gaussian

from .fork import Fork

RNG = np.random.default_rng(0)
CHOICE = gymnasium.spaces.Discrete(3, start=2)


def told(number: int, length: int, *, terminated: bool) -> Episode:
    """An episode whose every number says whose it is, and when."""
    stamp = 1000 * number + np.arange(length + 1)
    return Episode(
        np.stack([stamp, -stamp], -1).astype(np.float32),
        np.arange(length) % 3 + 2,
        stamp[1:] + 0.5,
        terminated,
        not terminated,
        seed=number,
        mode="even" if number % 2 == 0 else None,
        success=terminated,
    )


def same(a: Episode, b: Episode) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in (
            "observations",
            "actions",
            "rewards",
            "terminated",
            "truncated",
            "seed",
            "mode",
            "success",
        )
    )


LENGTHS = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(LENGTHS, st.integers(1, 40) | st.none(), st.integers(0, 400) | st.none(), st.booleans())
def test_nothing_is_lost_or_mixed(parts: list, capacity: int | None, spill: int | None, reopened: bool):
    folder = None if spill is None else Path(tempfile.mkdtemp())
    options: dict[str, Any] = {"capacity": capacity, "folder": folder, "spill": spill or 0}
    replay = Replay(CHOICE, **options)
    made = [told(i, length, terminated=over) for i, (length, over) in enumerate(parts)]
    for episode in made:
        replay.append(episode)
        if reopened and folder is not None:
            replay.flush()
            replay = Replay(CHOICE, **options)
    kept = made[len(made) - len(replay) :]
    assert all(same(a, b) for a, b in zip(replay, kept, strict=True))
    # the newest that fit, and no fewer
    room = [sum(len(e) for e in made[i:]) for i in range(len(made))]
    first = 0 if capacity is None else next((i for i, n in enumerate(room) if n <= capacity), len(made) - 1)
    assert len(kept) == len(made) - first and replay.steps == room[first]
    if folder is not None:
        assert replay.held <= (spill or 0) and replay.held + _on_disk(folder) >= sum(e.nbytes for e in kept)
        shutil.rmtree(folder)
    back = Replay.from_data(replay.to_data(), like=replay)
    packed = Replay.from_data(replay.to_data(packed=7), like=replay)
    for other in (back, packed):
        for a, b in zip(other, kept, strict=True):
            assert np.array_equal(a.observations, b.observations) and np.array_equal(a.actions, b.actions)
            assert np.array_equal(a.rewards, b.rewards) and a.terminated == b.terminated


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npy"))


def test_rows_as_world_models_read_them():
    replay = Replay(CHOICE).extend([told(0, 3, terminated=True), told(1, 2, terminated=False)])
    data = replay.to_data()
    assert data.x.shape == (2, 4, 4) and data.lengths.tolist() == [4, 3] and data.x.dtype == np.float32
    assert data.x[0].tolist() == [[0, 0, 0, 1], [1, -1, 1.5, 1], [2, -2, 2.5, 1], [3, -3, 3.5, 0]]
    assert data.x[1, 2].tolist() == [1002, -1002, 1002.5, 1]  # truncated: it goes on
    assert data.mask is not None and np.argwhere(~data.mask).tolist() == [[0, 0, 2], [1, 0, 2]]
    assert data.cond.tolist() == [np.eye(3).tolist(), [*np.eye(3).tolist()[:2], [0, 0, 0]]]
    packed = replay.to_data(packed=7, heads=["continues"])
    assert packed.x.shape == (1, 7, 3) and packed.mask is None
    assert packed.cond[0, :, 3].tolist() == [1, 0, 0, 0, 1, 0, 0] and (packed.cond[0, [3, 6], :3] == 0).all()
    assert replay.to_data(rows=[1], heads=()).x.shape == (1, 3, 2)
    with pytest.raises(InputError, match=r"no head 'rewards' .did you mean 'reward'"):
        replay.to_data(heads=["rewards"])
    with pytest.raises(InputError, match="4 columns and 3 of actions; 2 of observations, 1 heads"):
        Replay.from_data(data, like=replay, heads=["reward"])


def test_bytes_stay_bytes_until_they_are_data():
    seen = RNG.integers(0, 256, (6, 4, 3), np.uint8)
    space = BoxActions(np.full(2, -1.0), np.full(2, 1.0), (1, 2), np.dtype(np.float32))
    replay = Replay(space)
    kept = replay.add(seen, RNG.uniform(-1, 1, (5, 1, 2)), np.ones(5), terminated=False, truncated=True)
    assert kept.observations.dtype == np.uint8 and replay.held == seen.nbytes + 5 * 2 * 4 + 5 * 8
    data = replay.to_data()
    assert data.x.dtype == np.float32 and data.x.min() >= 0 and data.x[..., :12].max() <= 1
    (back,) = Replay.from_data(data, like=replay)
    assert np.array_equal(back.observations, seen) and np.array_equal(back.actions, kept.actions)
    with pytest.raises(InputError, match="uint8 cannot hold"):
        replay.add(seen + 0.5, np.zeros((5, 1, 2)), np.ones(5), terminated=True)


def test_codes_are_one_hot_rows():
    replay = Replay(CHOICE, observations=gymnasium.spaces.Discrete(4, start=1))
    replay.add([1, 4, 2], [2, 3], [0.0, 1.0], terminated=True)
    assert replay.to_data(heads=()).x[0].argmax(-1).tolist() == [0, 3, 1]
    assert Replay.from_data(replay.to_data(), like=replay)[0].observations.tolist() == [1, 4, 2]
    with pytest.raises(InputError, match=r"shows 9 at step 1, outside 1..4"):
        replay.add([1, 9, 2], [2, 3], [0.0, 1.0], terminated=True)


def test_episodes_of_demonstrations():
    done = record(Fork, lambda seen: np.sign(seen[:, :1]).astype(np.float32), 5, seed=1)
    replay = Replay.from_episodes(done, Fork().action_space)
    again, through = replay.to_episodes(), recorded(list(replay), "Fork")
    assert again.modes == done.modes and again.successes.tolist() == done.successes.tolist()
    for name in ("observations", "actions", "rewards"):
        assert all(
            np.array_equal(a, b) for a, b in zip(getattr(again, name), getattr(done, name), strict=True)
        )
    assert through.terminated.tolist() == done.terminated.tolist()
    steps = replay.transitions()
    assert steps.observations.shape == (50, 2) and steps.terminated.sum() == 5 and not steps.truncated.any()
    assert np.array_equal(steps.next_observations[:9], steps.observations[1:10]) and steps.terminated[9]


def test_an_interrupted_write_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "kept"
    replay = Replay(CHOICE, folder=folder, spill=10**6).extend(told(i, 4, terminated=True) for i in range(3))
    replay.flush()
    from jensen.control.replay import shards

    written = shards.move

    def full(source: Path, target: Path) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(shards, "move", full)
    replay.append(told(3, 4, terminated=False))
    with pytest.raises(InputError, match="full"):
        replay.flush()
    assert (
        len(Replay(folder=folder)) == 3 and len(replay) == 4 and same(replay[3], told(3, 4, terminated=False))
    )
    monkeypatch.setattr(shards, "move", written)
    (folder / ".shard-00000001.77.tmp").mkdir()  # as a kill leaves it
    (folder / ".shard-00000001.77.tmp" / "actions.npy").write_bytes(b"half")
    replay.flush()
    found = Replay(folder=folder)
    assert len(found) == 4 and found.name == "replay" and not list(folder.glob(".shard*"))
    assert all(same(a, told(i, 4, terminated=i < 3)) for i, a in enumerate(found))
    assert isinstance(found[0].observations, np.memmap) and found.held == 0


def test_damage_is_named(tmp_path: Path):
    replay = Replay(CHOICE, folder=tmp_path / "a", spill=0).extend(
        told(i, 4, terminated=True) for i in range(2)
    )
    assert len(replay) == 2
    shard = tmp_path / "a" / "shard-00000001" / "observations.npy"
    shard.write_bytes(shard.read_bytes()[:-4])
    with pytest.raises(CorruptRunError, match=r"shard-00000001: cannot be read .*move this folder away"):
        Replay(folder=tmp_path / "a")
    shutil.rmtree(shard.parent)
    assert len(Replay(folder=tmp_path / "a")) == 1
    facts = tmp_path / "a" / "replay.json"
    facts.write_text(json.dumps({"format": 9}))
    with pytest.raises(CorruptRunError, match="newer jensen"):
        Replay(folder=tmp_path / "a")
    facts.write_text("{")
    with pytest.raises(CorruptRunError, match="cannot be read"):
        Replay(folder=tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    with pytest.raises(InputError, match="holds other files"):
        Replay(folder=tmp_path / "b")


def test_files_of_dropped_episodes_are_removed(tmp_path: Path):
    replay = Replay(CHOICE, folder=tmp_path, spill=0, capacity=10)
    replay.extend(told(i, 4, terminated=True) for i in range(7))
    assert len(replay) == 2 and len(list(tmp_path.glob("shard-*"))) == 2
    assert replay.append(told(7, 30, terminated=True)) and len(replay) == 1  # the newest, however long


@pytest.mark.parametrize("kind", ["vector", "pixels"])
def test_minari_and_back(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("minari", reason="needs the rl extra")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    if kind == "vector":
        replay = collect("CartPole-v1", steps=40, num_envs=2)
    else:
        replay = Replay(gymnasium.spaces.Box(-1, 1, (2,), np.float32))
        for length in (2, 4):
            seen = RNG.integers(0, 256, (length + 1, 8, 8, 3), np.uint8)
            replay.add(
                seen,
                RNG.uniform(-1, 1, (length, 2)),
                np.arange(length),
                terminated=length == 2,
                truncated=length == 4,
            )
    replay.to_minari("toy/mine-v0")
    back = Replay.from_minari("toy/mine-v0")
    assert back.space.facts() == replay.space.facts() and back.layout == replay.layout
    for a, b in zip(back, replay, strict=True):
        assert all(
            np.array_equal(getattr(a, n), getattr(b, n)) for n in ("observations", "actions", "rewards")
        )
        assert (a.terminated, a.truncated) == (b.terminated, b.truncated)
    loaded = jn.datasets.load_episodes("minari:toy/mine-v0")
    assert loaded.returns.tolist() == replay.returns.tolist()
    with pytest.raises(InputError, match="toy/mine-v0: Minari cannot write it"):
        replay.to_minari("toy/mine-v0")


def test_a_world_model_reads_it():
    replay = collect("CartPole-v1", episodes=6, num_envs=3)
    world = jn.models.RSSM(
        4, 2, deter_dim=6, latent=jn.families.DiagGaussian(2), decoder=(6,), heads=(Gaussian(1), Bernoulli(1)),
        key=jax.random.key(0),
    )  # fmt: skip
    q = jn.posteriors.Filtering(jn.families.DiagGaussian(2), like=world, widths=(6,), key=jax.random.key(1))
    inference = jn.Inference(world, q, jn.objectives.ELBO(), jn.gradients.Reparam())
    data = replay.to_data(packed=40)
    bound = jn.fit.evaluate(inference, data, key=jax.random.key(2))
    assert bound.shape == (data.num_data,) and np.isfinite(bound).all()
    jn.fit.Windows(30).plan(data, 2)


def test_refused():
    replay = Replay(CHOICE)
    good = told(0, 3, terminated=True)
    cases = [
        ((good.observations[:-1], good.actions, good.rewards), "T . 1 observations"),
        (
            (good.observations, good.actions + 7, good.rewards),
            r"action 9 at step 0, outside 3 choices from 2",
        ),
        ((good.observations, good.actions, good.rewards * np.nan), "rewards are not finite, first at step 0"),
        ((good.observations[:1], good.actions[:0], good.rewards[:0]), "without actions"),
        ((good.observations, good.actions + 0.5, good.rewards), "no whole numbers"),
        ((good.observations, good.actions[:, None], good.rewards), r"actions of shape \(1,\)"),
    ]
    for arrays, says in cases:
        with pytest.raises(InputError, match=says):
            replay.add(*arrays, terminated=True)
    with pytest.raises(InputError, match="outside 3 choices"):  # says nothing of what is kept later
        replay.add(np.zeros((4, 7)), good.actions + 7, good.rewards, terminated=True)
    replay.append(good)
    with pytest.raises(InputError, match=r"episode 1 has observations of shape \(5,\), not \(2,\)"):
        replay.add(np.zeros((4, 5)), good.actions, good.rewards, terminated=True)
    assert len(replay) == 1 and replay.steps == 3
    for empty in (Replay(), Replay(CHOICE)):
        with pytest.raises(InputError, match=r"no episodes|no space"):
            empty.to_data()
    with pytest.raises(InputError, match="no space of actions"):
        Replay().append(good)
    with pytest.raises(InputError, match=r"of shape \(2,\), not \(5,\)"):
        Replay(observations=gymnasium.spaces.Box(0, 1, (5,))).append(good)
    with pytest.raises(InputError, match="capacity=0"):
        Replay(capacity=0)
