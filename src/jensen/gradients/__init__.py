"""Choice 4: how the climb is estimated."""

from jensen.gradients.analytic import Analytic
from jensen.gradients.enumerate import Enumerate
from jensen.gradients.pathwise import DoublyReparam, Reparam, StickTheLanding
from jensen.gradients.score_function import AbstractBaseline, LeaveOneOut, NoBaseline, ScoreFunction
from jensen.gradients.straight_through import StraightThrough

__all__ = [
    "AbstractBaseline",
    "Analytic",
    "DoublyReparam",
    "Enumerate",
    "LeaveOneOut",
    "NoBaseline",
    "Reparam",
    "ScoreFunction",
    "StickTheLanding",
    "StraightThrough",
]
