"""EM: it climbs, it stops, it honours masks, weights and frozen parameters, and survives bad data."""

from __future__ import annotations

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jensen as jn
from jensen import fit, models
from jensen.errors import CombinationError, InputError, JensenWarning
from jensen.fit.em import _step

KEY = jax.random.key(0)
STRUCTURES = ("full", "diag", "tied", "spherical")


def _blobs(seed: int = 0, num: int = 120, dim: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, num)
    mixing = rng.normal(size=(3, dim, dim)) + 0.5 * np.eye(dim)
    return 3 * rng.normal(size=(3, dim))[label] + np.einsum(
        "nij,nj->ni", mixing[label], rng.normal(size=(num, dim))
    )


def _model(name: str, dim: int = 3, seed: int = 0) -> Any:
    key = jax.random.key(seed)
    if name == "gaussian":
        return models.Gaussian(dim)
    if name == "fa":
        return models.FactorAnalysis(dim, 1, key=key)
    if name == "ppca":
        return models.ProbabilisticPCA(dim, 1, key=key)
    return models.GaussianMixture(3, dim, covariance=name, key=key)


@pytest.mark.parametrize("hidden", [0.0, 0.3])
@pytest.mark.parametrize("name", [*STRUCTURES, "fa", "ppca", "gaussian"])
def test_the_bound_never_falls(name: str, hidden: float):
    for seed in range(3):
        x = _blobs(seed)
        mask = np.random.default_rng(seed).random(x.shape) > hidden if hidden else None
        weights = np.random.default_rng(seed + 1).random(len(x))
        fitted = fit.em(
            _model(name), fit.Data(x, mask=mask, weights=weights), steps=25, tolerance=0.0,
            key=jax.random.key(seed),
        )  # fmt: skip
        bounds = fitted.history.bound
        assert np.diff(bounds).min() > -5e-6, (seed, np.diff(bounds).min())
        assert fitted.stop_reason == "steps" and len(bounds) == 26
        assert not fitted.history.events
        # what is reported is the bound of what is returned, in the data's own units
        per_row = fit.evaluate(fitted.inference, fit.Data(x, mask=mask), key=KEY)
        assert abs(np.average(per_row, weights=weights) - bounds[-1]) < 1e-4


@pytest.mark.parametrize("name", ["full", "diag", "fa"])
def test_em_ends_where_the_evidence_is_stationary_with_missing_entries(name: str):
    x = _blobs()
    mask = np.random.default_rng(3).random(x.shape) > 0.3
    data = fit.Data(x, mask=mask)
    fitted = fit.em(_model(name), data, steps=1500, tolerance=1e-8, key=KEY)
    rows = data.rows()
    rows = jn.Datum(jnp.asarray(rows.x, jnp.float32), mask=jnp.asarray(mask))
    gradient = eqx.filter_grad(lambda m: jax.vmap(m.log_evidence)(rows).mean())(fitted.model)
    gradient = eqx.tree_at(lambda m: m.frame, gradient, None)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient) if eqx.is_array(leaf))
    assert largest < 3e-3


def test_a_gaussian_is_its_moments_wherever_the_data_sit():
    x = _blobs() + 1e5
    fitted = fit.em(models.Gaussian(3), x)
    np.testing.assert_allclose(fitted.model.mean, x.mean(0), atol=1e-5)
    np.testing.assert_allclose(fitted.model.covariance, np.cov(x.T, bias=True), rtol=1e-4, atol=1e-4)
    assert fitted.stop_reason == "converged" and len(fitted.history.bound) <= 4


@pytest.mark.parametrize("name", ["full", "spherical", "fa"])
def test_weights_are_repeated_rows(name: str):
    x = _blobs(num=60)
    times = np.random.default_rng(0).integers(0, 4, len(x))
    start = fit.em(_model(name), x, steps=1, tolerance=0.0, key=KEY).model
    weighted = fit.em(start, fit.Data(x, weights=times.astype(float)), steps=20, tolerance=0.0)
    repeated = fit.em(start, np.repeat(x, times, axis=0), steps=20, tolerance=0.0)
    np.testing.assert_allclose(weighted.history.bound, repeated.history.bound, atol=1e-5)
    np.testing.assert_allclose(weighted.model.components.means, repeated.model.components.means, atol=2e-4)


def _leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array))]


FROZEN = [
    ("full", lambda m: m.components.means),
    ("tied", lambda m: m.components.means),
    ("diag", lambda m: m.components.covariance),
    ("spherical", lambda m: m.logits),
    ("fa", lambda m: m.components.covariance.loadings),
    ("fa", lambda m: m.components.covariance.raw),
    ("ppca", lambda m: m.components.covariance.loadings),
    ("ppca", lambda m: m.components.covariance.raw),
]


@pytest.mark.parametrize(("name", "held"), FROZEN)
def test_frozen_parameters_keep_their_bits_and_the_rest_climbs_given_them(name: str, held: Any):
    x = _blobs()
    start = fit.em(_model(name), _blobs(9), steps=2, tolerance=0.0, key=KEY).model
    everything = [
        lambda m: m.components.means,
        *([lambda m: m.logits] if isinstance(start, models.GaussianMixture) else []),
        *(
            [lambda m: m.components.covariance.loadings, lambda m: m.components.covariance.raw]
            if name in ("fa", "ppca")
            else [lambda m: m.components.covariance]
        ),
    ]
    free = [part for part in everything if part(start) is not held(start)]
    fitted = fit.em(
        start, x, steps=30, tolerance=0.0, trainable=lambda i: tuple(part(i.model) for part in free)
    )
    for before, after in zip(_leaves(held(start)), _leaves(held(fitted.model)), strict=True):
        assert before.tobytes() == after.tobytes()
    for part in free:
        assert any(
            (a != b).any() for a, b in zip(_leaves(part(start)), _leaves(part(fitted.model)), strict=True)
        )
    assert np.diff(fitted.history.bound).min() > -5e-6


def test_covariances_are_about_frozen_means():
    x = _blobs()
    mean = np.array([1.0, -1.0, 0.5])
    start = models.Gaussian.with_parameters(mean, np.eye(3) * 9)
    fitted = fit.em(start, x, trainable=lambda i: i.model.components.covariance)
    np.testing.assert_allclose(
        fitted.model.covariance, (x - mean).T @ (x - mean) / len(x), rtol=1e-4, atol=1e-4
    )


def test_half_a_covariance_cannot_be_trained():
    start = models.Gaussian.with_parameters(np.zeros(3), np.eye(3))
    with pytest.raises(InputError, match="all parameters of a covariance or none"):
        fit.em(start, _blobs(), trainable=lambda i: i.model.components.covariance.raw)


def test_a_second_call_compiles_nothing():
    fit.em(_model("full"), _blobs(0), steps=2, key=KEY)
    size = _step._cached._cache_size()
    fit.em(_model("full", seed=4), _blobs(1), steps=5, key=jax.random.key(1))
    fit.em(_model("full"), _blobs(2, num=125), steps=5, key=KEY)  # the padding absorbs a few more rows
    assert _step._cached._cache_size() == size


@pytest.mark.parametrize("covariance", STRUCTURES)
def test_degenerate_data_stay_finite_and_say_so(covariance: str):
    model = models.GaussianMixture(3, 2, covariance=covariance, key=KEY)
    twins = np.repeat(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 2.0], [3.0, 8.0]]), 4, axis=0)
    if covariance == "tied":
        twins = np.repeat(twins[:3], 4, axis=0) + np.zeros((12, 2))
        twins = np.repeat(np.array([[0.0, 0.0], [1.0, 1.0], [5.0, 2.0]]), 4, axis=0)
    with pytest.warns(JensenWarning, match="floor"):
        fitted = fit.em(model, twins, steps=60, key=KEY)
    assert np.isfinite(fitted.history.bound).all()
    assert all(np.isfinite(leaf).all() for leaf in _leaves(fitted.model))
    assert any("floor" in event for event in fitted.history.events)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JensenWarning)
        same = fit.em(model, np.full((6, 2), 3.0), steps=5, key=KEY)
    assert np.isfinite(same.history.bound).all()


def test_an_empty_component_is_kept_finite():
    x = _blobs()
    start = models.GaussianMixture.with_parameters(
        [0.5, 0.5], [x.mean(0), x.mean(0) + 1e3], np.stack([np.cov(x.T)] * 2)
    )
    fitted = fit.em(start, x, steps=5)
    assert all(np.isfinite(leaf).all() for leaf in _leaves(fitted.model))
    assert fitted.model.weights[1] < 1e-6


def test_rows_without_any_observed_entry_change_nothing():
    x = _blobs()
    mask = np.ones((140, 3), bool)
    mask[120:] = False
    start = fit.em(_model("full"), x, steps=1, tolerance=0.0, key=KEY).model
    more = fit.em(start, fit.Data(np.concatenate([x, np.zeros((20, 3))]), mask=mask), steps=10, tolerance=0.0)
    less = fit.em(start, x, steps=10, tolerance=0.0)
    # such a row says nothing of the components, but its expected label does keep the weights where they are
    assert np.isfinite(more.history.bound).all()
    np.testing.assert_allclose(more.history.bound[0] * 140 / 120, less.history.bound[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: fit.em(_model("full"), _blobs()[:2]), InputError, "2 rows of positive weight"),
        (lambda: fit.em(_model("gaussian"), _blobs()[:1]), InputError, "1 row"),
        (lambda: fit.em(_model("full"), _blobs(dim=4)), InputError, "4 features, but GaussianMixture is expecting 3"),
        (lambda: fit.em(_model("full"), _blobs(), steps=0), InputError, "steps=0"),
        (lambda: fit.em(_model("full"), _blobs(), trainable=lambda i: i.model.frame), InputError, "nothing to train"),
        (lambda: fit.em(_model("full"), np.where(_blobs() > 2, np.nan, _blobs())), InputError, "NaN in column"),
        (
            lambda: fit.em(models.Decoder(3, 1, widths=(2,), key=KEY), _blobs()),
            CombinationError,
            "use fit.gradient",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(call: Any, error: type, text: str):
    with pytest.raises(error, match=text):
        call()


def test_few_rows_are_warned_of():
    with pytest.warns(JensenWarning, match="3 rows for 4 columns"):
        fit.em(models.Gaussian(4), _blobs(num=3, dim=4))


def test_same_key_same_bits_and_the_model_s_own_key_counts():
    x = _blobs()
    one, two = (fit.em(_model("full"), x, steps=3) for _ in range(2))
    assert one.history.bound.tobytes() == two.history.bound.tobytes()
    best = fit.best_of(lambda key: models.GaussianMixture(3, 3, key=key), x, restarts=3, by=fit.em, key=KEY)
    assert best.restarts.shape == (3,) and abs(best.restarts[0] - best.history.bound[-1]) < 1e-4


@pytest.mark.parametrize("name", ["full", "fa"])
def test_gradient_ascent_reaches_the_bound_of_em(name: str):
    x = _blobs()
    by_em = fit.em(_model(name), x, steps=300, key=KEY)
    inference = jn.Inference(
        fit.em(_model(name), x, steps=1, tolerance=0.0, key=KEY).model,
        jn.posteriors.Exact(), jn.objectives.ELBO(), jn.gradients.Analytic(),
    )  # fmt: skip
    by_gradient = fit.gradient(inference, x, key=KEY, optimizer=optax.adam(3e-2), steps=600)
    assert by_gradient.history.bound[-1] > by_em.history.bound[-1] - 0.02


def test_run_directory(tmp_path: Any):
    x = _blobs()
    fitted = fit.em(_model("full"), x, steps=3, run=fit.Run(tmp_path / "run"))
    again = fit.load(tmp_path / "run")
    for a, b in zip(_leaves(fitted.model), _leaves(again.model), strict=True):
        assert a.tobytes() == b.tobytes()
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("bound") == 4
