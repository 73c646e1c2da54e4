from __future__ import annotations

import dataclasses
import importlib
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, dist, families, fit, gradients, models, objectives, posteriors

gap_module = importlib.import_module("jensen.diagnose.decompose")
KEY = jax.random.key(11)
LIGHT = diagnose.Effort(temperatures=60, pilot=20, chains=8, leapfrog=3, steps=400, samples=500)
MODELS = 5


@pytest.fixture(scope="module")
def reports(linear):
    """Gaps of five models with D=64 and 16 latents; one compiled function serves them all."""
    out = []
    for seed in range(MODELS):
        case = linear(seed, 64, 16)
        x = case.draw(100, seed)
        out.append((case, x, diagnose.gap(case.inference, x, key=jax.random.key(seed), effort=LIGHT)))
    return out


def test_approximation_gap_is_the_diagonal_familys_loss(reports):
    for case, _, gap in reports:
        assert gap.approximation.value == pytest.approx(case.family_loss, rel=0.03)
        assert abs(gap.amortization.value) < 0.01  # the encoder is the best diagonal Gaussian already
        assert not any("violated" in flag for flag in gap.flags) and gap.per_datum["converged"].all()


def test_evidence_is_bracketed_and_its_interval_is_narrow(reports):
    for case, x, gap in reports:
        truth = case.log_evidence(x[gap.per_datum["index"]])
        np.testing.assert_allclose(gap.per_datum["log_evidence"], truth, atol=0.5)
        assert gap.log_evidence.lower - 0.02 < truth.mean() < gap.log_evidence.upper + 0.02
        assert gap.log_evidence.median_width < 0.25
        assert (
            gap.log_evidence.lower_kind == "stochastic-bound" and gap.log_evidence.upper_kind == "heuristic"
        )


def test_certified_interval_is_narrow_and_holds_the_truth(reports, linear):
    for seed, (case, _, gap) in enumerate(reports):
        bracket = gap.simulated
        assert bracket.num_data == 100 and bracket.confidence == 0.95 and bracket.width <= 0.25
        assert bracket.lower <= simulated_truth(case, jax.random.key(seed)) <= bracket.upper


def simulated_truth(case, key) -> float:
    """The exact mean over the rows that ``gap`` simulates for this key."""
    import jensen.diagnose.simulated as module

    to_simulate = jax.random.split(key, 5)[4]
    keys = jax.random.split(jax.random.split(to_simulate, 3)[0], 100)
    rows = fit.Data(case.draw(100)).rows()
    _, data = module._simulate(case.inference.model, rows, keys)
    return case.log_evidence(np.asarray(data.x)).mean()


def test_total_is_the_sum_and_the_terms_use_the_same_rows(reports):
    for _, _, gap in reports:
        total = gap.approximation.value + gap.amortization.value
        assert gap.total.value == pytest.approx(total, abs=1e-6)
        assert gap.log_evidence.value - gap.elbo.value == pytest.approx(total, abs=1e-6)
        assert {len(column) for column in gap.per_datum.values()} == {100}


def test_a_narrow_encoder_shows_as_amortization_and_not_as_approximation(linear):
    """σ × 0.9 costs −log 0.9 + (0.81 − 1)/2 nats per dimension."""
    case = linear(0, 64, 16, narrow=0.9)
    gap = diagnose.gap(case.inference, case.draw(100, 0), key=jax.random.key(0), effort=LIGHT)
    assert gap.amortization.value == pytest.approx(16 * (-math.log(0.9) - 0.095), rel=0.1)
    assert gap.approximation.value == pytest.approx(case.family_loss, rel=0.03)


@pytest.mark.slow
def test_the_full_family_loses_nothing_by_approximation(linear):
    case = linear(0, 64, 16, family="full")
    gap = diagnose.gap(case.inference, case.draw(40, 0), key=KEY, effort=LIGHT)
    assert abs(gap.approximation.value) < 0.01
    assert gap.amortization.value == pytest.approx(case.family_loss, rel=0.03)  # the encoder is diagonal


def test_json_has_the_promised_fields_and_the_table_its_rows(reports):
    gap = reports[0][2]
    written = json.loads(json.dumps(gap.to_json()))
    assert set(written) == {
        "log_evidence", "elbo", "approximation", "amortization", "total", "simulated", "units", "num_data", "split",
    }  # fmt: skip
    assert set(written["log_evidence"]) == {"value", "se", "lower", "upper", "lower_kind", "upper_kind"}
    assert set(written["simulated"]) == {"lower", "upper", "width", "confidence"}
    assert written["units"] == "nats per datum" and written["num_data"] == 100 and written["split"] == "test"
    text = str(gap)
    for part in ("amortization gap", "60 temperatures, 8 chains", "median interval width", "confidence 0.95"):
        assert part in text


# ---- discrete latents, exact posteriors, shared latents, tables of parameters --------------------------------------


def _discrete(prior, family, data_dim=6):
    model = models.Decoder(data_dim, prior=prior, widths=(), key=jax.random.key(0))
    model = eqx.tree_at(lambda m: m.net.layers[0].weight, model, replace_fn=lambda w: 3 * w)
    q = posteriors.Amortized(family, data_dim=data_dim, widths=(), key=jax.random.key(1))
    x = np.asarray(jax.random.bernoulli(jax.random.key(2), 0.5, (20, data_dim)), np.float32)
    return model, q, x


def test_few_values_of_z_are_summed_exactly():
    model, q, x = _discrete(models.priors.Bernoulli(3), families.Bernoulli(3))
    gap = diagnose.gap(
        jn.Inference(model, q, objectives.IWAE(4), gradients.ScoreFunction()), x, key=KEY, effort=LIGHT
    )
    values = model.prior(None).support()
    joint = [[float(model.log_joint(z, jn.Datum(jnp.asarray(row)))) for z in values] for row in x]
    np.testing.assert_allclose(gap.per_datum["log_evidence"], np.logaddexp.reduce(joint, axis=1), rtol=1e-4)
    assert gap.log_evidence.method == "enumerate" and gap.simulated.confidence == 1.0
    assert (gap.per_datum["total"] > -1e-4).all() and (gap.per_datum["approximation"] > -1e-4).all()
    assert gap.amortization.value > 0.05 and not gap.flags
    assert gap.elbo.value < gap.training_bound.value < gap.log_evidence.value  # IWAE has a row of its own


def test_many_discrete_values_have_no_upper_side_on_real_data():
    model, q, x = _discrete(models.priors.Bernoulli(14), families.Bernoulli(14))
    inference = jn.Inference(model, q, objectives.ELBO(2), gradients.ScoreFunction())
    short = diagnose.Effort(steps=40, samples=200)
    gap = diagnose.gap(inference, x, key=KEY, effort=short)
    assert gap.log_evidence.method == "importance" and gap.log_evidence.upper is None
    assert (
        gap.to_json()["log_evidence"]["upper"] is None and gap.to_json()["log_evidence"]["upper_kind"] is None
    )
    assert any("lower bound only" in flag for flag in gap.flags)
    assert gap.simulated.lower < gap.simulated.upper  # a simulated row knows its z


def test_an_exact_posterior_has_no_gap(linear):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    for model in (
        models.GaussianMixture(3, 2, key=jax.random.key(0)),
        models.Gaussian(2),
    ):
        inference = jn.Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
        gap = diagnose.gap(inference, x, key=KEY)
        assert gap.log_evidence.lower_kind == gap.log_evidence.upper_kind == "exact"
        assert tuple(gap.total) == tuple(gap.approximation) == tuple(gap.amortization) == (0.0, 0.0)
        assert gap.elbo.value == gap.log_evidence.value and gap.simulated.width == 0
        expected = [float(model.log_evidence(jn.Datum(jnp.asarray(row, jnp.float32)))) for row in x]
        np.testing.assert_allclose(gap.per_datum["log_evidence"], expected, rtol=1e-5)


# ---- a table of parameters on a model whose evidence is exact ------------------------------------------------------


@pytest.fixture(scope="module")
def tabled():
    model = models.FactorAnalysis(4, 2, key=jax.random.key(0))
    q = posteriors.PerDatum(families.DiagGaussian(2), num_data=12, key=KEY)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


X = np.random.default_rng(0).normal(size=(12, 4))


def _loss(model) -> float:
    w, noise = model.loadings, model.noise_variances
    p = np.eye(2) + w.T @ (w / noise[:, None])
    return 0.5 * (np.log(np.diag(p)).sum() - np.linalg.slogdet(p)[1])


def test_parameters_per_row_are_fitted_afresh_to_new_rows(tabled):
    new = diagnose.gap(tabled, X, key=KEY, effort=LIGHT)
    assert abs(new.amortization.value) < 1e-5
    assert new.approximation.value == pytest.approx(_loss(tabled.model), abs=0.01)
    known = diagnose.gap(tabled, X, key=KEY, effort=LIGHT, split="train")
    assert known.amortization.value > 0.1 and known.split == "train"  # the table was never trained
    assert known.approximation.value == pytest.approx(_loss(tabled.model), abs=0.01) and not known.flags


def test_a_wrong_order_of_bounds_is_flagged(tabled, monkeypatch):
    """A planted fault: the evidence is reported two nats too low."""
    honest = gap_module.evaluate

    def low(*args, **options):
        out = honest(*args, **options)
        shifted = {**out.per_datum, "log_evidence": out.per_datum["log_evidence"] - 2}
        return dataclasses.replace(out, per_datum=shifted)

    monkeypatch.setattr(gap_module, "evaluate", low)
    gap = diagnose.gap(tabled, X, key=KEY, effort=LIGHT)
    assert any("L[q*] ≤ log p(x) is violated" in flag for flag in gap.flags)


def test_an_unfinished_climb_is_flagged_and_not_averaged(tabled):
    short = diagnose.Effort(steps=40, samples=50)
    gap = diagnose.gap(tabled, 300 + X, key=KEY, effort=short, split="train")
    assert not gap.per_datum["converged"].any() and math.isnan(gap.approximation.value)
    assert any("not converged on 12 of 12" in flag for flag in gap.flags)
    assert gap.to_json()["amortization"] == {"value": None, "se": None}
    assert gap.total.value > 0 and gap.num_data == 12


def test_rows_that_did_not_converge_leave_every_average(tabled):
    """Half of the rows are a long climb away."""
    x = np.where(np.arange(12)[:, None] < 6, X, 300.0)
    gap = diagnose.gap(tabled, x, key=KEY, effort=diagnose.Effort(steps=40, samples=50), split="train")
    kept = gap.per_datum["converged"]
    assert not kept[6:].any() and gap.num_data == kept.sum() == gap.log_evidence.num_data > 0
    for name in ("elbo", "approximation", "amortization", "total"):
        assert getattr(gap, name).value == pytest.approx(gap.per_datum[name][kept].mean())


def test_one_z_behind_all_data_counts_once(linear):
    """x_i = W z + noise for one z: log p(x_1..x_N) in closed form, divided by N."""
    case = linear(1, 4, 2)
    q = posteriors.Global(families.FullGaussian(2), key=KEY)
    inference = jn.Inference(case.inference.model, q, objectives.ELBO(), gradients.Reparam())
    rng = np.random.default_rng(0)
    x = (case.loading @ rng.normal(size=2) + rng.normal(size=(6, 4)) * case.noise).astype(np.float32)
    w = np.tile(case.loading, (6, 1))
    c = w @ w.T + np.diag(np.tile(case.noise**2, 6))
    flat = x.reshape(-1).astype(np.float64)
    truth = -0.5 * (flat @ np.linalg.solve(c, flat) + np.linalg.slogdet(2 * np.pi * c)[1]) / 6
    gap = diagnose.gap(inference, x, key=KEY, effort=LIGHT)
    assert gap.log_evidence.value == pytest.approx(truth, abs=0.03) and gap.num_data == 6
    assert gap.approximation.value == pytest.approx(0, abs=0.03) and gap.simulated is None


def test_row_weights_enter_every_average():
    inference = jn.Inference(models.Gaussian(2), posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    x = np.random.default_rng(0).normal(size=(10, 2))
    weights = np.repeat([0.0, 1.0], 5)
    weighted = diagnose.gap(inference, fit.Data(x, weights=weights), key=KEY)
    half = diagnose.gap(inference, x[5:], key=KEY)
    assert weighted.log_evidence.value == pytest.approx(half.log_evidence.value, abs=1e-5)


@pytest.mark.slow
def test_certified_intervals_cover_the_truth_of_95_of_100_models(linear):
    from jensen.diagnose.progress import Silent
    from jensen.diagnose.simulated import simulated

    held, widths = 0, []
    for seed in range(100):
        case = linear(seed, 64, 16)
        rows = fit.Data(case.draw(100)).rows()
        key = jax.random.split(jax.random.key(seed), 5)[4]
        out = simulated(
            case.inference.model, case.inference.posterior, rows, LIGHT, key=key, progress=Silent()
        )
        held += out.lower <= simulated_truth(case, jax.random.key(seed)) <= out.upper
        widths.append(out.width)
    print(f"held {held} of 100; width median {np.median(widths):.4f}, largest {max(widths):.4f}")
    assert held >= 95 and max(widths) <= 0.25


# ---- judgements that were once wrong -------------------------------------------------------------------------------


def test_a_climb_that_is_still_far_away_is_not_called_converged():
    """The posterior lies 300 units from every start: no number of nats gained at a rate near zero tells."""
    model = models.Decoder(
        2, prior=models.priors.LearnedGaussian(1), likelihood="gaussian", widths=(), key=KEY
    )
    model = eqx.tree_at(lambda m: m.prior.loc, model, jnp.array([300.0]))
    q = posteriors.PerDatum(families.FullGaussian(1), num_data=3, key=KEY)
    inference = jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())
    z = 300.0 + np.random.default_rng(0).normal(size=(3, 1)).astype(np.float32)
    x = np.asarray(jax.vmap(lambda z: model.likelihood(z, None).mean)(jnp.asarray(z)))
    effort = diagnose.Effort(steps=200, samples=200, temperatures=20, chains=2, pilot=10)
    gap = diagnose.gap(inference, x, key=KEY, effort=effort)
    assert not gap.per_datum["converged"].any()
    assert any("had not converged" in flag for flag in gap.flags)


def test_the_plain_bound_of_few_draws_is_unbiased():
    """Its control variate is fitted to other draws than it corrects."""
    from jensen.diagnose.elbo import plain_elbo

    model = models.Decoder(3, 2, likelihood="gaussian", widths=(), key=KEY)
    q, datum = (
        dist.DiagGaussian(jnp.array([1.5, -1.0]), jnp.array([1.5, 0.7])),
        jn.Datum(jnp.array([1.0, 2.0, -1.0])),
    )
    few = jax.jit(jax.vmap(lambda key: plain_elbo(model, q, datum, 4, key=key)[0]))
    seen = np.asarray(few(jax.random.split(KEY, 40_000)), np.float64)
    truth, se = plain_elbo(model, q, datum, 400_000, key=jax.random.key(9))
    assert abs(seen.mean() - float(truth)) < 4.5 * np.hypot(seen.std() / 200, float(se))


def test_the_table_says_what_the_sides_are(reports):
    _, _, gap = reports[0]
    text = str(gap)
    assert "± is over rows" in text and "rows drawn from the model itself" in text
    crossed = dataclasses.replace(gap.log_evidence, lower=-5.0, upper=-5.25)
    assert "lies 0.250 below it, take that as the error" in str(
        dataclasses.replace(gap, log_evidence=crossed)
    )
    one = dataclasses.replace(gap.log_evidence, upper=None, upper_kind=None)
    assert "no upper side" in str(dataclasses.replace(gap, log_evidence=one))
