"""Likelihoods of counts, codes, outliers and new categories: starts, refusals, mixed tables."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats as st

from jensen import families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, Inference
from jensen.errors import InputError
from jensen.models import likelihoods

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
N = 4000
HIDDEN = RNG.random((N, 3)) < 0.2
WEIGHT = RNG.integers(1, 4, N).astype(float)
MEANS = np.array([0.05, 4.0, 30.0])
DATA = {
    "poisson": RNG.poisson(MEANS, (N, 3)),
    "negative_binomial": RNG.poisson(MEANS * RNG.gamma(2.0, 0.5, (N, 3))),
    "beta_binomial": RNG.binomial(255, RNG.beta([0.5, 2.0, 30.0], [4.0, 2.0, 3.0], (N, 3))),
    "discretized_logistic": np.clip(np.rint(RNG.logistic([90, 120, 200], [2, 9, 4], (N, 3))), 0, 255),
}


def moments(x, seen):
    w = WEIGHT[:, None] * seen
    mean = (w * np.where(seen, x, 0)).sum(0) / w.sum(0)
    return mean, (w * np.where(seen, x - mean, 0) ** 2).sum(0) / w.sum(0)


def started(name, x, mask=None, weight=None):
    law, bias = likelihoods.named(name, x.shape[1]).start(x, mask, weight)
    return law, law(bias)


def variance(name, law, row):
    mean = np.asarray(row.mean, np.float64)
    if name == "poisson":
        return mean
    if name == "negative_binomial":
        return mean + mean**2 / np.asarray(law.concentration)
    if name == "beta_binomial":
        return mean * (1 - mean / 255) * (1 + 254 / (np.asarray(law.concentration) + 1))
    return (np.asarray(law.scale) * np.pi) ** 2 / 3


@pytest.mark.parametrize("name", DATA)
def test_starts_at_the_weighted_moments_of_what_is_observed(name):
    x = np.where(HIDDEN, np.nan, DATA[name].astype(float))
    mean, spread = moments(DATA[name], ~HIDDEN)
    law, row = started(name, x, ~HIDDEN, WEIGHT)
    np.testing.assert_allclose(row.mean, mean, rtol=2e-3)
    wide = slice(1, None) if name == "negative_binomial" else slice(None)
    if name != "poisson":
        np.testing.assert_allclose(variance(name, law, row)[wide], spread[wide], rtol=2e-3)
    law.check(x, ~HIDDEN)


@pytest.mark.parametrize("name", [*DATA, "student_t"])
def test_degenerate_columns_start_finite(name):
    x = np.zeros((20, 3))
    x[:, 1] = 7.0
    mask = np.ones((20, 3), bool)
    mask[:, 2] = False
    law, row = started(name, np.where(mask, x, np.nan), mask)
    assert np.isfinite(row.log_prob_entries(jnp.array([0.0, 7.0, 3.0]))).all()
    near = 0.03 if name != "discretized_logistic" else 0.6  # the tail below 0 belongs to code 0
    np.testing.assert_allclose(row.mean[:2], [0, 7], atol=near)
    law.check(np.where(mask, x, np.nan), mask)
    law.check(np.full((2, 3), np.nan), np.zeros((2, 3), bool))


def test_student_starts_at_the_maximum_of_the_likelihood():
    x = st.t(3.0, 50.0, 0.2).rvs((N, 3), random_state=1)
    law, row = started("student_t", np.where(HIDDEN, np.nan, x), ~HIDDEN)
    np.testing.assert_allclose(row.mean, 50, atol=0.02)
    np.testing.assert_allclose(law.df, 3.0, rtol=1e-5)
    np.testing.assert_allclose(law.scale, 0.2, rtol=0.07)
    own = [x[~HIDDEN[:, j], j] for j in range(3)]
    best = np.array([st.t(*st.t.fit(v, f0=3.0)).logpdf(v).mean() for v in own])
    got = [st.t(3.0, float(row.mean[j]), float(law.scale[j])).logpdf(own[j]).mean() for j in range(3)]
    np.testing.assert_allclose(got, best, atol=1e-3)


def test_outliers_do_not_move_the_start():
    x = RNG.normal(size=(N, 1))
    x[:20] = 1e9
    law, row = started("student_t", x)
    assert abs(float(row.mean[0])) < 0.05 and 0.5 < float(law.scale[0]) < 1.2


def test_fixed_degrees_of_freedom_stay():
    law, row = likelihoods.StudentT(2, df=1.0).start(RNG.standard_cauchy((N, 2)), None, None)
    np.testing.assert_allclose(law(row).df, 1.0)
    np.testing.assert_allclose(law.scale, 1.0, rtol=0.1)
    with pytest.raises(InputError, match="df is 0"):
        likelihoods.StudentT(2, df=0.0)


REFUSED = {
    "fraction": ("poisson", [[1, 2, 3], [0, 1.5, 2]], r"holds 1.5 in row 1, column 1: counts are whole"),
    "negative": ("negative_binomial", [[1, 2, -3]], r"holds -3 in row 0, column 2"),
    "not exact": ("poisson", [[1, 2, 3e7]], r"column 2: counts above 2\^24"),
    "above": ("beta_binomial", [[1, 2, 256]], r"256 in row 0, column 2.*0..255: set levels=257"),
    "grey": ("discretized_logistic", [[0, 0.5, 1]], r"0.5 in row 0, column 1.*multiply intensities"),
    "huge": ("student_t", [[0, 1e30, 1]], r"beyond 1e18"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_outside_are_named(name):
    law, x, text = REFUSED[name]
    x = np.array(x, float)
    with pytest.raises(InputError, match=text):
        likelihoods.named(law, 3).check(x, None)
    likelihoods.named(law, 3).check(x, np.zeros(x.shape, bool))


@pytest.mark.parametrize("law", [likelihoods.BetaBinomial, likelihoods.DiscretizedLogistic])
def test_levels_are_checked(law):
    with pytest.raises(InputError, match="levels is 1"):
        law(3, levels=1)


def test_new_categories_are_refused_unless_the_column_is_open():
    x = np.array([[0.0], [1.0], [2.0], [0.0], [1.0]])
    with pytest.raises(InputError, match="OpenCategorical"):
        likelihoods.Categorical(1, 3).check(np.array([[3.0]]), None)
    law, bias = likelihoods.OpenCategorical(1, 3).start(x, None, None)
    law.check(np.array([[3.0]]), None)
    with pytest.raises(InputError, match=r"holds 4 in row 0, column 0: the codes are 0..2, and 3 for any"):
        law.check(np.array([[4.0]]), None)
    table = np.exp([law(bias).log_prob_entries(jnp.array([float(k)]))[0] for k in range(4)])
    np.testing.assert_allclose(
        table, [*np.array([2, 2, 1]) / 5 * 5 / 6, 1 / 6], rtol=1e-5
    )  # one seen once, of 5 + 1
    slope = jax.grad(lambda p: law(p).log_prob_entries(jnp.array([3.0])).sum())(bias)
    np.testing.assert_allclose(slope, 0)  # what is new says nothing about z


def table():
    count = RNG.poisson(np.exp(RNG.normal(1, 0.5, (60, 1))))
    kinds = RNG.integers(0, 3, (60, 1))
    return np.hstack([RNG.normal(5, 2, (60, 2)), count, RNG.integers(0, 2, (60, 1)), kinds]).astype(float)


def mixed():
    columns = ["gaussian", "student_t", "poisson", "bernoulli", likelihoods.OpenCategorical(1, 3)]
    return likelihoods.for_columns(columns)


def test_a_mixed_table_is_the_sum_of_its_columns():
    x, law = table(), mixed()
    assert [type(p).__name__ for p in law.parts] == [
        "Gaussian",
        "StudentT",
        "Poisson",
        "Bernoulli",
        "OpenCategorical",
    ]
    fitted, bias = law.start(x, None, None)
    row, datum = fitted(bias), jnp.asarray(x[0])
    shares = jnp.split(bias, np.cumsum([1, 1, 1, 1]))
    each = [
        part(b).log_prob_entries(datum[j : j + 1])[0]
        for j, (part, b) in enumerate(zip(fitted.parts, shares, strict=True))
    ]
    np.testing.assert_allclose(row.log_prob_entries(datum), each, rtol=1e-6)
    np.testing.assert_allclose(row.mean[:4], x.mean(0)[:4], rtol=0.2)
    assert row.mean[4] == row.mode[4] == np.bincount(x[:, 4].astype(int)).argmax()
    assert row.sample(key=KEY).shape == (5,)
    x[3, 2] = 0.5
    with pytest.raises(InputError, match=r"^column 2, .*first: poisson likelihood: x holds 0.5 in row 3"):
        law.check(x, None)


def test_columns_of_one_name_go_together():
    law = likelihoods.for_columns(["gaussian", "gaussian", "poisson"])
    assert [part.data_dim for part in law.parts] == [2, 1]
    assert isinstance(likelihoods.for_columns(["poisson"] * 3), likelihoods.Poisson)
    with pytest.raises(InputError, match="did you mean 'poisson'"):
        likelihoods.for_columns(["poison"])
    with pytest.raises(InputError, match="one likelihood a column"):
        likelihoods.for_columns([])


def test_a_mixed_table_is_fitted_saved_and_asked_about_a_new_category(tmp_path):
    x = table()
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=5, widths=(4,), key=KEY)
    model = models.Decoder(5, 2, likelihood=mixed(), widths=(4,), key=KEY)
    inference = Inference(model, q, objectives.ELBO(), gradients.Reparam())
    mask = RNG.random(x.shape) < 0.9
    data = fit.Data(np.where(mask, x, np.nan), mask=mask)
    fitted = fit.gradient(inference, data, key=KEY, optimizer=optax.adam(1e-2), steps=20, batch_size=20)
    fitted.save(tmp_path / "run")
    again = fit.load(tmp_path / "run")
    new = x[:4].copy()
    new[:, 4] = 3.0
    scores = use.score(again, new, num_samples=16)
    np.testing.assert_array_equal(scores, use.score(fitted, new, num_samples=16))
    assert np.isfinite(scores).all()
    shown = use.reconstruct(again, x[:4])
    hidden = np.where(np.arange(5) == 4, np.nan, x[:4])
    filled = use.impute(again, hidden, key=KEY, num_samples=16)
    assert set(shown[:, 4]) | set(filled[:, 4]) <= {0.0, 1.0, 2.0, 3.0}
    new[0, 4] = 4.0
    with pytest.raises(InputError, match="3 for any category"):
        use.score(again, new)


CODES = [*DATA, "student_t"]


@pytest.mark.parametrize("name", CODES)
def test_enumerated_bound_at_the_posterior_is_the_exact_evidence(name):
    """The sum over z of q(log p(x, z) − log q) with q the posterior, against log Σ_z p(x, z)."""
    x = DATA.get(name, DATA["poisson"])[:50].astype(float)
    model = models.Decoder(3, likelihood=name, widths=(), prior=models.priors.Categorical(3), key=KEY)
    model = model.initialize_from(Datum(x), key=KEY)
    datum = Datum(jnp.asarray(x[0], jnp.float32), index=jnp.asarray(0))
    joint = jax.vmap(lambda z: model.log_joint(z, datum))(jnp.arange(3))
    evidence = float(jax.nn.logsumexp(joint))
    q = posteriors.PerDatum(families.Categorical(3), num_data=1, key=KEY)
    inference = Inference(model, q, objectives.ELBO(), gradients.Enumerate())
    leaves, treedef = jax.tree.flatten(q)
    at = [i for i, leaf in enumerate(leaves) if getattr(leaf, "shape", None) == (1, 3)]
    leaves[at[0]] = (joint - evidence)[None]
    exact = Inference(model, jax.tree.unflatten(treedef, leaves), objectives.ELBO(), gradients.Enumerate())

    def bound(inference):
        return inference.gradient(
            inference, datum, key=KEY, step=jnp.asarray(0), num_data=1, state=None
        ).value

    np.testing.assert_allclose(bound(exact), evidence, rtol=2e-5)
    assert float(bound(inference)) <= evidence + 1e-4
