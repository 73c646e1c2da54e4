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
}
"""Tests of the file that say nothing about the class, or about scikit-learn's own insides."""

PASSED: list[str] = []


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
globals().update({name: _counted(test) for name, test in _TESTS.items() if name not in NOT_APPLICABLE})
