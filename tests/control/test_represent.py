"""Codes in place of observations: as the posterior says of whole sequences, whoever steps, and refreshed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import equinox as eqx
import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import jensen as jn
from jensen.control import EncodedObservation, EncodedVectorObservation, Refresh, Replay, Representation
from jensen.control.replay.layout import Layout
from jensen.control.represent.encoders import BeliefEncoder, LatentEncoder, Shown
from jensen.errors import InputError

KEY = jax.random.key(0)
GAUSS = jn.families.DiagGaussian(2)
CART = Layout((4,), np.dtype(np.float32))


@pytest.fixture(scope="module")
def vae() -> Any:
    model = jn.models.Decoder(4, 2, likelihood="gaussian", widths=(5,), key=KEY)
    q = jn.posteriors.Amortized(GAUSS, data_dim=4, widths=(5,), key=KEY)
    return jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())


@pytest.fixture(scope="module")
def rssm() -> Any:
    model = jn.models.RSSM(4, 2, deter_dim=3, latent=GAUSS, decoder=(5,), key=KEY)
    q = jn.posteriors.Filtering(GAUSS, like=model, widths=(5,), key=jax.random.key(1))
    return jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())


@pytest.fixture(scope="module")
def belief(rssm: Any) -> BeliefEncoder:
    """One encoder for all tests: compiled once for each number of environments."""
    return BeliefEncoder(rssm, CART, 2)


def cart() -> Any:
    return gymnasium.make("CartPole-v1")


def acts_of(step: int, num: int) -> np.ndarray:
    return (step + np.arange(num)) % 2


def test_codes_are_posterior_means(vae: Any):
    env, plain = EncodedObservation(cart(), vae), cart()
    seen, codes = [plain.reset(seed=3)[0]], [env.reset(seed=3)[0]]
    for step in range(5):
        seen.append(plain.step(step % 2)[0])
        codes.append(env.step(step % 2)[0])
    np.testing.assert_allclose(np.stack(codes), jn.use.encode(vae, np.stack(seen)), atol=1e-5)
    assert env.observation_space.shape == (2,) and codes[0].dtype == np.float32


@pytest.mark.parametrize("source", ["vae", "belief", "function"])
def test_gymnasium_is_content(source: str, request: pytest.FixtureRequest):
    encoder = (lambda rows: rows[:, :3] ** 2) if source == "function" else request.getfixturevalue(source)
    check_env(EncodedObservation(cart(), encoder).unwrapped, skip_render_check=True)
    env = EncodedObservation(cart(), encoder)
    first = [env.reset(seed=5)[0], env.step(1)[0]]
    again = [env.reset(seed=5)[0], env.step(1)[0]]
    np.testing.assert_array_equal(first, again)
    assert env.observation_space.contains(first[1]) and np.isfinite(first).all()


def test_beliefs_are_each_environments_own(belief: Any):
    # that they are the posterior of the whole sequence is tested where worlds are
    encoder = belief
    assert encoder.dim == 5
    rng = np.random.default_rng(0)
    rows, acts = rng.normal(size=(6, 3, 4)).astype(np.float32), rng.normal(size=(6, 3, 2)).astype(np.float32)
    none, every = np.zeros(3, bool), np.ones(3, bool)

    def run(order: list[int], live: list[np.ndarray]) -> np.ndarray:
        memory = encoder.begin(3, key=KEY)
        for t, now in zip(order, live, strict=True):
            memory, codes = encoder.see(memory, Shown(rows[t], acts[t], none if t else every, now))
        return codes

    plain = run([0, 1, 2], [every] * 3)
    # a step that an environment sits out changes nothing of it, and a fresh start forgets all there was
    memory = encoder.begin(3, key=KEY)
    memory, first = encoder.see(memory, Shown(rows[0], acts[0], every, every))
    memory, same = encoder.see(memory, Shown(rows[3], acts[3], none, np.array([False, True, True])))
    np.testing.assert_array_equal(first[0], same[0])
    assert (first[1] != same[1]).any()
    _, new = encoder.see(memory, Shown(rows[0], acts[5], np.array([False, True, False]), every))
    assert (plain[0] != new[0]).any()
    np.testing.assert_allclose(new[1, :3], first[1, :3], atol=1e-6)  # h_1 knows no action and no past


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vectors_as_single_environments(vae: Any, mode: AutoresetMode):
    plain = SyncVectorEnv([cart] * 3, autoreset_mode=mode)
    env = EncodedVectorObservation(SyncVectorEnv([cart] * 3, autoreset_mode=mode), vae)
    shown, coded = plain.reset(seed=2)[0], env.reset(seed=2)[0]
    for step in range(40):
        np.testing.assert_allclose(coded, jn.use.encode(vae, shown), atol=1e-5)
        assert env.observation_space.contains(coded)
        shown, _, over, cut, info = plain.step(np.ones(3, int))
        coded, _, _, _, coded_info = env.step(np.ones(3, int))
        done = over | cut
        if mode is AutoresetMode.SAME_STEP and done.any():
            i = int(np.argmax(done))
            last = jn.use.encode(vae, info["final_obs"][i][None])[0]
            np.testing.assert_allclose(coded_info["final_obs"][i], last, atol=1e-5)
            assert all((coded_info["final_obs"][j] is None) == (not done[j]) for j in range(3))
        if mode is AutoresetMode.DISABLED and done.any():
            shown = plain.reset(seed=[step, step + 50, step + 99], options={"reset_mask": done})[0]
            coded = env.reset(seed=[step, step + 50, step + 99], options={"reset_mask": done})[0]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_beliefs_begin_anew_with_every_episode(belief: Any, mode: AutoresetMode):
    env = EncodedVectorObservation(SyncVectorEnv([cart] * 2, autoreset_mode=mode), belief)
    first, ended = env.reset(seed=2)[0], np.zeros(2, bool)
    start = first[0, :3]  # h before anything happened, the same for all
    np.testing.assert_allclose(first[1, :3], start, atol=1e-6)
    begun = 0
    for _ in range(40):
        codes, _, over, cut, _ = env.step(np.array([1, 0]))
        now = ended if mode is AutoresetMode.NEXT_STEP else over | cut
        for i in range(2):
            assert np.allclose(codes[i, :3], start, atol=1e-6) == bool(now[i])
        begun, ended = begun + int(now.sum()), over | cut
    assert begun > 2


@pytest.mark.parametrize("vector", [False, True])
def test_refreshed_from_what_was_seen(vae: Any, vector: bool):
    replay, calls = Replay(), []

    def refit(fitted: Any, kept: Replay) -> Any:
        calls.append(len(kept))
        assert kept.to_rows().shape == (kept.steps + len(kept), 4)
        return jax.tree.map(lambda leaf: 1.1 * leaf if eqx.is_inexact_array(leaf) else leaf, fitted)

    refresh = Refresh(replay, every=3, refit=refit)
    if vector:
        env: Any = EncodedVectorObservation(SyncVectorEnv([cart] * 2), vae, refresh=refresh)
    else:
        env = EncodedObservation(cart(), vae, refresh=refresh)
    before, _ = env.reset(seed=0)
    while env.shared.refits < 2:
        done = env.step(np.ones(2, int) if vector else 1)
        if not vector and (done[2] or done[3]):
            env.reset()
    assert calls == [3, 6] and len(replay) == 6 and all(e.terminated for e in replay)
    after, _ = env.reset(seed=0)
    assert np.abs(after - before).max() > 1e-4
    raw = SyncVectorEnv([cart] * 2) if vector else cart()
    shown = np.atleast_2d(raw.reset(seed=0)[0])
    np.testing.assert_allclose(np.atleast_2d(after), jn.use.encode(env.shared.source, shown), atol=1e-5)


def test_shared_by_several(vae: Any):
    replay = Replay()
    shared = Representation(cart(), vae, refresh=Refresh(replay, every=100, refit=lambda fitted, _: fitted))
    envs = [EncodedObservation(cart(), shared) for _ in range(2)]
    for env in envs:
        env.reset(seed=1)
        while not env.step(1)[2]:
            pass
    assert len(replay) == 2 and replay[0].observations.shape[1:] == (4,)


def test_refused(vae: Any, rssm: Any):
    with pytest.raises(InputError, match="observations have 3 numbers, but Decoder is expecting 4"):
        EncodedObservation(gymnasium.make("Pendulum-v1"), vae)
    with pytest.raises(InputError, match="fitted to actions of 2 columns, the environment's have 1"):
        lift = gymnasium.wrappers.TransformObservation(
            gymnasium.make("Pendulum-v1"),
            lambda o: np.append(o, 0),
            gymnasium.spaces.Box(-9, 9, (4,), np.float32),
        )
        EncodedObservation(lift, rssm)
    with pytest.raises(InputError, match=r"this one made \(2,\) of 2 rows"):
        EncodedObservation(cart(), lambda rows: rows[:, 0])
    with pytest.raises(InputError, match="every is 0"):
        Refresh(Replay(), every=0, refit=lambda fitted, _: fitted)
    own = jn.posteriors.PerDatum(GAUSS, num_data=3, key=KEY)
    per_datum = jn.Inference(vae.model, own, jn.objectives.ELBO(), jn.gradients.Reparam())
    with pytest.raises(InputError, match="PerDatum has no posterior for new observations"):
        LatentEncoder(per_datum, CART)
    with pytest.raises(InputError, match="before reset"):
        EncodedObservation(cart(), vae).step(0)


def test_the_page_runs(capsys: pytest.CaptureFixture[str]):
    page = Path(__file__).parents[2] / "docs" / "control" / "replay.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.S)
    scope: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), scope)
    assert len(blocks) == 2 and scope["data"].cond.shape[-1] == 3 and scope["codes"].shape == (2,)
    assert "Replay('CartPole-v1'" in capsys.readouterr().out
