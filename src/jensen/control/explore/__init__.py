"""Exploration: bonuses for what is not known yet, and what puts them into the reward.

Every bonus is a module with two pure methods, ``bonus(transitions)`` and ``update(transitions, key=key)``;
those that know what an action is worth before it is taken also have ``ahead(observation, action)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jensen.control.explore.counts import Counts
from jensen.control.explore.density import AbstractOnlineDensity, Climbed, Empirical, Refitted
from jensen.control.explore.ensemble_table import TableDisagreement
from jensen.control.explore.gain import (
    DirichletGain,
    InformationGain,
    LinearGain,
    affine,
    dirichlet_gain,
    dirichlet_information,
)
from jensen.control.explore.moments import Moments
from jensen.control.explore.online import Memory, Online
from jensen.control.explore.predictors import (
    Disagreement,
    PredictionError,
    RandomNetworkDistillation,
    dynamics,
)
from jensen.control.explore.pseudo import PseudoCounts, gain_count, pseudo_count
from jensen.control.explore.study import METHODS, Study, episodes_to_solve, study
from jensen.control.explore.tabular import Enumerated, Learnt, QLearner, TableWorld, enumerated, learn
from jensen.control.explore.transitions import AbstractBonus, Coded, Foresees, GridCells, Transitions
from jensen.control.explore.variational import VariationalGain, exact_gain, newton_step, second_order_gain

if TYPE_CHECKING:
    from jensen.control.explore.vector_env import BonusVecEnv

__all__ = [
    "METHODS",
    "AbstractBonus",
    "AbstractOnlineDensity",
    "BonusVecEnv",
    "Climbed",
    "Coded",
    "Counts",
    "DirichletGain",
    "Disagreement",
    "Empirical",
    "Enumerated",
    "Foresees",
    "GridCells",
    "InformationGain",
    "Learnt",
    "LinearGain",
    "Memory",
    "Moments",
    "Online",
    "PredictionError",
    "PseudoCounts",
    "QLearner",
    "RandomNetworkDistillation",
    "Refitted",
    "Study",
    "TableDisagreement",
    "TableWorld",
    "Transitions",
    "VariationalGain",
    "affine",
    "dirichlet_gain",
    "dirichlet_information",
    "dynamics",
    "enumerated",
    "episodes_to_solve",
    "exact_gain",
    "gain_count",
    "learn",
    "newton_step",
    "pseudo_count",
    "second_order_gain",
    "study",
]


def __getattr__(name: str) -> Any:
    if name == "BonusVecEnv":  # Gymnasium is imported when the wrapper is asked for
        from jensen.control.explore.vector_env import BonusVecEnv

        return BonusVecEnv
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
