"""Planning: searches over sequences of actions in any world, and the policy that plans at every step."""

from __future__ import annotations

from jensen.control.plan.base import AbstractSearch, Plan, imagined_return
from jensen.control.plan.foresight import Foresight, foresee
from jensen.control.plan.policy import AbstractStarts, FromMean, FromSamples, Planner
from jensen.control.plan.regulator import ILQR
from jensen.control.plan.sampled import CEM, MPPI
from jensen.control.plan.sequences import AbstractSequences, BoxSequences, ChoiceSequences, sequences_in

__all__ = [
    "CEM",
    "ILQR",
    "MPPI",
    "AbstractSearch",
    "AbstractSequences",
    "AbstractStarts",
    "BoxSequences",
    "ChoiceSequences",
    "Foresight",
    "FromMean",
    "FromSamples",
    "Plan",
    "Planner",
    "foresee",
    "imagined_return",
    "sequences_in",
]
