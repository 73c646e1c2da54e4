"""Fits side by side: order, pairing, and units that do not mix."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, families, fit, gradients, models, objectives, posteriors
from jensen.diagnose import Silent
from jensen.errors import InputError

KEY = jax.random.key(0)
FEW = diagnose.Effort(samples=200)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(-3, 1, (60, 2)), rng.normal(3, 1, (60, 2))])[rng.permutation(120)]


def decoder(likelihood: str) -> jn.Inference:
    model = models.Decoder(2, 1, likelihood=likelihood, widths=(), key=KEY)
    q = posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(), key=KEY)
    return jn.Inference(model, q, objectives.ELBO(), gradients.Reparam())


@pytest.fixture(scope="module")
def table(rows) -> diagnose.Comparison:
    fits = {
        "one": fit.em(models.Gaussian(2, key=KEY), rows[:60]),
        "two": fit.em(models.GaussianMixture(2, 2, key=KEY), rows[:60]),
        "untrained": decoder("gaussian"),
    }
    return diagnose.compare(fits, rows[60:], key=KEY, effort=FEW, progress=Silent())


def test_fits_are_ordered_and_differences_are_paired(table):
    assert [one.name for one in table.fits] == ["two", "one", "untrained"]
    two, one, untrained = table.fits
    assert two.behind.value == 0 and two.exact and one.exact and not untrained.exact
    gain = table.difference("two", "one")
    each = table.per_datum["two"]["log_evidence"] - table.per_datum["one"]["log_evidence"]
    assert gain.value == pytest.approx(each.mean()) and gain.value == pytest.approx(one.behind.value)
    assert gain.se == pytest.approx(each.std(ddof=1) / np.sqrt(60))
    # scores of the same rows go together: unpaired, the error would be larger
    assert gain.se < np.hypot(two.log_evidence.se, one.log_evidence.se)
    assert untrained.gap.value > 0 and untrained.seconds is None and untrained.stop_reason is None
    assert table.difference("one", "two").value == -gain.value
    assert one.num_parameters == 5 and two.stop_reason == "converged"
    assert abs(diagnose.compare([decoder("gaussian")] * 2, np.zeros((4, 2)), key=KEY, effort=FEW,
                                progress=Silent()).fits[1].behind.value) < 1e-12  # fmt: skip


def test_the_table_says_what_is_a_bound(table):
    text = str(table)
    assert "behind the best" in text and "60 rows" in text and "200 samples each" in text
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["two", "one", "untrained"]
    assert "≥" in text.splitlines()[-1] and "≥" not in text.splitlines()[2]
    assert [one["name"] for one in table.to_json()["fits"]] == ["two", "one", "untrained"]


def test_the_lower_bound_stays_below_the_exact_evidence(rows):
    """A linear-Gaussian decoder and the same model in closed form: equal log p(x), a gap at least zero."""
    ppca = fit.em(models.ProbabilisticPCA(2, 1, key=KEY), rows)
    drawn = jn.Inference(
        ppca.model,
        posteriors.Amortized(families.DiagGaussian(1), data_dim=2, widths=(), key=KEY),
        objectives.ELBO(),
        gradients.Reparam(),
    )
    table = diagnose.compare({"exact": ppca, "drawn": drawn}, rows, key=KEY, effort=FEW, progress=Silent())
    exact = {one.name: one for one in table.fits}
    assert exact["drawn"].exact and exact["exact"].gap.value == 0 and exact["drawn"].gap.value > 0.1
    np.testing.assert_allclose(
        exact["drawn"].log_evidence.value, exact["exact"].log_evidence.value, rtol=1e-5
    )


def test_what_cannot_be_compared_is_refused(rows):
    bits = (rows > 0).astype(float)
    gaussian, bernoulli = decoder("gaussian"), decoder("bernoulli")

    def refused(match, fits, x=bits):
        with pytest.raises(InputError, match=match):
            diagnose.compare(fits, x, key=KEY, progress=Silent())

    refused("column 0 a gives a density, b the probability", {"a": gaussian, "b": bernoulli})
    refused("column 0 a gives a density, b the probability", {"b": bernoulli, "a": gaussian})
    refused("at least two", [gaussian])
    refused("expecting 2 features", [gaussian, gaussian], np.zeros((3, 5)))
    shared = fit.em(models.BayesianGaussianMixture(2, 2, key=KEY), rows, steps=1)
    refused(r"use\.score", {"a": gaussian, "b": shared}, rows)
    per_datum = posteriors.PerDatum(families.DiagGaussian(1), num_data=len(rows), key=KEY)
    odd = jn.Inference(gaussian.model, per_datum, objectives.ELBO(), gradients.Reparam())
    refused("was not fitted to", [gaussian, odd], rows)
