"""The contracts as checks that a member of one's own can be put to."""

from jensen.testing.gradient import check_gradient
from jensen.testing.model import check_model
from jensen.testing.objective import check_objective
from jensen.testing.posterior import check_posterior
from jensen.testing.report import Check, Report

__all__ = [
    "Check",
    "Report",
    "check_gradient",
    "check_model",
    "check_objective",
    "check_posterior",
]


def __dir__() -> list[str]:
    return __all__
