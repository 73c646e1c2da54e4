"""Predictions of y given x, against laws that are known."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import jensen as jn
from jensen import fit, use
from jensen.errors import InputError, JensenWarning
from jensen.families import bounded_exp
from jensen.use.predict import placed

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def exactly(model: Any) -> jn.Inference:
    return jn.Inference(model, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())


class Fork(eqx.Module):
    """π = (σ(2x), 1 − σ(2x)), μ = (2 + x, −2 + x), s = about (e^{x/2}, 1/2)."""

    def __call__(self, x: Any) -> Any:
        logits = jnp.array([2 * x[0], 0.0])
        first = jnp.array([2 + x[0], x[0] / 2])
        second = jnp.array([-2 + x[0], jnp.log(0.5)])
        return jnp.concatenate([logits, first, second])


@pytest.fixture(scope="module")
def fork() -> jn.models.MixtureDensity:
    model = jn.models.MixtureDensity(1, 1, 2, net=Fork(), key=jax.random.key(0))
    return eqx.tree_at(lambda m: m.floor.value, model, jnp.zeros(1))


def fork_law(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    gate = 1 / (1 + np.exp(-2 * x))
    weights = np.stack([gate, 1 - gate], 1)
    scales = np.stack([x / 2, np.full_like(x, np.log(0.5))], 1)
    return weights, np.stack([2 + x, -2 + x], 1), np.asarray(bounded_exp(jnp.asarray(scales)), float)


def fork_cdf(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    weights, means, scales = fork_law(x)
    return (weights * stats.norm.cdf((y[:, None] - means) / scales)).sum(1)


def test_a_mixture_is_predicted_exactly(fork: jn.models.MixtureDensity):
    x = np.linspace(-2, 2, 9)
    found = use.predict(exactly(fork), x[:, None], levels=LEVELS, key=jax.random.key(1))
    weights, means, scales = fork_law(x)
    mean = (weights * means).sum(1)
    std = np.sqrt((weights * (scales**2 + means**2)).sum(1) - mean**2)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found.std)[:, 0], std, rtol=1e-5)
    assert found.quantiles is not None and found.quantiles.shape == (5, 9, 1)
    for level, quantile in zip(LEVELS, found.quantiles, strict=True):
        np.testing.assert_allclose(fork_cdf(x, quantile[:, 0].astype(float)), level, atol=1e-5)
    grid = np.linspace(-12, 20, 401)
    p = use.density(exactly(fork), x[:, None], grid)
    here = stats.norm.pdf(grid[:, None, None], means, scales)
    np.testing.assert_allclose(p, (weights * here).sum(2).T, atol=1e-5)
    np.testing.assert_allclose(p.sum(1) * (grid[1] - grid[0]), 1, atol=1e-3)


def test_intervals_hold_as_often_as_they_say(fork: jn.models.MixtureDensity):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, 4000)
    weights, means, scales = fork_law(x)
    z = (rng.random(len(x)) > weights[:, 0]).astype(int)
    rows = np.arange(len(x))
    y = rng.normal(means[rows, z], scales[rows, z])
    found = use.predict(exactly(fork), x[:, None], num_samples=99, levels=LEVELS, key=jax.random.key(2))
    drawn = np.stack([placed(jnp.asarray(s), jnp.array(LEVELS)) for s in found.samples.swapaxes(0, 1)], 1)
    for quantiles in (found.quantiles, drawn):  # in closed form, and placed among few draws
        assert quantiles is not None
        below = (y[:, None] < quantiles[..., 0].T).mean(0)
        error = 4 * np.sqrt(np.array(LEVELS) * (1 - np.array(LEVELS)) / len(x))
        assert (abs(below - LEVELS) < error).all(), below


class Line(eqx.Module):
    """[z, x] to 3x + 2z in two columns, the second turned round."""

    def __call__(self, zx: Any) -> Any:
        value = 3 * zx[1] + 2 * zx[0]
        return jnp.array([value, -value])


def test_a_conditional_decoder_is_averaged_over_its_prior():
    model = jn.models.ConditionalDecoder(
        2,
        1,
        prior=jn.models.priors.StandardNormal(1),
        net=Line(),
        key=jax.random.key(0),
    )
    q = jn.posteriors.Amortized(
        jn.families.DiagGaussian(1), data_dim=2, cond_dim=1, widths=(), key=jax.random.key(1)
    )
    inference = jn.Inference(model, q, jn.objectives.ELBO(), jn.gradients.Reparam())
    x = np.array([[0.0], [1.0]])
    found = use.predict(inference, x, num_samples=4000, key=jax.random.key(2))
    law = stats.norm(3 * x * [1, -1], np.sqrt(5))
    np.testing.assert_allclose(found.mean, law.mean(), atol=0.15)
    np.testing.assert_allclose(np.asarray(found.std), law.std(), rtol=0.05)
    for level, quantile in zip(found.levels, np.asarray(found.quantiles), strict=True):
        np.testing.assert_allclose(law.cdf(quantile), level, atol=0.025)
    grid = np.linspace(-8, 8, 41)
    p = use.density(inference, x, grid, column=1, num_samples=20_000)
    np.testing.assert_allclose(p, stats.norm.pdf(grid, -3 * x, np.sqrt(5)), atol=0.004)
    assert found.samples.shape == (4000, 2, 2)
    assert np.corrcoef(found.samples[:, 0].T)[0, 1] == pytest.approx(-0.8, abs=0.03)  # 4 of 5 shared


def test_rows_far_from_zero_and_several_columns():
    weights, intercept = np.array([[2.0], [0.5]]), np.array([1e6, -3.0])
    noise = np.array([[1.0, 0.6], [0.6, 1.0]])
    line = jn.models.LinearGaussian.with_parameters(weights, intercept, noise)
    found = use.predict(exactly(line), np.array([[0.0], [4.0]]), num_samples=2000, key=jax.random.key(0))
    np.testing.assert_allclose(found.mean, [[1e6, -3.0], [1e6 + 8, -1.0]], atol=0.1)
    np.testing.assert_allclose(np.asarray(found.std), 1.0, rtol=1e-4)
    assert np.corrcoef(found.samples[:, 0].T)[0, 1] == pytest.approx(0.6, abs=0.06)
    marginal = use.density(exactly(line), [[4.0]], [-1.0, 0.0], column=1)
    np.testing.assert_allclose(marginal[0], stats.norm.pdf([0.0, 1.0]), rtol=1e-4)


def test_categories_have_probabilities_only():
    model = jn.models.CategoricalNet(1, 3, 2, widths=(4,), key=jax.random.key(0))
    found = use.predict(exactly(model), np.ones((5, 2)), num_samples=3000, key=jax.random.key(1))
    assert found.mean.shape == (5, 1, 3) and found.std is None and found.quantiles is None
    shares = np.stack([(found.samples[:, 0, 0] == k).mean() for k in range(3)])
    np.testing.assert_allclose(found.mean[0, 0], shares, atol=0.04)


def test_any_columns_of_y_from_the_rest_and_the_condition():
    noise = np.array([[1.0, 0.8], [0.8, 1.0]])
    line = exactly(jn.models.LinearGaussian.with_parameters([[1.0], [2.0]], [0.0, 0.0], noise))
    cond = np.array([[1.0], [2.0], [3.0]])
    y = np.array([[2.0, np.nan], [np.nan, 4.5], [np.nan, np.nan]])
    with pytest.warns(JensenWarning, match="constant column"):
        data = fit.Data(y, cond=cond, mask=~np.isnan(y))
    filled = use.impute(line, data, key=jax.random.key(0))
    np.testing.assert_allclose(filled, [[2.0, 2.8], [2.4, 4.5], [3.0, 6.0]], atol=1e-4)
    score = use.score(line, fit.Data([[2.0, 2.8]], cond=[[1.0]]))
    law = stats.multivariate_normal([1.0, 2.0], noise)
    assert score[0] == pytest.approx(law.logpdf([2.0, 2.8]), abs=1e-4)
    drawn = use.sample(line, 4000, cond=jnp.array([2.0]), key=jax.random.key(1))
    np.testing.assert_allclose(drawn.mean(0), [2.0, 4.0], atol=0.08)
    np.testing.assert_allclose(np.cov(drawn.T), noise, atol=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cond": np.ones(3)}, r"cond must be conditions by columns \(N, C\), got shape \(3,\)"),
        ({"cond": np.ones((3, 2))}, "X has 2 features, but MixtureDensity is expecting 1 features"),
        ({"cond": np.full((3, 1), np.nan)}, "cond holds NaN or infinity, first in row 0"),
        ({"levels": (0.0, 0.5)}, "each must lie between 0 and 1"),
        ({"num_samples": 1}, "num_samples is 1; it must be at least 2"),
    ],
)
def test_what_cannot_be_asked(fork: jn.models.MixtureDensity, change: dict[str, Any], said: str):
    with pytest.raises(InputError, match=said):
        use.predict(exactly(fork), **{"cond": np.ones((3, 1)), "key": jax.random.key(0), **change})


def test_a_model_without_a_condition():
    model = jn.models.Gaussian(2, key=jax.random.key(0))
    with pytest.raises(InputError, match=r"predict: Gaussian is no model of y given x; use\.sample"):
        use.predict(exactly(model), np.ones((1, 1)), key=jax.random.key(0))
    with pytest.raises(InputError, match=r"there is no column 1; y has 1"):
        line = jn.models.LinearGaussian.with_parameters([[1.0]], [0.0], [[1.0]])
        use.density(exactly(line), [[0.0]], [0.0], column=1)


@pytest.mark.parametrize(
    "cond, says",
    [(np.zeros((5, 1)), r"cond must be one x, \(1,\)"), (np.array([np.nan]), "cond holds NaN or infinity")],
)
def test_sample_refuses_many_conditions_and_nan(cond, says):
    line = exactly_line()
    with pytest.raises(InputError, match=says):
        use.sample(line, 3, cond=cond, key=jax.random.key(0))


def test_density_refuses_an_empty_grid():
    with pytest.raises(InputError, match="one at least"):
        use.density(exactly_line(), [[0.0]], [])


def exactly_line():
    line = jn.models.LinearGaussian.with_parameters([[2.0]], [1.0], [[0.25]])
    return jn.Inference(line, jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic())
