"""Flows and mixtures: densities that integrate, inverses, derivatives, and the laws they contain."""

from __future__ import annotations

import equinox as eqx
import flowjax.bijections as flowjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jensen import dist, families
from jensen.errors import InputError
from jensen.nets import trainable

KEY = jax.random.key(0)


def bent(family, by: float = 0.5):
    """Move the family's own weights off their start."""
    weights, rest = eqx.partition(family, trainable(family))
    flat, unravel = ravel_pytree(weights)
    return eqx.combine(unravel(flat + by * jax.random.normal(KEY, flat.shape)), rest)


COUPLING = families.CouplingFlow(2, layers=3, widths=(8,), context_dim=2, key=KEY)
FLOWS = {
    "planar": families.PlanarFlow(2, 3),
    "coupling": COUPLING,
    "autoregressive": families.InverseAutoregressiveFlow(2, layers=2, widths=(8,), context_dim=2, key=KEY),
    "unshared": families.Unshared(COUPLING),
    "flowjax": families.FlowjaxFlow(
        flowjax.Coupling(
            KEY,
            transformer=flowjax.RationalQuadraticSpline(knots=4, interval=3),
            untransformed_dim=1,
            dim=2,
            cond_dim=2,
            nn_width=8,
            nn_depth=1,
        )
    ),
}


@eqx.filter_jit
def examined(family, params, points):
    """Everything that is asked of one law, compiled once."""
    q = family(params)
    noise = q.noise(key=KEY)
    z, log_q = q.sample_and_log_prob(key=KEY)
    return {
        "z": z,
        "noise": noise,
        "from_noise": q.from_noise(noise),
        "log_q": log_q,
        "log_prob": q.log_prob(z),
        "slope": jax.grad(q.log_prob)(z),
        "along": jax.grad(lambda u: -0.5 * u @ u - q.bijection.forward(u)[1])(noise),
        "jacobian": jax.jacfwd(q.from_noise)(noise),
        "on_grid": jax.vmap(q.log_prob)(points),
    }


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_a_density_that_knows_its_draws(name):
    family, axis = bent(FLOWS[name], 0.1), np.linspace(-10, 10, 400)
    params = 0.3 * jax.random.normal(jax.random.key(3), (family.num_params,))
    grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    seen = examined(family, params, grid)
    volume = np.linalg.slogdet(seen["jacobian"])[1]
    u = seen["noise"]
    np.testing.assert_allclose(seen["z"], seen["from_noise"], rtol=1e-5)
    np.testing.assert_allclose(seen["log_q"], -0.5 * u @ u - np.log(2 * np.pi) - volume, atol=1e-4)
    np.testing.assert_allclose(seen["log_prob"], seen["log_q"], atol=1e-4)
    # the slope of log q needs the derivative of the inverse
    np.testing.assert_allclose(seen["jacobian"].T @ seen["slope"], seen["along"], atol=2e-3)
    np.testing.assert_allclose(np.exp(seen["on_grid"]).sum() * (axis[1] - axis[0]) ** 2, 1.0, atol=2e-3)


@pytest.mark.parametrize("name", ["planar", "coupling", "autoregressive", "unshared"])
def test_a_flow_starts_as_the_standard_normal(name):
    family = FLOWS[name]
    q = family(family.initial_params())
    np.testing.assert_allclose(q.from_noise(jnp.array([0.3, -1.2])), [0.3, -1.2], atol=1e-6)


def test_each_output_of_a_masked_network_sees_what_comes_before_it():
    family = bent(families.InverseAutoregressiveFlow(5, layers=2, widths=(7, 6), context_dim=2, key=KEY))
    net = family.nets[0]
    slope = jax.jacfwd(lambda x: net(x))(jnp.ones(7))
    for block in (slope[:5], slope[5:]):
        assert (np.triu(block[:, :5]) == 0).all() and (np.abs(np.tril(block[:, :5], -1)).sum(1)[1:] > 0).all()
        assert (np.abs(block[:, 5:]).sum(1) > 0).all()


def test_planar_layers_stay_invertible_whatever_their_parameters():
    family = families.PlanarFlow(3, 2)
    wild = 50 * jax.random.normal(KEY, (40, family.num_params))

    @jax.jit
    @jax.vmap
    def both(params):
        q = family(params.at[:6].set(0.0))
        u = jnp.array([0.5, -0.3, 1.1])
        return q.bijection.inverse(q.from_noise(u))[0] - u, jax.grad(lambda p: family(p).log_prob(u))(params)

    back, slope = both(wild)
    assert np.isfinite(slope).all()
    assert np.median(np.abs(back)) < 1e-3


def test_an_unshared_flow_at_its_start_is_the_shared_one():
    shared = bent(COUPLING)
    free = families.Unshared(shared)
    own = jax.random.normal(KEY, (shared.num_params,))
    u = jnp.array([0.4, -0.9])
    params = free.initial_params().at[: len(own)].set(own)
    np.testing.assert_allclose(free(params).from_noise(u), shared(own).from_noise(u), rtol=1e-6)
    assert not any(jax.tree.leaves(trainable(free)))


MIXTURES = {
    "diag": families.Mixture(families.DiagGaussian(2), 2),
    "full": families.Mixture(families.FullGaussian(2), 2),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_implicit_gradients_of_a_mixture_are_unbiased(name):
    """Every parameter, weights included, against a sum over a grid."""
    family = MIXTURES[name]
    params = 0.4 * jax.random.normal(jax.random.key(5), (family.num_params,))

    def value(z):
        return jnp.sin(2 * z[0]) + z[0] * z[1] ** 2

    axis = np.linspace(-12, 12, 400)
    grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))

    @jax.jit
    @jax.grad
    def exact(params):
        density = jnp.exp(jax.vmap(family(params).log_prob)(grid))
        return density @ jax.vmap(value)(grid) * (axis[1] - axis[0]) ** 2

    @jax.jit
    def sampled(params, keys):
        one = jax.grad(lambda params, key: value(family(params).sample_and_log_prob(key=key)[0]))
        return jax.vmap(one, (None, 0))(params, keys)

    truth, draws = exact(params), np.asarray(sampled(params, jax.random.split(KEY, 40_000)), np.float64)
    z = (draws.mean(0) - truth) / (draws.std(0) / len(draws) ** 0.5)
    assert np.abs(z).max() < 4.5, z


def test_implicit_second_derivatives_of_a_mixture():
    """d²E[z]/dφ² against the closed form E[z] = Σ π μ, one number at a time."""
    family = families.Mixture(families.DiagGaussian(1), 2)
    params = jnp.array([0.3, -0.2, -0.8, 0.1, 0.7, -0.3])

    def mean(params):
        return family(params).mean[0]

    def one(params, key):
        return family(params).sample_and_log_prob(key=key)[0][0]

    keys = jax.random.split(KEY, 40_000)
    draws = np.asarray(jax.jit(jax.vmap(jax.hessian(one), (None, 0)))(params, keys), np.float64)
    se = draws.std(0) / len(keys) ** 0.5
    assert (np.abs(draws.mean(0) - jax.hessian(mean)(params)) < 4.5 * se + 1e-4).all()


def test_a_mixture_of_one_is_its_component():
    family = families.Mixture(families.FullGaussian(2), 1)
    params = jax.random.normal(KEY, (family.num_params,))
    component = families.FullGaussian(2)(params[1:])
    noise = family(params).noise(key=KEY)
    ours = jax.jacrev(lambda p: family(p).from_noise(noise))(params)[:, 1:]
    theirs = jax.jacrev(lambda p: families.FullGaussian(2)(p).from_noise(noise[1]))(params[1:])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_allclose(family(params).variance, component.variance, rtol=1e-5)


DIAG = dist.DiagGaussian(jnp.array([0.4, -1.0]), jnp.array([0.3, 2.0]))
LOW = dist.LowRankGaussian(DIAG.loc, jnp.array([[0.5], [-0.7]]), DIAG.scale)
EMBEDDED = {
    "diag in low rank": (families.LowRankGaussian(2, 1), DIAG, 0.02),
    "diag in full": (families.FullGaussian(2), DIAG, 1e-4),
    "low rank in full": (families.FullGaussian(2), LOW, 1e-4),
    "low rank in a higher rank": (families.LowRankGaussian(2, 2), LOW, 0.02),
    "diag in planar": (families.PlanarFlow(2, 2), DIAG, 1e-4),
    "diag in a bent flow": (families.Unshared(bent(COUPLING)), DIAG, 1e-4),
    "diag in a mixture": (families.Mixture(families.DiagGaussian(2), 3), DIAG, 0.1),
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_family_gives_the_law_of_one_it_contains(name):
    family, q, tolerance = EMBEDDED[name]
    p = family(families.embed(family, q))
    for z in (DIAG.loc, DIAG.loc + jnp.array([0.3, -1.5])):
        np.testing.assert_allclose(p.log_prob(z), q.log_prob(z), atol=tolerance)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: families.embed(families.DiagGaussian(2), LOW), "poorer family"),
        (lambda: families.embed(bent(COUPLING), DIAG), "families.Unshared"),
        (lambda: families.Unshared(families.DiagGaussian(2)), "no weights"),
        (lambda: families.CouplingFlow(1, key=KEY), "families.PlanarFlow"),
        (lambda: families.InverseAutoregressiveFlow(3, layers=1, key=KEY), "at least 2"),
        (lambda: families.PlanarFlow(2, 0), "at least 1"),
        (lambda: families.Mixture(families.PlanarFlow(2), 2), "families.DiagGaussian"),
        (lambda: families.FlowjaxFlow(flowjax.Exp(())), "of vectors"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
