"""The test of unbiasedness is the public one; what it must be able to see is said here."""

from __future__ import annotations

from jensen.testing.report import LIMIT
from jensen.testing.unbiased import DRAWS, Comparison, compare, exact_gradient, flat_gradient, single_gradient

DETECTABLE = 0.02
"""Bias, as a share of the gradient norm, that a test must be able to see."""

__all__ = [
    "DETECTABLE",
    "DRAWS",
    "LIMIT",
    "Comparison",
    "compare",
    "exact_gradient",
    "flat_gradient",
    "single_gradient",
]
