"""Families: any finite parameters are legal, and vmap is a loop."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from jensen import dist, families
from jensen.errors import InputError

FAMILIES = {
    "DiagGaussian": families.DiagGaussian(3),
    "LowRankGaussian": families.LowRankGaussian(3, 2),
    "FullGaussian": families.FullGaussian(3),
    "Categorical": families.Categorical(3),
    "OneHot": families.OneHot(3, 2),
    "Bernoulli": families.Bernoulli(3),
}


@eqx.filter_jit
def _value(params, family, key):
    def own_log_prob(params):
        z, log_q = family(params).sample_and_log_prob(key=key)
        return log_q.sum() + family(params).log_prob(jax.lax.stop_gradient(z)).sum()

    return jax.value_and_grad(own_log_prob)(params)


@pytest.mark.parametrize("name", FAMILIES)
def test_any_finite_parameters_are_legal(name):
    family = FAMILIES[name]

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(arrays(np.float32, family.num_params, elements=some.floats(-1e4, 1e4, width=32)))
    def check(params):
        value, slope = _value(jnp.asarray(params), family, jax.random.key(0))
        assert np.isfinite(value) and np.isfinite(slope).all()
        q = family(jnp.asarray(params))
        if isinstance(q, dist.AbstractGaussian):
            diagonal = np.diagonal(q.scale_tril)
            assert np.isfinite(q.scale_tril).all() and (diagonal > 0).all()

    check()


@pytest.mark.parametrize("name", FAMILIES)
def test_vmap_is_a_loop(name):
    family = FAMILIES[name]
    params = jax.random.normal(jax.random.key(0), (4, family.num_params))
    keys = jax.random.split(jax.random.key(1), 4)

    def one(params, key):
        q = family(params)
        z, log_q = q.sample_and_log_prob(key=key)
        return z, log_q, dist.kl_divergence(q, family(family.initial_params()), z)

    together = jax.vmap(one)(params, keys)
    for i in range(4):
        for a, b in zip(together, one(params[i], keys[i]), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", FAMILIES)
def test_starts_at_its_centre(name):
    family = FAMILIES[name]
    q = family(family.initial_params())
    assert isinstance(q, family.law) and family.initial_params().shape == (family.num_params,)
    if isinstance(q, dist.AbstractGaussian):
        np.testing.assert_allclose(q.mean, 0.0)
        np.testing.assert_allclose(q.variance, 1.0, atol=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: families.DiagGaussian(0),
        lambda: families.FullGaussian(-1),
        lambda: families.LowRankGaussian(2, 0),
        lambda: families.OneHot(1),
        lambda: families.Categorical(1),
        lambda: families.Bernoulli(0),
    ],
)
def test_sizes_are_checked(make):
    with pytest.raises(InputError, match="must be at least"):
        make()
