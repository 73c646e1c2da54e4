"""Draws of a shared latent: moments, weights, evidence and k̂ against closed forms and ArviZ."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import families, gradients, models, objectives, posteriors, use
from jensen.algorithms.psis import psis
from jensen.errors import InputError, JensenWarning

KEY = jax.random.key(0)
RATE = 3.0


def log_joint(p):
    """τ ~ Gamma(3, 3), unnormalized: log evidence log Γ(3) − 3 log 3; and m ~ N(1, 2²)."""
    return 2 * jnp.log(p["tau"]) - RATE * p["tau"] + jnp.sum(-0.5 * ((p["m"] - 1) / 2) ** 2)


LOG_EVIDENCE = np.log(2.0) - 3 * np.log(RATE) + 0.5 * np.log(2 * np.pi * 4) * 2
MODEL = models.LogDensity(log_joint, {"tau": (), "m": (2,)}, {"tau": "positive"})


def inference(posterior):
    return jn.Inference(MODEL, posterior, objectives.ELBO(), gradients.Reparam())


@pytest.fixture(scope="module")
def drawn():
    return use.draws(inference(posteriors.Laplace(starts=2, steps=20)), key=KEY, num_draws=4_000)


def test_the_evidence_is_a_normalizing_constant(drawn):
    error = (drawn.log_evidence.value - LOG_EVIDENCE) / drawn.log_evidence.se
    assert abs(error) < 4 and drawn.log_evidence.se < 0.02 and drawn.pareto_k < 0.7
    assert drawn.elbo.value < LOG_EVIDENCE - 3 * drawn.elbo.se


def test_weighted_moments_are_the_posteriors_within_their_error_bars(drawn):
    tau, m = (drawn.weighted_moments()[name] for name in ("tau", "m"))
    assert abs(tau.mean - 1) < 4 * tau.mean_se and abs(tau.sd - np.sqrt(3) / 3) < 4 * tau.sd_se
    assert (abs(m.mean - 1) < 4 * m.mean_se).all() and (abs(m.sd - 2) < 4 * m.sd_se).all()
    # Laplace's law of log τ is wrong, and its draws say so: log τ ~ N(0, 1/3), so E[τ] = e^{1/6}
    plain = drawn.moments()["tau"]
    assert abs(plain.mean - np.exp(1 / 6)) < 4 * plain.mean_se < 0.1 and plain.mean - 1 > 8 * plain.mean_se
    assert drawn.values["tau"].shape == (4_000,) and drawn.values["m"].shape == (4_000, 2)
    np.testing.assert_allclose(plain.mean_se, plain.sd / np.sqrt(4_000), rtol=1e-6)


def test_error_bars_are_those_of_repeated_draws():
    normal = np.random.default_rng(0).normal(size=(300, 400))
    found = [use.Draws({"z": z}, np.zeros(400), 0.0, np.full(400, 1 / 400)).moments()["z"] for z in normal]
    for name in ("mean", "sd"):
        spread = np.std([getattr(each, name) for each in found])
        assert spread == pytest.approx(np.mean([getattr(each, f"{name}_se") for each in found]), rel=0.15)


def test_resampled_draws_are_the_posteriors(drawn):
    again = drawn.resampled(4_000, key=KEY)
    assert again["m"].shape == (4_000, 2) and abs(again["tau"].mean() - 1) < 0.05
    assert abs(again["tau"].std() - np.sqrt(3) / 3) < 0.05
    assert len(np.unique(again["tau"])) > 1_500


def test_a_table_is_printed(drawn):
    text = str(drawn)
    assert "4,000 draws, k̂ = " in text and "m[1]" in text and "log evidence" in text and "tau" in text


def test_a_poor_q_is_warned_of():
    q = posteriors.Global(families.DiagGaussian(3), key=KEY)
    narrow = jn.Inference(MODEL, q, objectives.ELBO(), gradients.Reparam())
    with pytest.warns(JensenWarning, match=r"k̂ = \S+ > 0.7: q misses part of the posterior"):
        use.draws(narrow, key=KEY)


def test_an_exact_q_of_many_data_is_not_blamed_for_rounding():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(2_000), rng.normal(size=2_000)])
    y = x @ [1.0, 2.0] + rng.normal(size=2_000)

    def regression(p, data):
        return -0.5 * jnp.sum((data[0] - data[1] @ p["b"]) ** 2) - 2_000 - 0.5 * jnp.sum(p["b"] ** 2)

    model = models.LogDensity(regression, {"b": (2,)}, data=(y, x))
    four = jn.Inference(model, posteriors.Laplace(starts=1), objectives.ELBO(), gradients.Reparam())
    with warnings.catch_warnings():
        warnings.simplefilter("error", JensenWarning)
        found = use.draws(four, key=KEY, num_draws=1_000)
    assert found.pareto_k == -1.0 and np.ptp(found.log_w) < 0.02


def test_what_cannot_be_drawn():
    vae = models.Decoder(2, 1, widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(), key=KEY)
    own = jn.Inference(vae, q, objectives.ELBO(), gradients.Reparam())
    with pytest.raises(InputError, match=r"Amortized gives every datum a latent of its own; use use.encode"):
        use.draws(own, np.zeros((3, 2)), key=KEY)
    exact = inference(posteriors.Laplace())
    with pytest.raises(InputError, match="give None in place of x"):
        use.draws(exact, np.zeros((3, 2)), key=KEY)
    with pytest.raises(InputError, match="num_draws is 1; it must be at least 2"):
        use.draws(exact, key=KEY, num_draws=1)
    for model in (
        models.BayesianGaussianMixture(2, 2, key=KEY), models.BayesianHMM(2, 1, key=KEY), models.LDA(2, 3, key=KEY),
    ):  # fmt: skip
        q = posteriors.Conjugate(model.prior_of(None))
        conjugate = jn.Inference(model, q, objectives.ELBO(), gradients.Analytic())
        with pytest.raises(InputError, match=r"use model.expected\(q\), or use.score"):
            use.draws(conjugate, np.zeros((3, 2)), key=KEY)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_pareto_smoothing_is_arvizs(spread):
    arviz = pytest.importorskip("arviz")
    log_w = np.random.default_rng(0).normal(size=2_000) * spread
    expected, expected_k = arviz.psislw(log_w)
    with jax.enable_x64(True):
        smoothed, k = psis(jnp.asarray(log_w))
        assert abs(float(k) - float(expected_k)) < 1e-6
        np.testing.assert_allclose(smoothed, expected, atol=1e-6)
    assert abs(float(psis(jnp.asarray(log_w))[1]) - float(expected_k)) < 1e-3  # float32


def test_a_data_tree_holds_everything(drawn):
    xarray = pytest.importorskip("xarray")
    tree = drawn.to_datatree()
    assert isinstance(tree, xarray.DataTree)
    assert tree["posterior"]["m"].dims == ("chain", "draw", "m_dim_0")
    np.testing.assert_array_equal(tree["posterior"]["tau"].values[0], drawn.values["tau"])
    assert tree["sample_stats"].attrs["pareto_k"] == drawn.pareto_k
    total = np.exp(tree["sample_stats"]["log_weight_smoothed"].values).sum()
    assert total == pytest.approx(1, abs=1e-6)
