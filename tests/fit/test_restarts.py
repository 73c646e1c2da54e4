"""Restarts side by side are the restarts one by one."""

from __future__ import annotations

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.fit import lockstep
from jensen.fit.gradient import ready

KEY = jax.random.key(0)


def two_bumps(p, data):
    """A mixture of N(−3, 1) and, four times as likely, N(3, 1), and NaN beyond 60."""
    log_p = jnp.logaddexp(-0.5 * jnp.sum((p + 3) ** 2), jnp.log(4.0) - 0.5 * jnp.sum((p - 3) ** 2))
    return jnp.where(jnp.abs(p[0]) > 60, jnp.nan, log_p) + 0 * data


MODEL = models.LogDensity(two_bumps, 1, data=jnp.zeros(()))


def start(key, at=None):
    q = posteriors.Global(families.DiagGaussian(1), key=key)
    at = 5 * jax.random.normal(key, ()) if at is None else at
    q = eqx.tree_at(lambda q: q.params, q, jnp.stack([at, -1.0]))
    return jn.Inference(MODEL, q, objectives.ELBO(4), gradients.StickTheLanding())


def one_by_one(*args, **options):
    """The same as ``fit.gradient``, but not it."""
    return fit.gradient(*args, **options)


OPTIONS = {"restarts": 4, "key": KEY, "optimizer": optax.adam(0.1), "steps": 300}


@pytest.mark.parametrize("stop", [None, fit.Settled(50)])
def test_side_by_side_is_one_by_one(stop, monkeypatch):
    calls = []
    climb = lockstep.climb_together
    monkeypatch.setattr(
        sys.modules["jensen.fit.best_of"], "climb_together", lambda b: calls.append(len(b)) or climb(b)
    )
    together = fit.best_of(start, None, by=fit.gradient, stop=stop, **OPTIONS)
    assert calls == [4]
    alone = fit.best_of(start, None, by=one_by_one, stop=stop, **OPTIONS)
    assert calls == [4]
    np.testing.assert_allclose(together.restarts, alone.restarts, atol=1e-4)
    params = [f.inference.posterior.params for f in (together, alone)]
    np.testing.assert_allclose(*params, atol=1e-4)
    np.testing.assert_allclose(together.history.bound, alone.history.bound, atol=1e-3)
    assert together.stop_reason == alone.stop_reason == ("steps" if stop is None else "settled")
    # the likelier bump: log √(2π) + log 4
    assert together.restarts[0] == pytest.approx(0.919 + np.log(4), abs=0.02)
    assert together.inference.posterior.params[0] == pytest.approx(3, abs=0.1)
    assert np.ptp(together.restarts) > 1


def test_a_restart_that_meets_nan_is_run_alone_and_loses():
    starts = iter([jnp.asarray(1.0), jnp.asarray(100.0), jnp.asarray(-1.0), jnp.asarray(100.0)])
    best = fit.best_of(
        lambda key: start(key, next(starts)), None, by=fit.gradient, **(OPTIONS | {"restarts": 3})
    )
    assert best.restarts[-1] == -np.inf and np.isfinite(best.restarts[:2]).all()


def test_what_is_tiny():
    big = ready(
        jn.Inference(models.GaussianMixture(2, 2, key=KEY), posteriors.Exact(), objectives.ELBO(), gradients.Analytic()),
        np.random.default_rng(0).normal(size=(6_000, 2)), key=KEY, optimizer=optax.adam(1e-2), steps=1,
    )  # fmt: skip
    small = ready(start(KEY), None, key=KEY, optimizer=optax.adam(1e-2), steps=1)
    assert lockstep.is_tiny(small) and not lockstep.is_tiny(big)
    assert lockstep.are_alike([small, small]) and not lockstep.are_alike([small, big])
