"""Embedded data sets, readers for a user's own files, and the checks every table passes at the edge.

Stands alone: numpy only; anything heavier (pyarrow, Pillow, scikit-learn) is imported on use, jax never.
"""

from __future__ import annotations

from jensen.datasets.bundled import names
from jensen.datasets.check import check_features, check_finite, check_support, check_table, warn_constant
from jensen.datasets.dataset import Dataset, Kind, kind
from jensen.datasets.load import load
from jensen.datasets.load_episodes import load_episodes
from jensen.datasets.load_sequences import load_sequences
from jensen.datasets.prepare import binarize, split
from jensen.datasets.recorded import Episodes
from jensen.datasets.sequences import Sequences

__all__ = [
    "Dataset",
    "Episodes",
    "Kind",
    "Sequences",
    "binarize",
    "check_features",
    "check_finite",
    "check_support",
    "check_table",
    "kind",
    "load",
    "load_episodes",
    "load_sequences",
    "names",
    "split",
    "warn_constant",
]


def __dir__() -> list[str]:
    return __all__
