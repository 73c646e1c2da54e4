"""Every Python block of the README runs, and so do the examples of the public docstrings."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jensen

ROOT = Path(__file__).resolve().parents[1]


def blocks_of(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / name).read_text(), flags=re.M | re.S)


BLOCKS = blocks_of("README.md")
PLAIN = os.environ | {"XLA_FLAGS": ""}  # compiled as users have it
OPTIONAL = ("jensen.cli", "jensen.__main__")


def test_readme_has_its_examples():
    assert len(BLOCKS) >= 2
    assert len(re.findall(r"^```bash\n", (ROOT / "README.md").read_text(), flags=re.M)) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_readme_block_runs(block, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=PLAIN, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_recipes_run_in_order(tmp_path):
    blocks = blocks_of("docs/recipes.md")
    assert len(blocks) >= 9
    (tmp_path / "recipes.py").write_text("\n".join(blocks))
    run = subprocess.run(
        [sys.executable, "recipes.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-2000:]


def modules() -> list[str]:
    found = pkgutil.walk_packages(jensen.__path__, "jensen.")
    return [m.name for m in found if not m.name.startswith(OPTIONAL)]


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_import_is_quick_in_what_it_loads():
    code = "import sys, jensen; print(sorted({'jax', 'optax', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_import_changes_no_jax_setting():
    code = (
        "import jax\nbefore = dict(jax.config.values)\nimport jensen\n"
        "from jensen import fit, models, diagnose, use, posteriors, objectives, gradients, families\n"
        "assert before.items() <= dict(jax.config.values).items()"  # jax's own parts may bring options along
    )
    subprocess.run([sys.executable, "-c", code], check=True)
