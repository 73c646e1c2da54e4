"""The page in a real browser: no complaints, sliders that change the picture, the decoder's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jensen import datasets, families, gradients, models, posteriors, report
from jensen.fit.result import Fitted
from jensen.report.collect import decoded, latent_space

from .conftest import USED, spread, unfitted

Browser = Callable[[Path, str], Any]

LOOK = "const see = () => document.getElementById('decoded').toDataURL();"
DECODE = "return {values: Array.from(PROBES, (z) => jensen.decode(z))};"


def probed(browser: Browser, page: Path, model: Any, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode in the page and in jax."""
    space = latent_space(model)
    assert space is not None
    script = DECODE.replace("PROBES", str(probes.tolist()))
    answer = browser(page, script)
    assert answer["complaints"] == []
    there = decoded(model, space, probes)
    assert there is not None
    return np.array(answer["values"]), there


def test_slider_changes_picture(browser: Browser, vae: Fitted, digits: Any, gap: Any, tmp_path: Path) -> None:
    page = report.write(tmp_path / "r.html", vae, dataset=digits, gap=gap, collapse=USED)
    answer = browser(
        page,
        LOOK + "const before = see(); const slider = document.querySelector('#explorer input[type=range]');"
        "slider.value = 2.5; slider.dispatchEvent(new Event('input')); const after = see();"
        "slider.value = 2.5; slider.dispatchEvent(new Event('input')); const again = see();"
        "document.querySelector('[data-example=\"3\"]').click();"
        "return {moved: before !== after, stable: after === again, jumped: see() !== after,"
        "  sliders: document.querySelectorAll('#explorer input[type=range]').length,"
        "  z: Array.from(jensen.z), outside: performance.getEntriesByType('resource').map((e) => e.name)"
        "    .filter((n) => !n.startsWith('data:'))};",
    )
    assert answer["complaints"] == []
    assert answer["moved"] and answer["stable"] and answer["jumped"]
    assert answer["sliders"] == 3
    assert answer["outside"] == []


def test_complaints_are_heard(browser: Browser, vae: Fitted, digits: Any, tmp_path: Path) -> None:
    """A planted fault in the page's script must not go unnoticed."""
    page = report.write(tmp_path / "r.html", vae, dataset=digits, collapse=USED)
    text = page.read_text("utf-8")
    assert "redraw();" in text
    page.write_text(text.replace("redraw();", "redrew();", 1), "utf-8")
    assert browser(page, "return {};")["complaints"]


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", models.likelihoods.Categorical(6, 4)])
def test_network_equals_jax(browser: Browser, tmp_path: Path, likelihood: Any) -> None:
    keys = jax.random.split(jax.random.key(0))
    model = models.Decoder(6, 3, likelihood=likelihood, widths=(8, 8), key=keys[0])
    q = posteriors.Amortized(families.DiagGaussian(3), data_dim=6, widths=(), key=keys[1])
    fitted = unfitted(spread(model), q, gradients.Reparam())
    page = report.write(tmp_path / "r.html", fitted)
    here, there = probed(browser, page, fitted.model, np.random.default_rng(0).normal(size=(5, 3)))
    np.testing.assert_allclose(here, there, atol=1e-3)
    assert there.std(0).min() > 1e-3  # the probes tell rows apart


def test_activations_equal_jax(browser: Browser, vae: Fitted, digits: Any, tmp_path: Path) -> None:
    """Every activation the page knows, against jax, through one-unit networks."""
    from jensen.report.explorer import ACTIVATIONS

    points = np.linspace(-4, 4, 33)
    script = f"const at = {points.tolist()}; const out = {{}};"
    page = report.write(tmp_path / "r.html", vae, dataset=digits, collapse=USED)
    text = page.read_text("utf-8").replace("window.jensen = {", "window.jensen = { activations, ", 1)
    page.write_text(text, "utf-8")
    script += "for (const [n, f] of Object.entries(jensen.activations)) out[n] = at.map(f); return {out};"
    out = browser(page, script)["out"]
    for function, name in ACTIVATIONS.items():
        np.testing.assert_allclose(
            out[name], np.asarray(function(jnp.asarray(points))), atol=1e-5, err_msg=name
        )


def test_grid_for_a_network_of_ones_own(browser: Browser, tmp_path: Path) -> None:
    """Precomputed points stand in; between them the picture is interpolated."""
    import equinox as eqx

    keys = jax.random.split(jax.random.key(0))
    net = eqx.nn.MLP(2, 6, 8, 1, activation=jnp.sin, key=keys[0])
    model = models.Decoder(6, 2, net=net, key=keys[0])
    q = posteriors.Amortized(families.DiagGaussian(2), data_dim=6, widths=(), key=keys[1])
    fitted = unfitted(model, q, gradients.Reparam())
    page = report.write(tmp_path / "r.html", fitted)
    ticks = np.linspace(-3, 3, 13)
    on_grid = np.array([[ticks[2], ticks[11]], [ticks[12], ticks[0]], [ticks[6], ticks[6]]])
    here, there = probed(browser, page, model, on_grid)
    np.testing.assert_allclose(here, there, atol=1e-3)
    between = np.array([[0.1, -0.4], [1.3, 2.2]])
    here, there = probed(browser, page, model, between)
    np.testing.assert_allclose(here, there, atol=0.02)


def test_buttons_choose_categories(browser: Browser, digits: Any, tmp_path: Path) -> None:
    keys = jax.random.split(jax.random.key(0))
    model = models.Decoder(64, prior=models.priors.OneHot(4, 2), widths=(8,), key=keys[0])
    q = posteriors.Amortized(families.OneHot(4, 2), data_dim=64, widths=(), key=keys[1])
    fitted = unfitted(spread(model), q, gradients.Enumerate())
    page = report.write(tmp_path / "r.html", fitted, dataset=digits, collapse=USED)
    script = LOOK + (
        "const press = (d) => document.querySelector(`#explorer button[data-dim='${d}']`).click();"
        "press(0); press(4); const a = see(); press(2); const b = see(); const z = Array.from(jensen.z);"
        "return {changed: a !== b, z, x: jensen.decode(z)};"
    )
    answer = browser(page, script)
    assert answer["complaints"] == [] and answer["changed"]
    assert answer["z"] == [0, 0, 1, 0, 1, 0, 0, 0]
    space = latent_space(fitted.model)
    assert space is not None
    expected = decoded(fitted.model, space, np.array([answer["z"]]))
    assert expected is not None
    np.testing.assert_allclose(answer["x"], expected[0], atol=1e-3)


def test_linear_model_and_table(browser: Browser, tmp_path: Path) -> None:
    """Factor analysis decodes in the page too, as bars over the data's range."""
    data = datasets.load("iris")
    model = models.FactorAnalysis.with_parameters(
        np.random.default_rng(0).normal(size=(4, 2)), np.ones(4), data.x.mean(0)
    )
    fitted = unfitted(model, posteriors.Exact(), gradients.Analytic())
    page = report.write(tmp_path / "r.html", fitted, dataset=data, collapse=USED)
    here, there = probed(browser, page, model, np.array([[0.0, 0.0], [1.0, -2.0]]))
    np.testing.assert_allclose(here, there, atol=1e-3)
    np.testing.assert_allclose(here[0], data.x.mean(0), atol=1e-3)
    moved = browser(
        page,
        LOOK + "const before = see(); const s = document.querySelector('input[type=range]'); s.value = 2;"
        "s.dispatchEvent(new Event('input')); return {moved: before !== see()};",
    )
    assert moved["moved"] and moved["complaints"] == []
