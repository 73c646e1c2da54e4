"""Hierarchies downstream: fitted, saved, encoded, measured, reported, refused at the command line."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jensen import diagnose, fit, gradients, objectives, use
from jensen.cli.presets import check_used
from jensen.core import Datum, Inference
from jensen.errors import InputError
from jensen.report import collect, explorer

from .test_layered import ROW, exact_evidence, exact_top_down

KEY = jax.random.key(0)
STRONG = 20.0
collapse = import_module("jensen.diagnose.collapse")  # the module, which the function hides
LITTLE = diagnose.Effort(temperatures=20, chains=4, leapfrog=2, pilot=10, samples=100, steps=200, draws=4)
PAGE = Path(__file__).parents[2] / "docs/models/hierarchical.md"
X = (np.random.default_rng(0).random((40, 64)) < 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> fit.Fitted:
    """The example of the page, fitted for a few steps."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    names = {"key": KEY}
    exec(block, names)
    return fit.gradient(names["hierarchy"], X, key=KEY, optimizer=optax.adam(1e-3), steps=4, batch_size=20)


def test_fitted_saved_and_used(fitted: fit.Fitted, tmp_path: Path):
    fitted.save(tmp_path / "run")
    again = fit.load(tmp_path / "run")
    z = use.encode(fitted, X[:3])
    assert z.shape == (3, 12)
    np.testing.assert_array_equal(use.encode(again, X[:3]), z)
    assert use.reconstruct(fitted, X[:3]).shape == use.sample(fitted, 3, key=KEY).shape == (3, 64)
    assert np.isfinite(use.score(fitted, X[:3], key=KEY, num_samples=20)).all()


def test_use_of_each_layer(fitted: fit.Fitted):
    seen = diagnose.collapse(fitted, X, key=KEY, rows=20)
    assert seen.kl_per_layer is not None and seen.kl_per_dimension is not None
    assert seen.kl_per_layer.shape == (2,) and seen.kl_per_dimension.shape == (12,)
    np.testing.assert_allclose(seen.kl_per_layer.sum(), seen.kl.value, rtol=1e-4)
    np.testing.assert_allclose(seen.kl_per_dimension[:4].sum(), seen.kl_per_layer[0], rtol=1e-4)
    assert seen.mean_variance is not None and seen.mean_variance.shape == (12,)
    assert "KL by layer, the top first" in str(seen)


def test_an_unused_layer_has_no_active_units(fitted: fit.Fitted):
    """Means are averages over draws; the noise of the draws must not count as variance over data."""
    posterior = fitted.inference.posterior
    silent = eqx.tree_at(
        lambda q: [leaf for head in q.heads for leaf in (head.layers[0].weight, head.layers[0].bias)],
        posterior,
        [
            leaf
            for head in posterior.heads
            for leaf in (
                0 * head.layers[0].weight,
                jnp.repeat(jnp.array([0.0, 50.0]), head.layers[0].bias.size // 2),
            )
        ],
    )
    own = fitted.inference
    at = lambda m: m.prior.rungs[1].net.layers[-1].weight  # noqa: E731
    moving = eqx.tree_at(
        at, own.model, STRONG * at(own.model)
    )  # the lower layer follows the upper, wherever it goes
    alone = Inference(moving, silent, own.objective, own.gradient)
    seen = diagnose.collapse(alone, X, key=KEY, rows=None)
    assert seen.kl.value < 1e-3 and seen.num_active == 0
    datum, key = Datum(jnp.asarray(X[0])), jax.random.key(3)
    q = alone.q(datum, key=key)
    means = jax.vmap(lambda k: q.means(q.sample_and_log_prob(key=k)[0]))(jax.random.split(key, 1000))
    assert means.var(0).max() / collapse.DRAWS > collapse.ACTIVE  # one average alone would look active


def test_what_a_report_shows(fitted: fit.Fitted):
    model = fitted.inference.model
    space = collect.latent_space(model)
    assert space is not None and space.dim == 12
    np.testing.assert_allclose(space.center[:4], 0, atol=0.1)
    np.testing.assert_allclose(space.scale[:4], 1, atol=0.1)
    assert explorer.explorer(model, collect.View(None, space)) is None


@pytest.mark.slow
def test_the_gap_of_an_exact_ladder_posterior_is_closed():
    model, q = exact_top_down()
    inference = Inference(model, q, objectives.ELBO(kl="sampled"), gradients.Reparam())
    gap = diagnose.gap(inference, np.asarray(ROW.x)[None], key=KEY, effort=LITTLE)
    np.testing.assert_allclose(gap.elbo.value, exact_evidence(np.asarray(ROW.x)), atol=1e-3)
    assert abs(gap.total.value) < 0.02 and abs(gap.approximation.value) < 0.02
    assert abs(gap.amortization.value) < 0.02


@pytest.mark.parametrize(
    ("preset", "given", "said"),
    [
        ("vae", {"latent": [2, 3]}, "use hvae"),
        ("vae", {"free_bits": [2.0, 3.0]}, "use hvae"),
        ("hvae", {"latent": 8}, "two layers or more"),
        ("hvae", {"free_bits": [1.0, 0.5, 0.1]}, "give one a layer"),
        ("hvae", {"posterior": "amortized"}, "top-down or bottom-up"),
        ("hvae", {"prior": "learned"}, "chain or ladder"),
    ],
)
def test_refused_at_the_command_line(preset: str, given: dict, said: str):
    with pytest.raises(InputError, match=said):
        check_used(preset, given)
