"""Every Python block of the docs runs: here, or in the test named here, or it says itself why it does not.

A block that cannot run begins with the line ``# not run: why``. Blocks of a page run in order, in one scope; what
follows ``print(...)  # `` up to a colon has to be printed.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
QUICK = ("models/decoder", "models/mixture", "models/posteriors")
SLOW = (
    "diagnose/calibration",
    "diagnose/comparison",
    "models/bayesian_mixture",
    "models/hmm",
    "models/lda",
    "models/linear_gaussian_ssm",
    "models/log_density",
    "models/neural_state_space",
    "models/rssm",
)
ELSEWHERE = {
    "control/embed_to_control": "control/test_docs_goals.py",
    "control/exploration": "control/test_explore_docs.py",
    "control/imagination": "control/test_imagination_page.py",
    "control/imitation": "control/test_docs.py",
    "control/inverse_rl": "control/test_soft_docs.py",
    "control/planning": "control/test_planning_docs.py",
    "control/replay": "control/test_represent.py",
    "control/soft_control": "control/test_soft_docs.py",
    "envs": "envs/test_simulators.py",
    "gradients": "gradients/test_docs.py",
    "models/conditional_decoder": "models/conditional/test_pages.py",
    "models/conditional_regression": "models/conditional/test_pages.py",
    "models/convolutional": "models/static/test_convolutional.py",
    "models/hierarchical": "posteriors/test_layered_use.py",
    "models/mixture_density": "models/conditional/test_pages.py",
    "models/vector_quantized": "posteriors/test_vector_quantized.py",
    "presets": "bench/test_presets.py",
    "recipes": "test_readme.py",
    "sklearn": "sklearn/test_docs.py",
}


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / f"{page}.md").read_text("utf-8"), flags=re.M | re.S)


def test_every_page_with_python_is_run_by_a_test():
    pages = (path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md"))
    assert {page for page in pages if blocks(page)} == {*QUICK, *SLOW, *ELSEWHERE}
    for page, test in ELSEWHERE.items():
        assert page.rpartition("/")[2] in (ROOT / "tests" / test).read_text("utf-8")


def test_every_block_is_python():
    """Including the slow pages', whose rot would otherwise be found late."""
    for page in (*QUICK, *SLOW):
        for block in blocks(page):
            compile(block, page, "exec")
            assert not block.startswith("# not run") or re.match(r"# not run: \w", block)


@pytest.mark.parametrize("page", [*QUICK, *(pytest.param(page, marks=pytest.mark.slow) for page in SLOW)])
def test_the_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    said: list[str] = []
    for block in blocks(page):
        if not block.startswith("# not run"):
            exec(compile(block, page, "exec"), scope)
            said += re.findall(r"^print\(.*\)  # ([^:\n]+)", block, flags=re.M)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in said if line not in printed and line[0] in "[(T0123456789"] == []
