"""From demonstrations to policies: both ways kept apart or not, and every mistake named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jensen.control import evaluate, imitate, load_policy
from jensen.datasets import Episodes, load_episodes
from jensen.errors import InputError

from .fork import KEY, Fork, walks

QUICK: dict[str, Any] = {"steps": 600, "widths": (32, 32), "components": 4}


@pytest.fixture(scope="module")
def demonstrations() -> Episodes:
    return walks(100)


def test_least_squares_drives_into_the_tree(demonstrations: Episodes):
    learnt = imitate(demonstrations, "mse", key=KEY, space=Fork().action_space, **QUICK)
    assert evaluate(learnt, Fork, 40).success.value <= 0.1


def test_a_mixture_passes_on_both_sides(demonstrations: Episodes):
    learnt = imitate(demonstrations, "mdn", key=KEY, space=Fork().action_space, **QUICK)
    found = evaluate(learnt, Fork, 100, demonstrations=demonstrations, held_out=learnt.held_out)
    assert found.success.value >= 0.8 and all(abs(share - 0.5) < 0.2 for share in found.shares.values())
    assert found.divergence < 0.1 and found.nll == learnt.held_out_nll and found.nll_kind == "exact"
    assert len(learnt.held_out) == 10 and "nats per action (10 episodes)" in repr(learnt)


def test_a_latent_held_for_the_episode(demonstrations: Episodes):
    learnt = imitate(demonstrations, "cvae", key=KEY, space=Fork().action_space, **{**QUICK, "steps": 800})
    found = evaluate(learnt, Fork, 100, demonstrations=demonstrations)
    assert found.success.value >= 0.7 and all(abs(share - 0.5) < 0.25 for share in found.shares.values())
    assert learnt.policy.hold == "episode" and learnt.nll_kind == "upper bound"
    assert np.isfinite(learnt.held_out_nll) and "at most" in repr(learnt)


@pytest.mark.parametrize("kind", ["mdn", "cvae"])
def test_chunks(demonstrations: Episodes, kind: str):
    learnt = imitate(demonstrations, kind, horizon=3, replan=2, key=KEY, **{**QUICK, "steps": 20})
    assert learnt.policy.horizon == 3 and learnt.policy.predict_action_chunk(np.zeros(2)).shape == (3, 1)
    assert np.isfinite(learnt.held_out_nll) and "chunks of 3 replanned after 2" in repr(learnt.policy)


def test_the_density_of_held_out_actions(demonstrations: Episodes):
    learnt = imitate(demonstrations, "mse", key=KEY, **{**QUICK, "steps": 50})
    obs, acts = learnt.held_out.flat()
    law = jax.vmap(lambda s: learnt.fitted.model.law(s).mean)(obs.astype(np.float32))
    scale = float(learnt.fitted.model.law(obs[0].astype(np.float32)).scale[0])
    want = 0.5 * ((acts - np.asarray(law)) / scale) ** 2 + np.log(scale) + 0.5 * np.log(2 * np.pi)
    assert learnt.held_out_nll == pytest.approx(want.mean(), rel=1e-4)


def test_codes(tmp_path: Path):
    rng = np.random.default_rng(0)
    seen = [rng.normal(size=(21, 2)) for _ in range(12)]
    acts = [(s[:-1, 0] > 0).astype(int) + 5 for s in seen]
    episodes = load_episodes((seen, acts))
    for kind, hold in (("categorical", None), ("cvae", "step")):
        learnt = imitate(episodes, kind, key=KEY, run=tmp_path, hold=hold, steps=150, widths=(16,))
        rows = np.array([[3.0, 0.0], [-3.0, 0.0]])
        assert learnt.policy.predict(rows).tolist() == [6, 5]
        again = load_policy(tmp_path, key=jax.random.split(KEY, 3)[2])
        assert repr(again) == repr(learnt.policy) and again.predict(rows).tolist() == [6, 5]


def test_a_run_is_a_policy_again(demonstrations: Episodes, tmp_path: Path):
    options = {"steps": 30, "widths": (8,), "bounds": "squash"}
    learnt = imitate(demonstrations, "mdn", key=KEY, space=Fork().action_space, run=tmp_path, **options)
    again = load_policy(tmp_path, key=KEY)
    rows = np.zeros((4, 2))
    np.testing.assert_array_equal(again.predict(rows), learnt.policy.predict(rows))
    assert "squashed by tanh into [-1, 1]" in repr(again)


def _codes() -> Episodes:
    return load_episodes(([np.zeros((4, 2))] * 4, [np.array([0, 1, 0])] * 4))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("mnd", {}, "policy 'mnd' is unknown .did you mean 'mdn'"),
        ("mdn", {"step": 3}, "option 'step' is unknown .did you mean 'steps'"),
        ("mdn", {"hold": "chunk"}, "hold='chunk' is for policy='cvae'; mdn holds no latent"),
        ("mdn", {"horizon": 50}, "every episode is shorter than the chunk of 50 actions"),
        ("mdn", {"horizon": 0}, "horizon is 0"),
        ("cvae", {"hold": "episode", "horizon": 4}, "a chunk has more than 1 action"),
        ("cvae", {"hold": "chunk"}, "hold='chunk' with horizon=1"),
        ("cvae", {"hold": "episodes"}, "did you mean 'episode'"),
        ("mdn", {"validation": 1.0}, "validation is 1.0"),
        ("mdn", {"validation": 0.0, "patience": 3}, "patience watches held-out episodes"),
        ("categorical", {}, "categorical predicts codes, and actions are real numbers; use policy='mdn'"),
        ("mdn", {"bounds": "squish"}, "did you mean 'squash'"),
    ],
)
def test_what_cannot_be_imitated(demonstrations: Episodes, kind: str, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        imitate(demonstrations, kind, key=KEY, **options)


@pytest.mark.parametrize("kind", ["mdn", "gaussian", "mse"])
def test_codes_to_a_gaussian_head(kind: str):
    with pytest.raises(
        InputError, match=f"{kind} predicts real numbers, and actions are 2 discrete choices; use pol"
    ):
        imitate(_codes(), kind, key=KEY)


def test_actions_outside_the_space():
    odd = walks(3)
    odd.actions[2][4, 0] = 1.5
    with pytest.raises(InputError, match=r"action 1.5 of episode 2, step 4, column 0, is outside the space"):
        imitate(odd, "mdn", space=Fork().action_space, key=KEY)
