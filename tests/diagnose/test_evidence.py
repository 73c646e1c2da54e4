from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors
from jensen.diagnose.estimate import Estimate
from jensen.diagnose.progress import Silent
from jensen.diagnose.rows import choose, per_row
from jensen.diagnose.simulated import _simulate, simulated
from jensen.errors import InputError

KEY, LIMIT, ROWS = jax.random.key(3), 4.5, 3000
ROUGH = diagnose.Effort(temperatures=8, pilot=8, chains=2, leapfrog=2, samples=64)


def _z(ratio):
    """z-score of mean = 1, after asserting that a bias of 3% would be seen."""
    ratio = np.asarray(ratio, np.float64)
    error = ratio.std() / ratio.size**0.5
    assert LIMIT * error < 0.03, "the test has no power"
    return (ratio.mean() - 1) / error


def test_annealing_is_unbiased_from_both_sides(linear):
    """E[p̂/p] = 1 on given rows and E[p/p̂] = 1 on simulated ones, kernels tuned afresh for every row."""
    case = linear(0, 5, 4, narrow=0.8)
    x = case.draw(ROWS)
    out = diagnose.evidence(case.inference, x, key=KEY, effort=ROUGH)
    assert abs(_z(np.exp(out.per_datum["lower"] - case.log_evidence(x)))) < LIMIT
    rows = fit.Data(x).rows()
    bracket = simulated(
        case.inference.model, case.inference.posterior, rows, ROUGH, key=KEY, progress=Silent()
    )
    _, data = _simulate(case.inference.model, rows, jax.random.split(jax.random.split(KEY, 3)[0], ROWS))
    truth = case.log_evidence(np.asarray(data.x))
    assert abs(_z(np.exp(truth - bracket.per_datum["upper"]))) < LIMIT
    assert abs(_z(np.exp(bracket.per_datum["lower"] - truth))) < LIMIT
    assert (bracket.per_datum["upper"] - truth).mean() > 0


def test_importance_weighting_is_a_lower_bound_that_tightens(linear):
    case = linear(0, 5, 4, narrow=0.7)
    x = case.draw(200)
    few, many = (
        diagnose.evidence(
            case.inference, x, key=KEY, method="importance", effort=diagnose.Effort(samples=samples)
        )
        for samples in (5, 2000)
    )
    truth = case.log_evidence(x).mean()
    assert few.value < many.value < truth + 0.01 and truth - many.value < 0.03 < truth - few.value
    assert few.upper is None and few.lower_kind == "stochastic-bound" and few.median_width is None
    assert "upper none" in str(few)


def test_a_black_box_log_density_is_enough():
    """A user's own log p(x, z): z ~ N(0, 1), x | z ~ N(z, 1)."""

    class Own(jn.core.AbstractModel):  # pyright: ignore
        def log_joint(self, z, datum):
            return -0.5 * (z[0] ** 2 + (datum.x[0] - z[0]) ** 2) - jnp.log(2 * jnp.pi)

    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=1, widths=(), key=KEY)
    with pytest.warns(jn.errors.JensenWarning):
        inference = jn.Inference(Own(), q, objectives.ELBO(), gradients.Reparam())
    x = np.linspace(-2, 2, 9)[:, None]
    effort = diagnose.Effort(temperatures=30, pilot=10, chains=8, leapfrog=2)
    out = diagnose.evidence(inference, x, key=KEY, effort=effort)
    truth = -0.25 * x[:, 0] ** 2 - 0.5 * np.log(4 * np.pi)
    np.testing.assert_allclose(out.per_datum["log_evidence"], truth, atol=0.15)
    assert out.value == pytest.approx(truth.mean(), abs=0.05) and out.method == "ais"


def test_methods_that_do_not_apply_are_refused_in_one_line(linear):
    case = linear(0, 5, 4)
    for method, text in (
        ("enumerate", "'enumerate' does not apply to Decoder .*; use ais or importance"),
        ("aiss", "'aiss' is unknown .*did you mean 'ais'"),
    ):
        with pytest.raises(InputError, match=text):
            diagnose.evidence(case.inference, case.draw(3), key=KEY, method=method)
    with pytest.raises(InputError, match="rows is 0; it must be at least 1"):
        diagnose.evidence(case.inference, case.draw(3), key=KEY, rows=0)
    with pytest.raises(InputError, match="temperatures is 1; it must be at least 3"):
        diagnose.Effort(temperatures=1)
    shared = jn.Inference(
        case.inference.model,
        posteriors.Global(families.DiagGaussian(4), key=KEY),
        objectives.ELBO(),
        gradients.Reparam(),
    )
    with pytest.raises(InputError, match="Global: one z is behind all data, so rows=2"):
        diagnose.evidence(shared, case.draw(3), key=KEY, rows=2)


def test_missing_entries_are_integrated_out():
    model = models.FactorAnalysis(3, 1, key=jax.random.key(0))
    inference = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    x = np.random.default_rng(0).normal(size=(4, 3))
    mask = np.ones((4, 3), bool)
    mask[:, 2] = False
    out = diagnose.evidence(inference, fit.Data(np.where(mask, x, np.nan), mask=mask), key=KEY)
    c = model.loadings @ model.loadings.T + np.diag(model.noise_variances)
    c, x = c[:2, :2], x[:, :2] - model.mean[:2]
    truth = -0.5 * ((x * np.linalg.solve(c, x.T).T).sum(1) + np.linalg.slogdet(2 * np.pi * c)[1])
    np.testing.assert_allclose(out.per_datum["log_evidence"], truth, rtol=1e-4)


def test_every_row_has_noise_of_its_own_whatever_the_blocks():
    rows = {"x": np.zeros((7, 1), np.float32)}

    def noise(rows, keys):
        return jax.vmap(jax.random.normal)(keys)

    runs = [
        per_row(noise, rows, key=KEY, progress=Silent(), label="", block=block) for block in (1, 3, 7, 100)
    ]
    assert len(set(runs[0].tolist())) == 7
    for run in runs[1:]:
        np.testing.assert_array_equal(run, runs[0])


def test_a_choice_of_rows_keeps_their_numbers_and_columns_together():
    x = np.arange(20.0)[:, None] * np.ones(2)
    chosen = choose(fit.Data(x, cond=np.arange(20.0)), 5, key=KEY)
    assert len(set(chosen.index.tolist())) == 5
    np.testing.assert_array_equal(chosen.x[:, 0], chosen.index)
    np.testing.assert_array_equal(chosen.cond, chosen.index)


def test_weighted_means_have_the_error_of_their_rows():
    values = np.random.default_rng(0).normal(size=50)
    plain, twice = Estimate.mean(values), Estimate.mean(values, np.full(50, 2.0))
    assert plain == twice
    assert plain.se == pytest.approx(values.std(ddof=1) / 50**0.5)
    assert Estimate.mean(np.array([1.0, 9.0]), np.array([1.0, 0.0])).value == 1.0


def test_what_a_fit_returns_will_do():
    x = np.random.default_rng(0).normal(size=(12, 2))
    fitted = fit.em(models.Gaussian(2), x)
    got, same = (diagnose.evidence(f, x, key=jax.random.key(0)) for f in (fitted, fitted.inference))
    assert got.value == same.value
    gap = diagnose.gap(fitted, x, key=jax.random.key(0))
    assert gap.elbo.value == diagnose.gap(fitted.inference, x, key=jax.random.key(0)).elbo.value
