"""The table of estimators against an exact gradient, on two bits."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import jensen as jn
from jensen import diagnose, families, gradients, models, objectives, posteriors
from jensen.diagnose import estimators
from jensen.errors import CombinationError, InputError

KEY, X = jax.random.key(0), np.eye(3, dtype=np.float32)
ELBO = objectives.ELBO


def inference(gradient, bits=2):
    model = models.Decoder(3, prior=models.priors.Bernoulli(bits), widths=(), key=KEY)
    q = posteriors.Amortized(families.Bernoulli(bits), data_dim=3, widths=(), key=KEY)
    return jn.Inference(model, q, ELBO(2), gradient)


@pytest.fixture(scope="module")
def table():
    own = {
        "none": gradients.ScoreFunction(),
        "pairs": gradients.DisARM(),
        "running": (ELBO(1), gradients.ScoreFunction(gradients.RunningMean())),
        "soft": (ELBO(1), gradients.Relaxed(2.0)),
        "exact": gradients.Enumerate(),
    }
    return diagnose.compare_gradients(inference(gradients.DisARM()), X, own, key=KEY, repeats=1000)


def test_claims_show_in_the_table(table):
    assert [row.kind for row in table.rows] == ["unbiased", "unbiased", "unbiased", "biased", "exact"]
    assert table["soft"].bias > 2 * table["soft"].unresolved
    for name in ("none", "pairs", "running"):
        assert table[name].bias < table[name].unresolved
    assert table["exact"].sd < 1e-6 and table["exact"].bias < 1e-5
    assert table["pairs"].sd < 0.5 * table["none"].sd
    assert table["running"].sd < table["none"].sd  # a memory was filled before it was measured
    assert all(row.flops > 0 and row.seconds > 0 for row in table.rows)


def test_it_prints_a_table(table):
    text = str(table)
    assert "against the exact gradient" in text and "× is over none" in text
    assert text.splitlines()[2].startswith("none") and len(text.splitlines()) == 2 + len(table.rows)


def test_where_nothing_can_be_summed_the_least_noisy_is_the_reference():
    own = {"pairs": gradients.DisARM(), "soft": gradients.Relaxed(2.0)}
    table = diagnose.compare_gradients(inference(gradients.DisARM(), bits=13), X, own, key=KEY, repeats=50)
    assert "least noisy" in str(table) and np.isnan(table["pairs"].bias) and "n/a" in str(table)
    assert np.isfinite(table["soft"].bias)


def test_a_gradient_not_told_from_zero_has_no_shares():
    rng = np.random.default_rng(0)

    def seen(shift):
        draws = rng.normal(size=(200, 3)) + shift
        parts = draws.reshape(20, 10, 3).mean(1)
        return estimators.Seen(draws.mean(0), parts, draws.var(0, ddof=1), 200, 1.0, 1e-3)

    four = inference(gradients.DisARM())
    lost, told, other = seen(0.0), seen(2.0), seen(2.0)
    rows = (
        estimators._row("lost", four, lost, ("lost", lost)),
        estimators._row("told", four, told, ("other", other)),
    )
    assert np.isnan([rows[0].bias, rows[0].unresolved, rows[0].sd]).all()
    assert 0.3 < rows[1].sd < 0.7 and rows[1].bias < rows[1].unresolved
    text = str(diagnose.GradientComparison(rows, "posterior", "nothing", 3, 200))
    assert "nan" not in text and text.endswith("lost: the gradient is not told from zero; raise repeats")
    nothing = estimators.Seen(np.full(3, 1e-9), np.full((2, 3), 1e-9), np.zeros(3), 2, 1.0, 1e-3)
    assert np.isnan(estimators._row("told", four, told, ("Enumerate", nothing)).sd)  # exact, but for rounding


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="name at least one"):
        diagnose.compare_gradients(inference(gradients.DisARM()), X, {}, key=KEY)
    with pytest.raises(InputError, match="repeats is 1"):
        diagnose.compare_gradients(
            inference(gradients.DisARM()), X, {"a": gradients.DisARM()}, key=KEY, repeats=1
        )
    with pytest.raises(CombinationError, match="Enumerate or ScoreFunction"):
        diagnose.compare_gradients(inference(gradients.DisARM()), X, {"a": gradients.Reparam()}, key=KEY)
