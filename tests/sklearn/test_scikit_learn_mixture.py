"""scikit-learn's own tests of ``GaussianMixture``, run with its class replaced by ours."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import sklearn.mixture

from jensen.sklearn import GaussianMixture

NOT_APPLICABLE = {
    "test_suffstat_sk_full": "calls scikit-learn's private functions, not the class",
    "test_suffstat_sk_tied": "calls scikit-learn's private functions, not the class",
    "test_suffstat_sk_diag": "calls scikit-learn's private functions, not the class",
    "test_gaussian_suffstat_sk_spherical": "calls scikit-learn's private functions, not the class",
    "test_compute_log_det_cholesky": "calls scikit-learn's private functions, not the class",
    "test_gaussian_mixture_log_probabilities": "calls scikit-learn's private functions, not the class",
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts calls of scikit-learn's private M-step"
    ),
    "test_gaussian_mixture_raises_where_array_api_not_implemented": (
        "expects a refusal of k-means starts under array_api_dispatch, which ours takes"
    ),
}
"""Tests of the file that say nothing about the class, or about scikit-learn's own insides."""

SLOW = {
    "test_monotonic_likelihood",
    "test_init",
    "test_gaussian_mixture_fit_best_params",
    "test_warm_start",
    "test_gaussian_mixture_array_api_compliance",
}
"""Tests of many fits; with the others by ``pytest -m 'slow or not slow'``."""

COUNT, COUNT_SLOW = 43, 22
"""How many pass without and among the slow ones."""

PASSED: list[str] = []


@pytest.fixture(autouse=True)
def _array_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let scikit-learn's tests of other arrays run as far as those are installed: numpy's."""
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")


@pytest.fixture
def global_dtype() -> Any:
    """scikit-learn's fixture of this name, at its default."""
    return np.float64


@pytest.fixture
def global_random_seed() -> int:
    """scikit-learn's fixture of this name, at its default."""
    return 42


def _replaced(name: str) -> ModuleType:
    """Load a fresh copy of one of scikit-learn's test files with our class in place of theirs."""
    path = Path(sklearn.mixture.__file__).parent / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"replaced_{name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.__dict__["GaussianMixture"] = GaussianMixture
    return module


def _counted(test: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        test(*args, **kwargs)
        PASSED.append(test.__name__)

    return run


_TESTS = {
    name: value
    for name, value in vars(_replaced("test_gaussian_mixture")).items()
    if name.startswith("test_")
}

for _name, _test in _TESTS.items():
    if _name not in NOT_APPLICABLE:
        globals()[_name] = pytest.mark.slow(_counted(_test)) if _name in SLOW else _counted(_test)


def test_known_numbers_passed(request: pytest.FixtureRequest):
    """Stands last in the file: counts what passed, and that nothing is excused that does not exist."""
    assert set(NOT_APPLICABLE) | SLOW <= set(_TESTS)
    quick = [name for name in PASSED if name not in SLOW]
    ran = {item.originalname for item in request.session.items if item.module is request.module}
    if not set(_TESTS) - set(NOT_APPLICABLE) - SLOW <= ran:
        pytest.skip("only some of the tests were asked for")
    assert len(quick) == COUNT
    if ran >= SLOW:
        assert len(PASSED) == COUNT + COUNT_SLOW
