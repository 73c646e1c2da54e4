"""Networks without latents; what every conditional model keeps, answers and refuses."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jensen import diagnose, families, fit, gradients, models, objectives, posteriors, use
from jensen.core import Datum, HasExactEvidence, HoldsLatent, Inference
from jensen.errors import InputError, JensenWarning

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
N, T, C = 24, 4, 2
X = RNG.normal(size=(N, C))
Y = np.c_[X[:, :1] + 0.1 * RNG.normal(size=(N, 1)), RNG.normal(size=(N, 1))]
CODES = (X[:, :1] > 0).astype(int) + (X[:, 1:] > 0)
MODELS = {
    "LinearGaussian": lambda: models.LinearGaussian(2, C),
    "HeteroscedasticNet": lambda: models.HeteroscedasticNet(2, C, widths=(4,), key=KEY),
    "HeteroscedasticNet(shared)": lambda: models.HeteroscedasticNet(
        2, C, widths=(4,), variance="shared", key=KEY
    ),
    "CategoricalNet": lambda: models.CategoricalNet(1, 3, C, widths=(4,), key=KEY),
    "MixtureDensity": lambda: models.MixtureDensity(2, C, 2, widths=(4,), key=KEY),
    "MixtureDensity(full)": lambda: models.MixtureDensity(
        2, C, 2, covariance="full", gate="shared", widths=(4,), key=KEY
    ),
    "ConditionalDecoder": lambda: models.ConditionalDecoder(2, C, 1, widths=(4,), key=KEY),
    "EpisodeDecoder": lambda: models.EpisodeDecoder(2, C, 1, widths=(4,), key=KEY),
}


def inference_of(model) -> Inference:
    if isinstance(model, HasExactEvidence):
        return Inference(model, posteriors.Exact(), objectives.ELBO(), gradients.Analytic())
    kind = posteriors.Pooled if isinstance(model, HoldsLatent) else posteriors.Amortized
    q = kind(families.DiagGaussian(1), data_dim=2, cond_dim=C, widths=(4,), key=KEY)
    return Inference(model, q, objectives.ELBO(), gradients.Reparam())


def data_for(model) -> fit.Data:
    if isinstance(model, HoldsLatent):
        return fit.Data(Y.reshape(N // T, T, 2), cond=X.reshape(N // T, T, C), lengths=[4, 3, 2, 1, 4, 4])
    return fit.Data(CODES if isinstance(model, models.CategoricalNet) else Y, cond=X)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_is_saved_and_answers_as_before(name, tmp_path):
    model = MODELS[name]()
    data = data_for(model)
    fitted = fit.gradient(inference_of(model), data, key=KEY, optimizer=optax.adam(1e-2), steps=20)
    fitted.save(tmp_path / "run")
    loaded = fit.load(tmp_path / "run")
    scores = use.score(loaded, data)
    np.testing.assert_array_equal(scores, use.score(fitted, data))
    assert scores.shape == (data.num_data,) and np.isfinite(scores).all()
    cond = data.cond[0]
    drawn = use.sample(loaded, 3, cond=cond, key=KEY)
    assert drawn.shape == (3, *data.x.shape[1:]) and np.isfinite(drawn).all()
    assert use.encode(loaded, data).shape[0] == data.num_data
    means = use.reconstruct(loaded, data)
    assert means.shape[: data.x.ndim] == data.x.shape
    assert "model" in str(diagnose.gradient_noise(loaded, data, key=KEY, batch_size=4, repeats=2, depth=1))


@pytest.mark.parametrize("name", MODELS)
def test_a_bad_condition_is_refused_in_one_line(name):
    model = MODELS[name]()
    good, kind = data_for(model), type(model).__name__
    cond = np.asarray(good.cond)

    def said(data) -> str:
        with pytest.raises(InputError) as caught:
            fit.gradient(inference_of(model), data, key=KEY, optimizer=optax.adam(1e-2), steps=1)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def again(cond):
        return fit.Data(good.x, cond=cond, lengths=good.lengths)

    assert f"{kind}: cond is missing; give fit.Data(y, cond=x) with 2 columns" in said(again(None))
    wide = np.concatenate([cond, cond[..., :1]], -1)
    assert f"X has 3 features, but {kind} is expecting 2 features as input." in said(again(wide))
    assert "must hold real numbers" in said(again(cond.astype(str)))
    with pytest.raises(InputError, match="cond has 2 rows, x has"):
        again(cond[:2])
    if isinstance(model, HoldsLatent):
        assert "cond must be (6, 4, 2)" in said(again(cond[:, :3]))
        assert "takes units of steps (N, T, D)" in said(fit.Data(Y, cond=X))
        assert "unit 2 has no real step" in said(fit.Data(good.x, cond=cond, lengths=[4, 3, 0, 1, 4, 4]))
    else:
        assert "use x[:, None]" in said(again(cond[:, 0]))
        assert "takes rows (N, D)" in said(fit.Data(good.x[:, None], cond=cond[:, None]))
    for wrong, message in ((None, "cond"), (np.ones(3), "3 features|length 2")):
        with pytest.raises(InputError, match=message):
            use.sample(inference_of(model), 2, cond=wrong, key=KEY)


def test_a_constant_target_is_named():
    constant = np.c_[Y[:, :1], np.full(N, 2.5)]
    with pytest.warns(JensenWarning, match="constant column 1"):
        data = fit.Data(constant, cond=X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = models.MixtureDensity(2, C, 2, covariance="full", widths=(4,), key=KEY)
        fitted = fit.gradient(inference_of(model), data, key=KEY, optimizer=optax.adam(1e-2), steps=50)
    assert np.isfinite(fitted.history.bound).all()


def test_a_condition_that_float32_blurs_is_told_unless_it_can_be_centred():
    data, steps = fit.Data(Y, cond=X + 1e6), {"key": KEY, "optimizer": optax.adam(1e-2), "steps": 1}
    with pytest.warns(JensenWarning, match=r"cond: column \d lies at 1e\+06"):
        fit.gradient(inference_of(MODELS["ConditionalDecoder"]()), data, **steps)
    with warnings.catch_warnings():
        warnings.simplefilter("error", JensenWarning)
        fit.gradient(inference_of(MODELS["MixtureDensity"]()), data, **steps)


def test_codes_beyond_the_categories_are_refused():
    model = MODELS["CategoricalNet"]()
    for codes, message in ((CODES + 1, r"ranges over 1\.\.3.*num_classes=4"), (CODES + 0.5, "fractions")):
        with pytest.raises(InputError, match=message):
            fit.gradient(
                inference_of(model), fit.Data(codes, cond=X), key=KEY, optimizer=optax.adam(1e-2), steps=1
            )
    binary = models.ConditionalDecoder(2, C, 1, likelihood="bernoulli", widths=(4,), key=KEY)
    with pytest.raises(InputError, match="not 0 and 1"):
        fit.gradient(inference_of(binary), fit.Data(Y, cond=X), key=KEY, optimizer=optax.adam(1e-2), steps=1)


def test_category_odds_follow_the_condition():
    """Against the frequencies in each cell of a binary condition: the saturated model."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, (400, 2)).astype(float)
    p = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3], [0.05, 0.9, 0.05]])
    cell = (2 * x[:, 0] + x[:, 1]).astype(int)
    y = np.array([rng.choice(3, p=p[c]) for c in cell])[:, None]
    fitted = fit.gradient(
        inference_of(models.CategoricalNet(1, 3, 2, widths=(16,), key=KEY)),
        fit.Data(y, cond=x), key=KEY, optimizer=optax.adam(2e-2), steps=800,
    )  # fmt: skip
    odds = use.reconstruct(fitted, fit.Data(y, cond=x))[:, 0]
    for c in range(4):
        shares = np.bincount(y[cell == c, 0], minlength=3) / (cell == c).sum()
        np.testing.assert_allclose(odds[cell == c][0], shares, atol=0.01)


def test_noise_that_depends_on_x_is_found_and_least_squares_has_its_own_unit():
    rng = np.random.default_rng(2)
    x = rng.uniform(-1, 1, (600, 1))
    scale = np.exp(1.5 * x)
    y = 100 + 30 * x + 5 * scale * rng.normal(size=(600, 1))
    data = fit.Data(y, cond=x)
    made = {
        kind: models.HeteroscedasticNet(1, 1, widths=(), variance=kind, key=KEY)
        for kind in ("input", "shared", "unit")
    }
    got = {
        kind: fit.gradient(inference_of(m), data, key=KEY, optimizer=optax.adam(2e-2), steps=800).model
        for kind, m in made.items()
    }
    at = jnp.array([[-0.8], [0.8]])
    scales = [float(got["input"].law(c).scale[0]) for c in at]
    np.testing.assert_allclose(np.log(scales), np.log(5) + 1.5 * np.array([-0.8, 0.8]), atol=0.15)
    ols = np.polyfit(x[:, 0], y[:, 0], 1)
    left = y[:, 0] - np.polyval(ols, x[:, 0])
    for kind in ("shared", "unit"):
        means = [float(got[kind].law(c).mean[0]) for c in at]
        np.testing.assert_allclose(means, np.polyval(ols, [-0.8, 0.8]), atol=0.1)
    assert float(got["shared"].law(at[0]).scale[0]) == pytest.approx(left.std(), rel=0.01)
    assert float(got["unit"].law(at[0]).scale[0]) == pytest.approx(y.std(), rel=1e-4)


def test_hidden_entries_of_y_drop_out_of_every_network():
    for name in ("HeteroscedasticNet", "MixtureDensity"):
        model = MODELS[name]()
        datum = Datum(jnp.array([0.3, jnp.nan]), jnp.ones(C), mask=jnp.array([True, False]))
        other = Datum(jnp.array([0.3, 99.0]), jnp.ones(C), mask=datum.mask)
        assert float(model.log_evidence(datum)) == float(model.log_evidence(other))
        assert np.isfinite(float(model.log_evidence(datum)))
