"""A user's log-density: constraints and their Jacobians, what is refused, and that new data compile nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import families, fit, gradients, models, objectives, posteriors
from jensen.errors import CombinationError, InputError
from jensen.fit.chunk import advance

KEY = jax.random.key(0)


def of(shape, constraint, log_joint=lambda p: jnp.zeros(())):
    return models.LogDensity(log_joint, {"p": shape}, {"p": constraint})


def free_entries(constraint, value):
    """The entries of a constrained parameter that determine the others."""
    if constraint == "simplex":
        return value[..., :-1].reshape(-1)
    if constraint == "cholesky_correlation":
        return value[np.tril_indices(value.shape[-1], -1)]
    return value.reshape(-1)


@pytest.mark.parametrize(
    ("constraint", "shape"),
    [
        ("real", (2, 2)),
        ("positive", (3,)),
        ("unit", ()),
        ((-1.0, 3.0), (2,)),
        ("simplex", (3,)),
        ("ordered", (3,)),
        ("positive_ordered", (3,)),
        ("cholesky_correlation", (3, 3)),
    ],
)
def test_the_log_density_is_that_of_the_unconstrained_vector(constraint, shape):
    model = of(shape, constraint)
    z = jnp.asarray(np.random.default_rng(1).normal(size=model.latent_dim), jnp.float32)
    value = model.constrain(z)["p"]
    assert value.shape == shape
    np.testing.assert_allclose(model.unconstrain({"p": value}), z, atol=1e-4)
    jacobian = jax.jacfwd(lambda z: free_entries(constraint, model.constrain(z)["p"]))(z)
    expected = np.linalg.slogdet(np.asarray(jacobian))[1]
    np.testing.assert_allclose(model.log_joint(z, jn.Datum(jnp.zeros(0))), expected, atol=1e-4)


def test_constraints_hold():
    rows = np.asarray(
        jax.vmap(lambda z: of((2, 3), "simplex").constrain(z)["p"])(3 * jax.random.normal(KEY, (9, 4)))
    )
    assert rows.shape == (9, 2, 3) and (rows > 0).all()
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)
    l = of((3, 3), "cholesky_correlation").constrain(jnp.array([1.0, -2.0, 0.3]))["p"]
    np.testing.assert_allclose(np.diag(l @ l.T), 1, atol=1e-5)
    inside = of((2,), (-1.0, 3.0)).constrain(jnp.array([-9.0, 9.0]))["p"]
    assert -1 <= inside[0] < -0.99 and 2.99 < inside[1] <= 3


def test_one_array_without_a_name():
    model = models.LogDensity(lambda z: -jnp.sum(z), (2, 2), "positive")
    assert model.latent_dim == 4 and model.constrain(jnp.zeros(4)).shape == (2, 2)
    np.testing.assert_allclose(model.unconstrain(jnp.ones((2, 2))), 0, atol=1e-6)
    # ∫ e^{−x} dx over x > 0 is one: log p(z) = −e^z + z
    np.testing.assert_allclose(
        model.log_joint(jnp.ones(4), jn.Datum(jnp.zeros(0))), 4 * (1 - np.e), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: of((), "positiv"), r"unknown constraint 'positiv' \(did you mean 'positive'"),
        (lambda: of((), (2.0, 1.0)), "between 2.0 and 1.0: the interval must be finite, low first"),
        (
            lambda: of((1,), "simplex"),
            r"p is simplex, so a vector of at least 2 entries, not of shape \(1,\)",
        ),
        (lambda: of((2, 3), "cholesky_correlation"), "a square matrix, at least 2 by 2"),
        (lambda: of((0,), "real"), "positive whole numbers"),
        (
            lambda: of((2,), "real", lambda p: p["p"]),
            r"must return one real number, got float32 of shape \(2,\)",
        ),
        (lambda: models.LogDensity(jnp.sum, {}), "shapes is empty"),
        (
            lambda: models.LogDensity(jnp.sum, {"ab": ()}, {"abc": "unit"}),
            r"constraints name 'abc', not in shapes \(did",
        ),
        (lambda: models.LogDensity(jnp.sum, 2, {"z": "unit"}), "one constraint, not a dict"),
        (lambda: of((), "unit").unconstrain({"q": 1.0}), "parameters are p, got q"),
        (
            lambda: of((), (0, None)),
            r"p: constraint \(0, None\) is neither .* for a half-line use 'positive'",
        ),
        (lambda: of((), (0, 1, 2)), r"\(0, 1, 2\) is neither a name nor an interval \(low, high\)"),
        (lambda: of((), (0, np.inf)), "must be finite, low first; for a half-line use 'positive'"),
        (
            lambda: of((), "positive").unconstrain({"p": -1.0}),
            r"p must be positive, strictly inside; got -1\.",
        ),
        (
            lambda: of((), (0, 2)).unconstrain({"p": 3.0}),
            r"p must be between \(0.0, 2.0\), strictly inside; got 3",
        ),
        (lambda: of((3,), "simplex").unconstrain({"p": jnp.full(3, 0.2)}), "p must be simplex"),
        (lambda: of((2,), "ordered").unconstrain({"p": jnp.array([2.0, 1.0])}), "p must be ordered"),
        (
            lambda: models.LogDensity(lambda p, rows: p, ()),
            r"arguments \(p, rows\); it is called without data=",
        ),
        (lambda: models.LogDensity(lambda p: p, (), data=1.0), r"arguments \(p\); it is called with data="),
        (lambda: of((2,), "real").unconstrain({"p": 1.0}), r"p has shape \(2,\), got \(\)"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make, text):
    with pytest.raises(InputError, match=text):
        make()


def inference(model, posterior=None, objective=None, gradient=None):
    q = posterior or posteriors.Global(families.FullGaussian(model.latent_dim), key=KEY)
    return jn.Inference(model, q, objective or objectives.ELBO(4), gradient or gradients.StickTheLanding())


def log_joint(p, data):
    return -0.5 * jnp.sum((data - p["mu"]) ** 2) - 0.5 * p["mu"] ** 2


def test_other_data_of_the_same_shape_compile_nothing():
    """μ ~ N(0, 1), five observations N(μ, 1): the posterior is N(Σ x / 6, 1/6)."""
    options = {"key": KEY, "optimizer": fit.annealed_adam(0.1, 600), "steps": 600}
    model = models.LogDensity(log_joint, {"mu": ()}, data=np.arange(5.0))
    first = fit.gradient(inference(model), None, **options).inference
    before = advance._cache_size()
    second = fit.gradient(inference(model.given(np.arange(5.0) + 6)), None, **options).inference
    assert advance._cache_size() == before
    for done, total in ((first, 10), (second, 40)):
        q = done.q(jn.Datum(jnp.zeros(0)), key=KEY)
        np.testing.assert_allclose(q.mean, total / 6, rtol=1e-3)
        np.testing.assert_allclose(q.variance, 1 / 6, rtol=1e-3)
        np.testing.assert_array_equal(done.model.data.value, np.arange(5.0) + (6 if total == 40 else 0))


def test_combinations():
    model = of((2,), "real", lambda p: -0.5 * jnp.sum(p["p"] ** 2))
    iwae = inference(model, objective=objectives.IWAE(3), gradient=gradients.DoublyReparam())
    assert iwae.check().kind == "unbiased" and inference(model).check().kind == "unbiased"
    for posterior, text in (
        (
            posteriors.Global(families.FullGaussian(3), key=KEY),
            r"length 3 .* use families.FullGaussian\(model.latent_dim\)",
        ),
        (posteriors.Global(families.Bernoulli(2), key=KEY), "z is a real vector; use families.FullGaussian"),
        (
            posteriors.Amortized(families.FullGaussian(2), data_dim=1, widths=(), key=KEY),
            "use posteriors.Global",
        ),
        (posteriors.Exact(), "use Global"),
    ):
        with pytest.raises(CombinationError, match=text):
            inference(model, posterior)
    options = {"key": KEY, "optimizer": optax.adam(1e-2), "steps": 1}
    with pytest.raises(InputError, match=r"LogDensity holds its own data.*give None in place of x"):
        fit.gradient(inference(model), np.ones((3, 1)), **options)
    with pytest.raises(InputError, match="x is None: Gaussian needs rows"):
        fit.em(models.Gaussian(2, key=KEY), None)
    with pytest.raises(InputError, match="nothing to train"):
        fit.gradient(inference(model, posteriors.Laplace()), None, **options)
