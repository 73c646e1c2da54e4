"""Rényi, grouped and wake-sleep bounds on given weights, and between the limits they are named for."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jensen import objectives
from jensen.core import Terms
from jensen.errors import InputError

STEP = jnp.asarray(0)
LOG_W = np.array([-1.0, 0.5, -3.0, 2.0])


def terms(log_w):
    log_w, log_q = jnp.asarray(log_w, float), jnp.full((len(log_w), 1), -0.7)
    return Terms(log_w + log_q.sum(-1), log_q, jnp.full(len(log_w), 0.1), None)


def log_mean(log_w):
    return float(np.log(np.mean(np.exp(log_w))))


def of(objective):
    return float(objective.bound(terms(LOG_W)))


def test_renyi_between_its_limits():
    elbo, iwae = LOG_W.mean(), log_mean(LOG_W)
    np.testing.assert_allclose(of(objectives.Renyi(0.0, num_samples=4)), iwae, rtol=1e-5)
    np.testing.assert_allclose(of(objectives.Renyi(1.0, num_samples=4)), elbo, rtol=1e-5)
    for near in (0.999, 1.001):
        np.testing.assert_allclose(of(objectives.Renyi(near, num_samples=4)), elbo, atol=3e-3)
    falling = [of(objectives.Renyi(a, num_samples=4)) for a in (0.0, 0.3, 0.7, 1.0, 2.0, 5.0)]
    assert (np.diff(falling) < 0).all()
    loss = objectives.Renyi(0.3, num_samples=4).losses(terms(LOG_W), STEP)
    np.testing.assert_allclose(loss.model, 0.1 - falling[1], rtol=1e-5)


def test_more_draws_go_from_the_elbo_to_the_renyi_bound():
    """Sums over every tuple of draws from a law on three values."""
    q, joint = np.array([0.5, 0.3, 0.2]), np.array([0.05, 0.3, 0.01])
    log_w = np.log(joint / q)
    for alpha in (0.5, 2.0):
        limit = np.log((q * np.exp((1 - alpha) * log_w)).sum()) / (1 - alpha)
        means = []
        for k in (1, 2, 4):
            objective = objectives.Renyi(alpha, num_samples=k)
            tuples = np.array(list(itertools.product(range(3), repeat=k)))
            each = [float(objective.bound(terms(log_w[t]))) for t in tuples]
            means.append(float(q[tuples].prod(1) @ each))
        np.testing.assert_allclose(means[0], q @ log_w, rtol=1e-5)
        print(alpha, means, limit, np.log(joint.sum()))
        assert limit <= np.log(joint.sum()) and max(means) <= np.log(joint.sum())
        off = np.abs(np.array(means) - limit)
        assert (np.diff(off) < 0).all() and ((np.array(means) - limit) * (alpha - 1) > 0).all()


def test_groups():
    halves = (log_mean(LOG_W[:2]) + log_mean(LOG_W[2:])) / 2
    iwae, elbo = log_mean(LOG_W), LOG_W.mean()
    np.testing.assert_allclose(of(objectives.MIWAE(4, groups=1)), iwae, rtol=1e-5)
    np.testing.assert_allclose(of(objectives.MIWAE(4, groups=2)), halves, rtol=1e-5)
    np.testing.assert_allclose(of(objectives.MIWAE(4, groups=4)), elbo, rtol=1e-5)
    two = objectives.PIWAE(4, groups=2).losses(terms(LOG_W), STEP)
    np.testing.assert_allclose([two.model, two.posterior], [0.1 - iwae, 0.1 - halves], rtol=1e-5)
    mixed = objectives.CIWAE(4, beta=objectives.Linear(0.0, 1.0, 4))
    for step in (0, 1, 4):
        beta = step / 4
        loss = mixed.losses(terms(LOG_W), jnp.asarray(step)).model
        np.testing.assert_allclose(loss, 0.1 - beta * elbo - (1 - beta) * iwae, rtol=1e-5)
    np.testing.assert_allclose([of(mixed), of(objectives.PIWAE(4, groups=2))], iwae, rtol=1e-5)


def test_wake_sleep_weighs_its_draws():
    loss = objectives.ReweightedWakeSleep(4).losses(terms(LOG_W), STEP)
    np.testing.assert_allclose([loss.model, loss.posterior], [0.1 - log_mean(LOG_W), 0.1 + 0.7], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: objectives.Renyi(-1.0, num_samples=2), "alpha is -1"),
        (lambda: objectives.Renyi(float("nan"), num_samples=2), "alpha is nan"),
        (lambda: objectives.Renyi(0.5, num_samples=0), "num_samples is 0"),
        (lambda: objectives.MIWAE(4, groups=3), "must divide the 4 draws"),
        (lambda: objectives.PIWAE(0, groups=1), "num_samples is 0"),
        (lambda: objectives.CIWAE(4, beta=1.5), "beta is 1.5"),
        (lambda: objectives.ReweightedWakeSleep(1), "num_samples is 1"),
    ],
)
def test_arguments_are_checked(make, text):
    with pytest.raises(InputError, match=text):
        make()
