"""Variational inference and deep latent-variable models in JAX.

A fit is four choices, ``Inference(model, posterior, objective, gradient)``, one loop, and a report of how
tight the bound is. Submodules load on first use, so ``import jensen`` and ``jensen --help`` stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_SUBMODULES = (
    "algorithms",
    "control",
    "datasets",
    "diagnose",
    "dist",
    "envs",
    "errors",
    "families",
    "fit",
    "gradients",
    "models",
    "nets",
    "objectives",
    "posteriors",
    "report",
    "sklearn",
    "testing",
    "use",
)
_CORE = ("Datum", "Inference", "Terms")

__all__ = [*_CORE, *_SUBMODULES, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from jensen import algorithms as algorithms
    from jensen import control as control
    from jensen import datasets as datasets
    from jensen import diagnose as diagnose
    from jensen import dist as dist
    from jensen import envs as envs
    from jensen import errors as errors
    from jensen import families as families
    from jensen import fit as fit
    from jensen import gradients as gradients
    from jensen import models as models
    from jensen import nets as nets
    from jensen import objectives as objectives
    from jensen import posteriors as posteriors
    from jensen import report as report
    from jensen import sklearn as sklearn
    from jensen import use as use
    from jensen.core import Datum as Datum
    from jensen.core import Inference as Inference
    from jensen.core import Terms as Terms


def __getattr__(name: str) -> Any:
    """Load a submodule or a core class on first use."""
    if name in _SUBMODULES:
        return importlib.import_module(f"jensen.{name}")
    if name in _CORE:
        return getattr(importlib.import_module("jensen.core"), name)
    raise AttributeError(f"module 'jensen' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
