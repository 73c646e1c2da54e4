"""A few tiny fits and a headless browser to open their reports with."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jensen as jn
from jensen import datasets, families, gradients, models, objectives, posteriors
from jensen.fit.result import Fitted, History

# Collects what the page complains about, before the page's own scripts run.
EARS = """<script>window.complaints = [];
window.onerror = (m, s, l) => { complaints.push(String(m) + " line " + l); };
window.addEventListener("unhandledrejection", (e) => complaints.push(String(e.reason)));
document.addEventListener("securitypolicyviolation", (e) => complaints.push("refused " + e.blockedURI));
for (const level of ["error", "warn"]) console[level] = (...a) => { complaints.push(a.map(String).join(" ")); };
</script>"""


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Any]:
    """Open a page from disk, run a script in it, and return what the script leaves in ``answer``.

    The answer's ``complaints`` are the page's errors; the browser's own log is read for console errors too.
    """
    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
    )
    if program is None:
        pytest.skip("needs Chromium to open the report (Debian: apt-get install chromium)")
    folder = tmp_path_factory.mktemp("browser")

    def visit(page: Path, script: str) -> Any:
        text = page.read_text("utf-8")
        hook = (
            "<script>addEventListener('load', () => { let answer = {}; try { answer = (() => {"
            + script
            + "})(); } catch (e) { complaints.push('hook: ' + e); } answer.complaints = complaints;"
            "const out = document.createElement('pre'); out.id = 'answer';"
            "out.textContent = JSON.stringify(answer); document.body.append(out); });</script>"
        )
        copy = folder / "page.html"
        copy.write_text(
            text.replace("<head>", "<head>" + EARS, 1).replace("</body>", hook + "</body>"), "utf-8"
        )
        with tempfile.TemporaryDirectory(dir=folder) as profile:
            done = subprocess.run(
                [
                    program,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                    "--disable-dev-shm-usage",
                    "--no-first-run",
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--enable-logging=stderr",
                    f"--user-data-dir={profile}",
                    "--virtual-time-budget=3000",
                    "--dump-dom",
                    copy.as_uri(),
                ],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
        found = re.search(r'<pre id="answer">(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, f"the page never finished loading: {done.stderr[-800:]}"
        answer = json.loads(html.unescape(found[1]))
        answer["complaints"] += re.findall(r"CONSOLE.*", done.stderr)
        return answer

    return visit


def unfitted(
    model: Any, posterior: Any, gradient: Any, *, stop_reason: str = "steps", steps: int = 50, **meta: Any
) -> Fitted:
    """Wrap an inference as if it had been fitted: the report does not care how good the fit is."""
    inference = jn.Inference(model, posterior, objectives.ELBO(), gradient)
    step = np.arange(1, steps + 1)
    history = History(
        step, -20 + 10 * (1 - np.exp(-step / 10)), step[9::10], -10.0 - 10 / step[9::10], seconds=3.0
    )
    return Fitted(inference, history, stop_reason, meta=meta)


@pytest.fixture(scope="session")
def digits() -> datasets.Dataset:
    """The first 120 digits, binarized."""
    data = datasets.load("digits")
    x = datasets.binarize(data.x[:120], "threshold", seed=0)
    return datasets.Dataset(x, data.labels[:120], data.columns, "digits", data.image_shape)


def spread(member: Any) -> Any:
    """Give every weight a value that shows, so that no two decoded rows are alike."""
    import equinox as eqx

    weights, rest = eqx.partition(member, eqx.is_inexact_array)
    rng = np.random.default_rng(3)
    return eqx.combine(
        jax.tree.map(lambda a: a + 0.3 * rng.normal(size=a.shape).astype(np.float32), weights), rest
    )


@pytest.fixture(scope="session")
def vae(digits: datasets.Dataset) -> Fitted:
    """A Bernoulli decoder of the digits with three real latents."""
    keys = jax.random.split(jax.random.key(1))
    model = models.Decoder(64, 3, likelihood="bernoulli", widths=(16, 8), key=keys[0])
    posterior = posteriors.Amortized(families.DiagGaussian(3), data_dim=64, widths=(8,), key=keys[1])
    return unfitted(spread(model), posterior, gradients.Reparam(), seed=7)


USED = {
    "kl": {"value": 2.5, "se": 0.1},
    "kl_per_dimension": None,
    "mean_variance": None,
    "num_active": None,
    "information": {"value": 2.0, "se": 0.1},
    "ceiling": 4.6,
    "num_data": 100,
}
"""The content of ``diagnose.collapse`` as JSON, given where measuring it is not the point."""

GAP = {
    "log_evidence": {
        "value": -16.9,
        "se": 0.3,
        "lower": -16.95,
        "upper": -16.7,
        "lower_kind": "stochastic-bound",
        "upper_kind": "heuristic",
    },
    "elbo": {"value": -17.9, "se": 0.31},
    "approximation": {"value": 0.35, "se": 0.02},
    "amortization": {"value": 0.65, "se": 0.04},
    "total": {"value": 1.0, "se": 0.05},
    "simulated": {"lower": -17.9, "upper": -17.6, "width": 0.3, "confidence": 0.95},
    "units": "nats per datum",
    "num_data": 100,
    "split": "validation",
}


@pytest.fixture
def gap() -> dict[str, Any]:
    """The content of a ``gap.json``."""
    return json.loads(json.dumps(GAP))
