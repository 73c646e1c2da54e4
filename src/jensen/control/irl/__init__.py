"""Inverse reinforcement learning: what an agent wants, from what it does."""

from __future__ import annotations

from jensen.control.irl.demonstrations import Demonstrations, clone, demonstrated, exact_demonstrations
from jensen.control.irl.infer import Inferred, infer, infer_temperature
from jensen.control.irl.model import SoftOptimal
from jensen.control.irl.rewards import (
    AbstractReward,
    LinearReward,
    NetReward,
    PairReward,
    ScaledReward,
    StateReward,
)

__all__ = [
    "AbstractReward",
    "Demonstrations",
    "Inferred",
    "LinearReward",
    "NetReward",
    "PairReward",
    "ScaledReward",
    "SoftOptimal",
    "StateReward",
    "clone",
    "demonstrated",
    "exact_demonstrations",
    "infer",
    "infer_temperature",
]


def __dir__() -> list[str]:
    return __all__
