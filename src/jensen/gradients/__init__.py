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
from jensen.gradients.disarm import DisARM
from jensen.gradients.enumerate import Enumerate
from jensen.gradients.held_draws import HeldDraws
from jensen.gradients.pathwise import DoublyReparam, Reparam, StickTheLanding
from jensen.gradients.rebar import REBAR
from jensen.gradients.relaxed import Relaxed
from jensen.gradients.score_function import ScoreFunction
from jensen.gradients.straight_through import StraightThrough

__all__ = [
    "REBAR",
    "AbstractBaseline",
    "Analytic",
    "DisARM",
    "DoublyReparam",
    "Enumerate",
    "ForetellsLoss",
    "HeldDraws",
    "Learned",
    "LeaveOneOut",
    "NoBaseline",
    "Relaxed",
    "Reparam",
    "RunningMean",
    "ScoreFunction",
    "StickTheLanding",
    "StraightThrough",
]
