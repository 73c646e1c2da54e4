"""Choice 4: how the climb is estimated."""

from jensen.gradients.analytic import Analytic
from jensen.gradients.baselines import (
    AbstractBaseline,
    ForetellsLoss,
    Learned,
    LeaveOneOut,
    NoBaseline,
    RunningMean,
)
from jensen.gradients.enumerate import Enumerate
from jensen.gradients.pathwise import DoublyReparam, Reparam, StickTheLanding
from jensen.gradients.score_function import ScoreFunction
from jensen.gradients.straight_through import StraightThrough

__all__ = [
    "AbstractBaseline",
    "Analytic",
    "DoublyReparam",
    "Enumerate",
    "ForetellsLoss",
    "Learned",
    "LeaveOneOut",
    "NoBaseline",
    "Reparam",
    "RunningMean",
    "ScoreFunction",
    "StickTheLanding",
    "StraightThrough",
]
