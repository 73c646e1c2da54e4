"""Every preset of ``bench/presets.py`` trains on digits, and is in the table of the docs."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from jensen import datasets, fit, use
from jensen.cli import presets
from jensen.cli.options import REFINED

ROOT = Path(__file__).parents[2]
STEPS = 300
QUICK = ("beta-tc-vae", "vamp", "vae-iaf")
"""Trained in the quick suite, being what no other test trains; compiling one takes some seconds."""
NO_BOUND = ("wae-mmd",)
"""Presets whose loss leaves the KL out: what rises is the reconstruction."""


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_presets", ROOT / "bench" / "presets.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its named tuple looks itself up
    spec.loader.exec_module(module)
    return module


def names() -> list:
    text = (ROOT / "bench" / "presets.py").read_text()
    table = text[text.index("PRESETS: dict") : text.index('"""By pythae')]
    found = re.findall(r'^    "([\w-]+)":', table, re.M)
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in found]


@pytest.fixture(scope="module")
def digits():
    return datasets.binarize(datasets.load("digits").x, "threshold", seed=0).astype(np.float32)


@pytest.mark.parametrize("name", names())
def test_the_bound_rises(name, bench, digits):
    sizes = bench.Sizes(data_dim=64, latent_dim=4, widths=(32,), steps=STEPS, pseudo=10, nats=4.0)
    key = jax.random.key(0)
    start = bench.PRESETS[name](sizes, key)
    fitted = fit.gradient(start, digits, key=key, optimizer=optax.adam(1e-2), steps=STEPS, batch_size=100)
    bound = fitted.history.bound
    assert np.isfinite(bound).all()
    if name in NO_BOUND:
        error = np.mean((use.reconstruct(fitted, digits) - digits) ** 2)
        assert error < 0.8 * digits.var(0).mean()
        return
    first, last = bound[:5].mean(), bound[-20:].mean()
    print(f"{name}: {first:.2f} to {last:.2f}")
    assert last > first + 1.0


def test_the_table_of_the_docs_says_what_each_is(bench):
    page = (ROOT / "docs" / "presets.md").read_text()
    rows = dict(re.findall(r"^\| `([\w-]+)`.*\| (unbiased|biased) \|$", page, re.M))
    sizes = bench.Sizes(data_dim=6, latent_dim=2, widths=(3,), pseudo=2)
    kinds = {name: build(sizes, jax.random.key(0)).check().kind for name, build in bench.PRESETS.items()}
    assert rows == kinds


def test_the_table_of_the_docs_says_which_the_command_has():
    page = (ROOT / "docs" / "presets.md").read_text()
    lines = re.findall(r"^\| `[\w-]+`.*\| `([^`|]+)` \| \w+ \|$", page, re.M)
    for line in lines:
        name, *words = line.split()
        given = {
            flag[2:].replace("-", "_"): value for flag, value in zip(words[::2], words[1::2], strict=True)
        }
        presets.check_used(name, given)  # refuses what the command would
    had = presets.PRESETS["vae"].choices
    offered = [f"vae --prior {prior}" for prior in had["prior"] if prior != "normal"]
    offered += [f"vae --objective {name}" for name in had["objective"] if name not in ("elbo", "iwae")]
    offered += [f"vae --posterior {name}" for name in REFINED]
    assert len(lines) == len(set(lines)) and {*offered, "vae", "iwae", "hvae", "vqvae"} <= set(lines)


def test_the_example_of_the_docs_runs():
    page = (ROOT / "docs" / "presets.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    seen: dict = {}
    exec(block, seen)
    assert {seen[name].check().kind for name in ("vamp", "both")} == {"unbiased"}
