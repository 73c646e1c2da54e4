"""Forecasts against closed forms, their coverage, and what is refused."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Inference
from jensen.errors import InputError

KEY, T, H = jax.random.key(0), 6, 5
A, Q = np.array([[0.9, 0.4], [-0.4, 0.9]]), np.array([[0.3, 0.1], [0.1, 0.2]])
C, R, B = np.array([[1.0, 0.0], [0.5, -1.0]]), np.array([0.2, 0.1]), np.array([[1.0], [-0.5]])
DIRECT, OFFSETS = np.array([[0.3], [2.0]]), (np.array([0.2, 0.1]), np.array([500.0, -1.0]))


def exactly(model) -> Inference:
    return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())


def linear(**more) -> models.LinearGaussianSSM:
    return models.LinearGaussianSSM.with_parameters(
        A, Q, C, R, initial=(np.zeros(2), np.eye(2)), offsets=OFFSETS, **more
    )


def test_the_linear_gaussian_forecast_is_the_k_step_predictive():
    model = linear(inputs=(B, DIRECT))
    rng = np.random.default_rng(0)
    x, u = OFFSETS[1] + rng.normal(size=(3, T, 2)), rng.normal(size=(3, T + H, 1))
    lengths = np.array([6, 4, 1])
    got = use.forecast(exactly(model), fit.Data(x, lengths=lengths), horizon=H, level=0.8, actions=u)
    last = use.filter(exactly(model), fit.Data(x, cond=u[:, :T], lengths=lengths))
    datum = [
        fit.Data(x[n : n + 1, :length], cond=u[n : n + 1, :length]).rows() for n, length in enumerate(lengths)
    ]
    for n, length in enumerate(lengths):
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], jnp.float32), datum[n])
        cov = np.asarray(model.filtered(row).covariance, np.float64)[-1]
        mean = last.mean[n, length - 1].astype(np.float64)
        for h in range(H):
            mean = A @ mean + B @ u[n, length - 1 + h] + OFFSETS[0]
            cov = A @ cov @ A.T + Q
            expected = C @ mean + DIRECT @ u[n, length + h] + OFFSETS[1]
            reach = norm.ppf(0.9) * np.sqrt(np.diag(C @ cov @ C.T) + R)
            np.testing.assert_allclose(got.mean[n, h], expected, atol=1e-4)
            np.testing.assert_allclose(got.upper[n, h] - got.mean[n, h], reach, rtol=1e-4)
            np.testing.assert_allclose(got.mean[n, h] - got.lower[n, h], reach, rtol=1e-4)


def test_intervals_cover_as_often_as_they_say():
    inference = exactly(linear())
    x = use.sample(inference, 2000, steps=T + H, key=KEY)
    got = use.forecast(inference, x[:, :T], horizon=H, level=0.9)
    inside = ((got.lower < x[:, T:]) & (x[:, T:] < got.upper)).mean(0)
    # 2000 sequences: five standard errors of a share of 0.9
    assert np.abs(inside - 0.9).max() < 5 * np.sqrt(0.09 / 2000)
    assert np.abs(inside - 0.9).max() > 0  # and not by construction


def test_an_hmm_forecast_mixes_its_states():
    initial, kernel = [0.5, 0.5], np.array([[0.9, 0.1], [0.3, 0.7]])
    model = models.HMM.with_parameters(initial, kernel, means=[[0.0], [10.0]], covariances=[[[1.0]], [[4.0]]])
    x = np.array([[[0.1], [0.2], [9.0]], [[0.0], [11.0], [np.nan]]])
    data = fit.Data(x, mask=~np.isnan(x))
    got = use.forecast(exactly(model), data, horizon=4, num_samples=4000, key=KEY)
    p = use.filter(exactly(model), data).mean[:, -1]
    for h in range(4):
        p = p @ kernel
        np.testing.assert_allclose(got.mean[:, h, 0], p @ [0.0, 10.0], atol=1e-3)
        for n in range(2):
            ends = [got.lower[n, h, 0], got.upper[n, h, 0]]
            below = [p[n] @ norm.cdf(end, [0, 10], [1, 2]) for end in ends]
            np.testing.assert_allclose(below, [0.05, 0.95], atol=0.02)


def test_categories_have_probabilities_and_no_interval():
    probs = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    model = models.HMM.with_parameters([0.5, 0.5], [[0.9, 0.1], [0.1, 0.9]], probs=probs)
    got = use.forecast(exactly(model), np.array([[[0], [0], [2]]]), horizon=2, num_samples=10)
    assert got.mean.shape == (1, 2, 1, 3) and got.lower is None and got.upper is None
    np.testing.assert_allclose(got.mean.sum(-1), 1, rtol=1e-5)


def test_deep_forecasts_are_drawn():
    """A deep Markov model that forgets at once: every step ahead is the same Gaussian."""
    model = models.NeuralStateSpace(1, 1, decoder=(), transition="linear", cond_dim=1, key=KEY)
    where = lambda m: (  # noqa: E731
        m.transition_net.linear.weight, m.net.layers[0].weight, m.net.layers[0].bias,
    )  # fmt: skip
    model = eqx.tree_at(where, model, (jnp.array([[0.0, 2.0]]), jnp.ones((1, 1)), jnp.zeros(1)))
    q = posteriors.Filtering(families.DiagGaussian(1), like=model, widths=(4,), key=KEY)
    inference = Inference(model, q, objectives.ELBO(), gradients.Reparam())
    u = np.random.default_rng(0).normal(size=(2, T + H - 1, 1))
    got = use.forecast(inference, fit.Data(np.zeros((2, T, 1)), cond=u), horizon=H, num_samples=4000)
    mean = 2 * u[:, T - 1 :] + float(model.transition_net.linear.bias[0])
    first = model.prior_from(jnp.zeros(2)).scale[0]
    scale = np.sqrt(float(first) ** 2 + float(model.likelihood_family.scale[0]) ** 2)
    np.testing.assert_allclose(got.mean, mean, atol=5 * float(first) / 4000**0.5)
    np.testing.assert_allclose(got.upper - mean, norm.ppf(0.95) * scale, rtol=0.12)
    np.testing.assert_allclose(mean - got.lower, norm.ppf(0.95) * scale, rtol=0.12)


def test_an_empty_sequence_is_forecast_from_the_prior():
    u = np.random.default_rng(3).normal(size=(2, T + H, 1))
    x = OFFSETS[1] + np.random.default_rng(4).normal(size=(2, T, 2))
    model = linear(inputs=(B, DIRECT))
    got = use.forecast(exactly(model), fit.Data(x, lengths=[3, 0]), actions=u, horizon=H)
    beside = use.forecast(exactly(model), fit.Data(x[:1], lengths=[3]), actions=u[:1], horizon=H)
    np.testing.assert_allclose(got.mean[0], beside.mean[0], rtol=1e-5)
    mean, cov = np.zeros(2), np.eye(2)
    for h in range(H):
        if h:
            mean, cov = A @ mean + B @ u[1, h - 1] + OFFSETS[0], A @ cov @ A.T + Q
        np.testing.assert_allclose(got.mean[1, h], C @ mean + DIRECT @ u[1, h] + OFFSETS[1], atol=1e-4)
        reach = norm.ppf(0.95) * np.sqrt(np.diag(C @ cov @ C.T) + R)
        np.testing.assert_allclose(got.upper[1, h] - got.mean[1, h], reach, rtol=1e-4)
    switch = models.HMM.with_parameters(
        [1.0, 0.0], [[0.1, 0.9], [0.9, 0.1]], means=[[-5.0], [5.0]], covariances=[[[0.01]], [[0.01]]]
    )
    got = use.forecast(exactly(switch), fit.Data(np.ones((2, 4, 1)), lengths=[4, 0]), horizon=2)
    np.testing.assert_allclose(got.mean[1, :, 0], [-5.0, 4.0], atol=1e-3)
    assert got.lower[1, 0, 0] < -5 < got.upper[1, 0, 0] < -4


def test_bad_calls():
    inference, x, u = exactly(linear(inputs=(B, DIRECT))), np.zeros((2, T, 2)), np.zeros((2, T + H, 1))
    nothing = fit.Data(x, mask=np.zeros(x.shape, bool))
    transition = exactly(linear(inputs=(B, None)))
    assert use.forecast(transition, x, actions=u[:, :-1], horizon=H).mean.shape == (2, H, 2)
    prior = use.forecast(inference, nothing, actions=u, horizon=1).mean[0, 0]  # nothing observed is legal
    state = sum(np.linalg.matrix_power(A, k) @ OFFSETS[0] for k in range(T))
    np.testing.assert_allclose(prior, C @ state + OFFSETS[1], atol=1e-3)
    for words, call in (
        ("horizon=0", lambda: use.forecast(inference, x, actions=u, horizon=0)),
        ("level is 1.5", lambda: use.forecast(inference, x, actions=u, horizon=H, level=1.5)),
        (r"needs actions \(2, 11 or more", lambda: use.forecast(inference, x, actions=u[:, :-1], horizon=H)),
        ("takes inputs of length 1; pass actions=", lambda: use.forecast(inference, x, horizon=H)),
        ("X has 1 features", lambda: use.forecast(inference, x[..., :1], actions=u, horizon=H)),
        ("must be sequences", lambda: use.forecast(inference, x[0], actions=u, horizon=H)),
        ("has no dynamics", lambda: use.forecast(exactly(models.Gaussian(2)), x[0], horizon=H)),
    ):
        with pytest.raises(InputError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
