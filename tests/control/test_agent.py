"""The agent: rounds of collecting, fitting and planning; killed in any phase, it goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.control import CEM, Rounds, Training, UniformPolicy, learn
from jensen.control import agent as module
from jensen.control.plan import foresee
from jensen.errors import InputError, JensenWarning
from jensen.models.likelihoods import Bernoulli, Gaussian

KEY = jax.random.key(0)
LIMIT = 5


class Shove(gymnasium.Env):
    """A point that is shoved along a line; it ends by itself beyond 2."""

    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    observation_space = gymnasium.spaces.Box(-9, 9, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at, self.clock = self.np_random.uniform(-1, 1, 1), 0
        return self.at.astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.at, self.clock = self.at + action, self.clock + 1
        return (
            self.at.astype(np.float32),
            float(-(self.at[0] ** 2)),
            bool(abs(self.at[0]) > 2),
            self.clock >= LIMIT,
            {},
        )


def inference() -> jn.Inference:
    family = families.DiagGaussian(2)
    heads = (Gaussian(1), Bernoulli(1))
    model = models.RSSM(1, 1, deter_dim=4, latent=family, heads=heads, decoder=(4,), key=KEY)
    q = posteriors.Filtering(family, like=model, widths=(4,), key=jax.random.key(1))
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


def learned(run: fit.Run | None, rounds: Rounds | None = None) -> Any:
    return learn(
        Shove,
        inference(),
        training=Training(optax.adam(1e-2), steps=4, further=3, batch_size=2, batches=fit.Windows(3)),
        rounds=rounds or Rounds(first=4, further=1, episodes=2, together=2),
        search=CEM(2, candidates=8, iterations=2, elites=2),
        run=run,
        key=KEY,
    )


@pytest.fixture(scope="module")
def whole() -> Any:
    return learned(None)


def digest(result: Any) -> list[np.ndarray]:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(result.fitted.inference) if hasattr(leaf, "shape")]
    return [*leaves, *[np.asarray(e.observations) for e in result.replay]]


def test_rounds(whole: Any):
    assert [len(r.returns) for r in whole.rounds] == [4, 2]
    assert whole.rounds[1].steps == whole.replay.steps == sum(len(e) for e in whole.replay)
    assert len(whole.fitted.history.step) == 3 and whole.fitted.stop_reason == "steps"
    rows = str(whole).splitlines()
    assert len(rows) == 3 and rows[1].split()[1] == "4"
    before = jax.tree.leaves(whole.policy.world.inference)
    assert len(before) == len(jax.tree.leaves(whole.fitted.inference))


def test_random_pushes_of_the_first_round_are_held(whole: Any):
    for episode in list(whole.replay)[:4]:
        assert len(episode) > 1 and (episode.actions == episode.actions[0]).all()
    assert len({float(episode.actions[0, 0]) for episode in list(whole.replay)[:4]}) == 4


class Kill(Exception):
    """As a kill would."""


@pytest.mark.parametrize("phase", ["collecting", pytest.param("between", marks=pytest.mark.slow), "fitting"])
def test_killed_anywhere_it_goes_on_to_the_same_bits(
    whole: Any, phase: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        if phase == "collecting":
            count = iter(range(100))
            step = Shove.step

            def dying(self: Shove, action: Any) -> Any:
                if next(count) == 22:
                    raise Kill
                return step(self, action)

            patch.setattr(Shove, "step", dying)
        elif phase == "between":
            patch.setattr(module, "_fitted", lambda *_: (_ for _ in ()).throw(Kill))
        else:
            real = fit.gradient

            def cut(*args: Any, **options: Any) -> Any:
                options["steps"] = 2  # a fit that came only so far
                real(*args, **options)
                raise Kill

            patch.setattr(module.fit, "gradient", cut)
        with pytest.raises((Kill, InputError)):
            learned(fit.Run(tmp_path, checkpoint_every=1))
    again = learned(fit.Run(tmp_path, checkpoint_every=1, resume=True))
    for mine, theirs in zip(digest(again), digest(whole), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [len(r.returns) for r in again.rounds] == [4, 2]
    if phase == "fitting":  # done as a whole, it is read back, and not made anew
        monkeypatch.setattr(module, "gathered", None)
        done = learned(fit.Run(tmp_path, checkpoint_every=1, resume=True))
        np.testing.assert_array_equal(digest(done)[0], digest(whole)[0])
        assert fit.load(tmp_path).stop_reason == "steps"
        with pytest.raises(InputError, match="was made with another rounds"):
            learned(fit.Run(tmp_path, resume=True), Rounds(first=3))
        with (
            pytest.warns(JensenWarning, match="held 2 rounds of episodes, which are removed"),
            pytest.raises(TypeError),  # nothing collects
        ):
            learned(fit.Run(tmp_path))


def test_imagined_and_real_returns(whole: Any):
    seen = foresee(whole.policy, Shove, 2, seed=9)
    rewards = seen.episodes.rewards
    assert rewards is not None and len(seen.imagined) == 2
    for i, paid in enumerate(rewards):
        assert len(seen.imagined[i]) == len(seen.real[i]) == len(paid)
        np.testing.assert_allclose(seen.real[i][0], paid[:2].sum(), rtol=1e-6)
        last = paid[-1] if seen.episodes.terminated[i] else np.nan  # pyright: ignore
        np.testing.assert_allclose(seen.real[i][-1], last)
    gap = seen.imagined[0] - seen.real[0]
    np.testing.assert_allclose(seen.optimism[0], gap[np.isfinite(gap)].mean())
    assert repr(seen).startswith(f"Foresight(2 episodes: optimism {np.nanmean(seen.optimism):.3g} on average")


def test_foresight_in_an_environment_itself_used(whole: Any):
    alone, copies = (foresee(whole.policy, env, 2, seed=9) for env in (Shove(), Shove))
    for seen in (alone, copies):
        assert [len(row) for row in seen.imagined] == [len(row) for row in seen.real]
        assert [len(row) for row in seen.imagined] == list(seen.episodes.lengths)


def test_what_a_step_sees_of_few_or_short_episodes():
    by_default = Training(optax.adam(1e-2))
    rows = np.zeros((3, 201, 2))
    assert by_default.over(fit.Data(rows)) == (fit.Windows(50), 15)
    assert by_default.over(fit.Data(rows, lengths=np.array([201, 60, 20]))) == (fit.Windows(50), 8)
    assert by_default.over(fit.Data(np.zeros((40, 50, 2)))) == (None, 16)
    assert Training(optax.adam(1e-2), batches=fit.Windows(7)).over(fit.Data(rows)) == (fit.Windows(7), 16)


def test_what_is_refused_before_an_episode_is_spent():
    with pytest.raises(InputError, match="further is -1; it must be at least 0"):
        Rounds(further=-1)
    plain = models.RSSM(1, 1, deter_dim=4, latent=families.DiagGaussian(2), decoder=(4,), key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(2), like=plain, widths=(4,), key=KEY)
    bare = jn.Inference(plain, q, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match="foresee: a UniformPolicy makes no plans to compare"):
        foresee(UniformPolicy(Shove.action_space), Shove, 1)
    with pytest.raises(InputError, match="no reward head"):
        learn("no such environment", bare, training=Training(optax.adam(1e-2)), key=KEY)
