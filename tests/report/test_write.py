"""What a report holds, and that it stands alone."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jensen import datasets, families, gradients, models, posteriors, report
from jensen.errors import InputError
from jensen.fit.result import Fitted
from jensen.report.explorer import explorer, packed

from .conftest import USED, spread, unfitted

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Balance(HTMLParser):
    """Fails on tags that are closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> after <{self.open[-3:]}>"
        self.open.pop()


def checked(path: Path) -> str:
    """Read a page; it must be well formed, small, and ask for nothing."""
    text = path.read_text("utf-8")
    assert len(text.encode()) <= 5_000_000
    balance = Balance()
    balance.feed(text)
    assert balance.open == []
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", text)
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", text)
    assert not list(path.parent.glob("*.part"))
    return text


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_vae_has_every_section(vae: Fitted, digits: Any, gap: Any, tmp_path: Path) -> None:
    path = report.write(tmp_path / "r.html", vae, dataset=digits, gap=gap, train_gap=gap)
    text = checked(path)
    assert headings(text) == [
        "Where the bound is lost",
        "Training",
        "Samples and reconstructions",
        "Latent space",
        "Decode a chosen z",
        "How it was made",
    ]
    for said in (
        "Most of the gap is the encoder",
        "stochastic-bound",
        "heuristic",
        "certified at 95%",
        "all steps were done",
        "active units",
        "nats per datum",
        "seed",
        "DiagGaussian",
    ):
        assert said in text, said
    assert text.count("<svg") == 4  # waterfall, curves, map, dimensions
    assert text.count("data:image/png") == 5  # two pairs of lines and the samples


def test_same_key_same_page(vae: Fitted, digits: Any, gap: Any, tmp_path: Path) -> None:
    once, again = (
        report.write(tmp_path / name, vae, dataset=digits, gap=gap, key=jax.random.key(4)).read_bytes()
        for name in ("a.html", "b.html")
    )
    assert once == again


def test_names_from_outside_stay_text(vae: Fitted, tmp_path: Path) -> None:
    """Titles, columns and labels are the user's own; none may become markup."""
    wicked = "</script><script>alert(1)</script><b>&"
    x = np.random.default_rng(0).integers(0, 2, (30, 64)).astype(float)
    data = datasets.Dataset(x, np.array([wicked, "b"] * 15), tuple([wicked] * 64), wicked)
    text = checked(report.write(tmp_path / "r.html", vae, dataset=data, title=wicked, collapse=USED))
    assert "<script>alert" not in text and "<b>" not in text


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_mixture(covariance: str, tmp_path: Path) -> None:
    """The table tells the truth about weights and means, the ellipses about the covariance."""
    from jensen.report.members import covariances, telling

    data = datasets.load("iris")
    rng = np.random.default_rng(0)
    full = np.stack([np.cov(rng.normal(size=(4, 30))) for _ in range(4)])
    given = {
        "full": full,
        "tied": full[0],
        "diag": np.stack([np.diag(s) for s in full]),
        "spherical": np.array([1.0, 2.0, 3.0, 4.0]),
    }[covariance]
    means = np.zeros((4, 4))
    means[:, 2] = [0.0, 5.0, 10.0, 15.0]
    means[:, 1] = [0.0, 1.0, 2.0, 3.0]
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    model = models.GaussianMixture.with_parameters(weights, means, given, covariance=covariance)
    spread_out = covariances(model)
    whole = {
        "full": full,
        "tied": np.stack([full[0]] * 4),
        "diag": np.stack([np.diag(np.diag(s)) for s in full]),
        "spherical": np.stack([k * np.eye(4) for k in (1.0, 2.0, 3.0, 4.0)]),
    }[covariance]
    np.testing.assert_allclose(spread_out, whole, rtol=1e-5, atol=1e-6)
    assert set(telling(weights, means, whole)) >= {2}
    if covariance == "full":
        fitted = unfitted(model, posteriors.Exact(), gradients.Analytic())
        text = checked(report.write(tmp_path / "r.html", fitted, dataset=data, collapse=USED))
        assert "Components" in headings(text) and "petal length (cm)" in text
        assert re.search(r"<th scope=\"row\">1</th><td>0.400</td>", text)


def test_factor_analysis_and_gaussian(tmp_path: Path) -> None:
    data = datasets.load("iris")
    factors = models.FactorAnalysis.with_parameters(
        np.array([[2.0], [0.0], [1.0], [1.0]]), np.ones(4), data.x.mean(0)
    )
    gaussian = models.Gaussian.with_parameters(data.x.mean(0), np.cov(data.x.T))
    for model, heading in ((factors, "Loadings"), (gaussian, "Correlations")):
        fitted = unfitted(model, posteriors.Exact(), gradients.Analytic())
        text = checked(report.write(tmp_path / f"{heading}.html", fitted, dataset=data, collapse=USED))
        assert heading in headings(text)
        assert ("Decode a chosen z" in headings(text)) == (model is factors)  # no latents, no sliders
    assert "0.80" in (tmp_path / "Loadings.html").read_text("utf-8")  # 4 of 5 parts of column one's variance


def test_without_data_or_gap(vae: Fitted, tmp_path: Path) -> None:
    text = checked(report.write(tmp_path / "r.html", vae))
    assert headings(text) == ["Training", "Decode a chosen z", "How it was made"]


def test_gap_not_split(vae: Fitted, digits: Any, gap: Any, tmp_path: Path) -> None:
    """Where q* did not converge, or no upper side is known, the page says so."""
    unknown = {"value": None, "se": None}
    gap |= {"approximation": unknown, "amortization": unknown, "simulated": None}
    gap["log_evidence"] |= {"upper": None, "upper_kind": None}
    text = checked(report.write(tmp_path / "r.html", vae, dataset=digits, gap=gap))
    assert "could not be split" in text and "Only one side" in text


def test_large_network_is_halved_then_gridded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page stays below 5 MB whatever the network; here with limits a thousandth of the real ones."""
    from jensen.report import explorer as module
    from jensen.report.collect import View, latent_space

    monkeypatch.setattr(module, "BYTES_AS_FLOAT32", module.BYTES_AS_FLOAT32 // 100)
    monkeypatch.setattr(module, "BYTES_AS_FLOAT16", module.BYTES_AS_FLOAT16 // 100)
    kinds = []
    for width in (10, 50, 100):
        model = models.Decoder(64, 2, widths=(width, width), key=jax.random.key(0))
        spec = explorer(model, View(None, latent_space(model)))
        assert spec is not None
        assert len(json.dumps(spec)) < 40_000
        kinds.append(spec["net"]["layers"][1]["weight"]["dtype"] if "net" in spec else "grid")
    assert kinds == ["f4", "f2", "grid"]


def test_packing_is_exact() -> None:
    import base64

    values = np.array([[1.5, -2.25], [1e-7, 3e38]])
    there = np.frombuffer(base64.b64decode(packed(values)["base64"]), "<f4").reshape(2, 2)
    np.testing.assert_array_equal(there, values.astype(np.float32))


def test_unwritable_place_leaves_nothing(vae: Fitted, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"could not write .*no-such-folder.*create it"):
        report.write(tmp_path / "no-such-folder" / "r.html", vae)
    assert list(tmp_path.iterdir()) == []


def test_matplotlib_keeps_its_settings(vae: Fitted, tmp_path: Path) -> None:
    import sys

    import matplotlib

    before = dict(matplotlib.rcParams)
    report.write(tmp_path / "r.html", vae)
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or matplotlib.get_backend()


def test_discrete_latents(digits: Any, tmp_path: Path) -> None:
    keys = jax.random.split(jax.random.key(0))
    model = models.Decoder(64, prior=models.priors.OneHot(5), widths=(8,), key=keys[0])
    q = posteriors.Amortized(families.OneHot(5), data_dim=64, widths=(), key=keys[1])
    fitted = unfitted(spread(model), q, gradients.Enumerate())
    text = checked(report.write(tmp_path / "r.html", fitted, dataset=digits, collapse=USED))
    assert "How often each category is used" in text
