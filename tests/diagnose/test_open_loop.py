"""Open-loop errors: the best that can be done, baselines whose errors are known, and what is refused."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.diagnose.baselines import Autoregression
from jensen.errors import InputError

KEY, H = jax.random.key(0), 6
TURN = 0.97 * np.array([[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]])


def exactly(model) -> Inference:
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


@pytest.fixture(autouse=True, scope="module")
def _quick_compile():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def pushed() -> tuple[Inference, fit.Data]:
    """A rotation seen in one column, pushed by known inputs, and sequences drawn from it."""
    model = models.LinearGaussianSSM.with_parameters(
        TURN, 0.01 * np.eye(2), [[1.0, 0.0]], [0.01], initial=(np.zeros(2), np.eye(2)),
        inputs=([[0.0], [1.0]], None), offsets=(np.zeros(2), np.array([50.0])),
    )  # fmt: skip
    inference = exactly(model)
    u = np.random.default_rng(0).normal(size=(100, 29, 1)).astype(np.float32)
    draw = jax.jit(jax.vmap(lambda u, k: model.simulate(Datum(jnp.zeros((30, 1)), u), key=k)[1]))
    x = np.asarray(draw(u, jax.random.split(KEY, 100)))
    return inference, fit.Data(x, cond=u)


def test_errors_are_those_of_the_predictive_law_and_of_known_baselines(pushed):
    inference, data = pushed
    out = diagnose.open_loop(inference, data, context=20, horizon=H, key=KEY, train=data)
    row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), data.rows())
    filtered = eqx.filter_jit(lambda model, row: model.filtered(row).covariance)(inference.model, row)
    cov = np.asarray(filtered, float)[19]
    for h in range(H):
        cov = TURN @ cov @ TURN.T + 0.01 * np.eye(2)
        np.testing.assert_allclose(out.model[h], np.sqrt(cov[0, 0] + 0.01), rtol=0.2)
    ahead, last = data.x[:, 20 : 20 + H, 0], data.x[:, 19:20, 0]
    np.testing.assert_allclose(out.copy_last, np.sqrt(((ahead - last) ** 2).mean(0)), rtol=1e-4)
    np.testing.assert_allclose(out.mean, np.sqrt(((ahead - data.x.mean()) ** 2).mean(0)), rtol=1e-4)
    # eight lags of 3000 rows come close to the optimum; without the inputs they could not
    assert (out.linear < 1.6 * out.model).all() and out.ratios["linear"] < 1.05
    assert out.ratios["copy_last"] < 0.1 and (out.horizon, out.num_windows) == (H, 100)
    text = str(out)
    assert "copy last" in text and "fitted on train" in text and len(text.splitlines()) == 6
    assert out.to_json()["rmse"]["model"] == out.model.tolist()


def test_missing_entries_do_not_count_and_windows_roll(pushed):
    inference, data = pushed
    hidden = np.zeros(data.x.shape, bool)
    hidden[:, 20] = hidden[:50, 22] = hidden[30:60, 19] = True
    lengths = np.full(100, 30)
    lengths[:10] = 27
    part = fit.Data(np.where(hidden, np.nan, data.x), cond=data.cond, mask=~hidden, lengths=lengths)
    out = diagnose.open_loop(inference, part, context=20, horizon=H, key=KEY, stride=4, train=data)
    assert out.num_windows == 190  # after 20 steps, and after 24 where 6 remain
    square = np.zeros((0, H))
    for n, length in enumerate(lengths):
        for origin in (20, 24) if length == 30 else (20,):
            last = data.x[n, origin - 1 - hidden[n, origin - 1, 0], 0]
            ahead = np.where(hidden, np.nan, data.x)[n, origin : origin + H, 0]
            square = np.vstack([square, (ahead - last) ** 2])
    np.testing.assert_allclose(out.copy_last, np.sqrt(np.nanmean(square, 0)), rtol=1e-4)
    assert (out.model < 0.5 * out.copy_last).all()
    hidden[:, 20:26] = True
    nothing = fit.Data(data.x[:, :26], cond=data.cond[:, :25], mask=~hidden[:, :26])
    assert np.isnan(
        diagnose.open_loop(inference, nothing, context=20, horizon=H, key=KEY, train=data).model
    ).all()


def test_an_autoregression_finds_its_own_law():
    rng = np.random.default_rng(0)
    x, u = np.zeros((40, 50, 1)), rng.normal(size=(40, 50, 1))
    for t in range(1, 49):
        x[:, t + 1] = 1.5 * x[:, t] - 0.7 * x[:, t - 1] + u[:, t] + 0.01 * rng.normal(size=(40, 1))
    model = Autoregression.fit(x, np.ones(x.shape, bool), u, 2)
    path = x[:, :20]
    for t in range(19, 24):
        path = np.concatenate([path, 1.5 * path[:, -1:] - 0.7 * path[:, -2:-1] + u[:, t : t + 1]], 1)
    got = model.predict(x[:, :20], np.ones((40, 20, 1), bool), u, 5)
    np.testing.assert_allclose(got, path[:, 20:], atol=0.03)
    nothing = Autoregression.fit(x[:, :1], np.ones((40, 1, 1), bool), u[:, :1], 3)
    np.testing.assert_allclose(nothing.predict(x[:, :4], x[:, :4] < 99, u, 2)[:, 0], x[:, 3])
    spread = rng.normal(size=(1, 300))  # wide rows with the same law, and something that stays as it is
    wide = 5 + x @ spread + rng.normal(size=(40, 1, 300))
    model = Autoregression.fit(wide, np.ones(wide.shape, bool), u, 2)
    assert model.basis.shape == (300, 256)
    got = model.predict(wide[:, :20], np.ones((40, 20, 300), bool), u, 5)
    np.testing.assert_allclose(got - wide[:, 19:20], (path[:, 20:] - path[:, 19:20]) @ spread, atol=0.2)


def test_deep_models_are_continued_by_draws(pushed):
    data = pushed[1].take(np.arange(4))
    model = models.NeuralStateSpace(1, 1, decoder=(), transition="linear", cond_dim=1, key=KEY)
    q = posteriors.Filtering(families.DiagGaussian(1), like=model, widths=(2,), key=KEY)
    inference = Inference(model, q, objectives.ELBO(), gradients.Reparam())
    out = diagnose.open_loop(inference, data, context=20, horizon=H, key=KEY, num_samples=3)
    drawn = use.rollout(inference, data.x[:, :20], data.cond, horizon=H, key=KEY, num_samples=3)
    error = np.sqrt(((drawn.mean - data.x[:, 20 : 20 + H]) ** 2).mean((0, 2)))
    np.testing.assert_allclose(out.model, error, rtol=1e-4)
    assert out.fitted_on == "contexts"


def test_bad_calls(pushed):
    inference, data = pushed
    hmm = exactly(models.HMM.with_parameters([1.0], [[1.0]], probs=[[0.5, 0.5]]))
    static = exactly(models.Gaussian(1))
    run = diagnose.open_loop
    for words, call in (
        ("horizon=0", lambda: run(inference, data, context=5, horizon=0, key=KEY)),
        ("context=0", lambda: run(inference, data, context=0, horizon=5, key=KEY)),
        (
            "need sequences of 40 steps; the longest has 30",
            lambda: run(inference, data, context=30, horizon=10, key=KEY),
        ),
        (
            "takes actions of length 1; give fit.Data",
            lambda: run(inference, data.x, context=5, horizon=5, key=KEY),
        ),
        ("x are categories", lambda: run(hmm, np.zeros((2, 6, 1)), context=3, horizon=2, key=KEY)),
        ("must be sequences", lambda: run(static, np.zeros((4, 1)), context=1, horizon=1, key=KEY)),
        ("has no dynamics", lambda: run(static, np.ones((4, 3, 1)), context=1, horizon=1, key=KEY)),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
