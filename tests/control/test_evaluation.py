"""Acting in environments: what is recorded, how it is summed up, and where it stops."""

from __future__ import annotations

import sys

import gymnasium
import numpy as np
import pytest

from jensen.control import EncodedObservation, MixturePolicy, Policy, evaluate, record
from jensen.datasets import Episodes
from jensen.errors import InputError, MissingExtraError

from .fork import KEY, Fork, TwoWays, box, walks


def swerve(observations: np.ndarray) -> np.ndarray:
    """Go to the side one is on already."""
    return np.where(observations[:, :1] < 0, -1.0, 1.0).astype(np.float32) * (
        np.abs(observations[:, :1]) < 0.5
    )


def test_episodes_are_kept_whole():
    done = record(Fork, swerve, 7, seed=3)
    assert len(done) == 7 and done.lengths.tolist() == [10] * 7 and done.successes.all()
    assert done.observations[0].shape == (11, 2) and done.returns.tolist() == [10.0] * 7
    assert len({o[0, 0] for o in done.observations}) == 7  # seeds of their own
    for path, mode in zip(done.observations, done.modes, strict=True):
        assert (mode == "left") == (path[-1, 0] < 0) and (np.diff(path[:, 1]) > 0).all()  # copied, not shared
    one = record(Fork, swerve, 1, seed=5)
    np.testing.assert_array_equal(one.observations[0], done.observations[2])


def test_every_source_of_environments():
    def straight(observations: np.ndarray) -> np.ndarray:
        return np.zeros(len(observations), int)

    by_id = record("CartPole-v1", straight, 2, seed=1)
    spec, made = gymnasium.spec("CartPole-v1"), gymnasium.make("CartPole-v1")
    for source in (spec, made, lambda: gymnasium.make("CartPole-v1")):
        again = record(source, straight, 2, seed=1)
        np.testing.assert_array_equal(again.observations[1], by_id.observations[1])
    weak = gymnasium.make("CartPole-v1")
    weak.unwrapped.force_mag = 0.0  # as it is, and not as its id would make it
    assert (record(weak, straight, 2, seed=1).lengths > by_id.lengths).all()
    wrapped = EncodedObservation(made, lambda x: x[..., :2])  # no id could make that
    assert record(wrapped, straight, 1, seed=1).observations[0].shape[1] == 2
    assert by_id.discrete and by_id.successes is None and by_id.modes == () and by_id.terminated.all()
    alone = record(Fork(), swerve, 3, seed=3)  # no spec: the environment itself, three times
    np.testing.assert_array_equal(alone.observations[2], record(Fork, swerve, 3, seed=3).observations[2])


def test_cut_off_is_truncated():
    short = record(lambda: gymnasium.wrappers.TimeLimit(Fork(), 4), swerve, 2)
    assert short.truncated.all() and not short.terminated.any() and short.lengths.tolist() == [4, 4]
    assert record(Fork, swerve, 1, max_steps=3).truncated.all()


def test_summed_up():
    found = evaluate(swerve, Fork, 40, seed=0, demonstrations=walks(20))
    counts = found.modes
    assert found.success.value == 1 and found.success.lower > 0.9 and sum(counts.values()) == 40
    assert found.entropy == pytest.approx(-sum(c / 40 * np.log(c / 40) for c in counts.values()))
    want = sum(0.5 * np.log(0.5 / ((c + 0.5) / 41)) for c in counts.values())
    assert found.divergence == pytest.approx(want)
    text = str(found)
    for words in (
        "success",
        "entropy over modes",
        "KL from demonstrations",
        "left 0.50, right 0.50",
        "return",
    ):
        assert words in text
    assert found.mean_return == (10.0, 10.0, 10.0)


def test_where_nobody_names_modes_none_are_counted():
    found = evaluate(lambda seen: np.full((len(seen), 2), 0.5, np.float32), "jensen/Particle-v0", 2)
    assert found.modes is None and found.entropy is None and "modes" not in str(found)


def test_modes_never_taken_are_listed():
    found = evaluate(lambda o: np.ones((len(o), 1), np.float32), Fork, 5, demonstrations=walks(20))
    assert found.modes == {"left": 0, "right": 5} and found.entropy == 0 and found.shares["left"] == 0
    crash = evaluate(lambda o: np.zeros((len(o), 1), np.float32), Fork, 5, demonstrations=walks(20))
    assert crash.success.value == 0 and crash.modes == {"left": 0, "right": 0} and crash.divergence is None
    assert "none taken" in str(crash)


def test_a_policy_is_reset_for_every_episode():
    policy = MixturePolicy(TwoWays(), box(reach=1.0), choose="component", key=KEY)
    found = record(Fork, policy, 20)
    assert all(set(np.unique(a)) <= {-1.0, 1.0} for a in found.actions)
    assert isinstance(policy, Policy) and {m for m in found.modes if m} <= {"left", "right"}


def test_a_sick_environment_stops():
    with pytest.raises(
        InputError, match=r"Fork.*step 5 of the episode with seed 11 is not finite .entry 0 is nan"
    ):
        record(Fork(ill_at=6), swerve, 1, seed=11)
    with pytest.raises(InputError, match=r"sick.*after step 1"):

        def sick() -> Fork:
            return Fork(ill_at=2)

        record(sick, swerve, 3)


def test_refused():
    with pytest.raises(
        InputError, match=r"no environment 'CartPol-v1' is registered .did you mean 'CartPole"
    ):
        record("CartPol-v1", swerve, 1)
    with pytest.raises(InputError, match="nor any of NoSuch: write 'module:NoSuch/Pong-v5' with the module"):
        record("NoSuch/Pong-v5", swerve, 1)
    with pytest.raises(InputError, match="FlattenObservation"):
        record("Blackjack-v1", swerve, 1)
    with pytest.raises(InputError, match="episodes is 0"):
        record(Fork, swerve, 0)
    with pytest.raises(InputError, match="give the Imitation"):
        evaluate(swerve, Fork, 1, held_out=walks(2))


def test_without_gymnasium(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'jensen\[rl\]'"):
        record("CartPole-v1", swerve, 1)


def test_an_episode_is_an_episode():
    done = record(Fork, swerve, 2)
    assert isinstance(done, Episodes) and done.name == "Fork" and done.flat()[0].shape == (20, 2)
